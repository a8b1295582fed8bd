"""Failures of a real Consul never empty ctemplate's output; real changes take effect at once."""

import contextlib
import json
import re
import signal
import socket
import threading
import time

import pytest
from harness import Consul, free_port, http_get, wait_for
from harness.consul import ConsulRefusal
from harness.scene import CONFIG, LIMIT, TEMPLATE, Scene

PASSING = {"TTL": "1h", "Status": "passing"}


def register(consul, name, count, **fields):
    for number in range(1, count + 1):
        consul.register(name, service_id=f"{name}-{number}", port=8000 + number, checks=[PASSING], **fields)


def places(count):
    return [f"127.0.0.1:{8000 + number}" for number in range(1, count + 1)]


def test_deregistration_of_all_instances_passes_at_once(consul, scene):
    register(consul, "web", 3)
    register(consul, "api", 1)
    it = scene(consul).start()
    it.wait({"web": places(3), "api": places(1)})
    for number in (1, 2, 3):
        consul.deregister(f"web-{number}")
    it.wait({"api": places(1)})
    consul.deregister("api-1")
    it.wait({})
    assert it.warnings() == []


def test_maintenance_and_failing_checks_pass_at_once(consul, scene):
    register(consul, "web", 3)
    it = scene(consul).start()
    it.wait({"web": places(3)})
    for number in (1, 2, 3):
        consul.maintenance(f"web-{number}", on=True)
    it.wait({"web": []})
    for number in (1, 2, 3):
        consul.maintenance(f"web-{number}", on=False)
    it.wait({"web": places(3)})
    for number in (1, 2, 3):
        consul.set_check(f"service:web-{number}", "critical")
    it.wait({"web": []})
    assert it.warnings() == []


@pytest.mark.parametrize("back", [(), ("api",)], ids=["nothing came back", "another service came back"])
def test_a_consul_that_lost_its_data_empties_nothing(start_consul, scene, back):
    consul = start_consul(persistent=True)
    register(consul, "web", 3)
    register(consul, "api", 2)
    it = scene(consul).start('[guard]\nhold = "12s"')
    everything = {"web": places(3), "api": places(2)}
    it.wait(everything)
    consul.kill()
    consul.restart(keep_data=False)
    for name in back:
        register(consul, name, 2)
    it.told("WARNING held: ")
    it.stays(everything)
    it.told("the time is over")
    it.wait({name: places(2) for name in back})


class Forwarder:
    """Passes connections on to a port, as a balancer or a tunnel does."""

    def __init__(self, port):
        self.target, self._pairs = port, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def switch(self, port):
        """Lead elsewhere; who is connected has to come again."""
        self.target, pairs, self._pairs = port, self._pairs, []
        for pair in pairs:
            _shut(*pair)

    def close(self):
        _shut(self._listener, *(end for pair in self._pairs for end in pair))

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self._pairs.append((near, far))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        _shut(source, sink)


def _shut(*sockets):
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


def servers_kept(scene):
    """Wait until it is on disk which servers answered."""

    def are_kept():
        return any(json.loads(path.read_text())["rolls"] for path in scene.folder.glob("state/answers-*.json"))

    scene.process.wait_for(are_kept, LIMIT, "servers on disk")


def test_another_consul_behind_the_same_address_empties_nothing(start_consul, scene, programs):
    ours, theirs = start_consul(name="ours"), start_consul(name="theirs")
    forwarder = Forwarder(ours.port)
    programs.callback(forwarder.close)
    register(ours, "web", 3)
    register(ours, "api", 1)
    for number in range(60):
        theirs.api("PUT", f"/v1/kv/k{number}", "x")
    register(theirs, "web", 1)  # so that the indexes of services are higher, too
    theirs.deregister("web-1")
    it = scene(forwarder).start()
    everything = {"web": places(3), "api": places(1)}
    it.wait(everything)
    servers_kept(it)
    forwarder.switch(theirs.port)
    it.told("another Consul answers here: none of its servers was there before")
    it.stays(everything)
    forwarder.switch(ours.port)
    it.told("all is back")
    ours.deregister("api-1")
    it.wait({"web": places(3)})


def test_a_snapshot_of_another_consul_takes_nothing_away(start_consul, scene):
    ours, theirs = start_consul(name="ours"), start_consul(name="theirs")
    for number in (1, 2):
        ours.catalog("web", f"web-{number}", 8000 + number)
    for number in range(60):
        theirs.api("PUT", f"/v1/kv/k{number}", "x")
    register(theirs, "web", 1)
    theirs.deregister("web-1")
    it = scene(ours).start()
    it.wait({"web": places(2)})
    servers_kept(it)
    ours.restore(theirs.snapshot())
    it.told("another Consul answers here: none of its servers was there before")
    it.stays({"web": places(2)})


def test_what_is_deregistered_after_a_restart_with_its_data_is_gone_at_once(start_consul, scene):
    consul = start_consul(persistent=True)
    consul.catalog("web", "web-1", 8001)
    it = scene(consul).start()
    it.wait({"web": places(1)})
    servers_kept(it)
    it.process.pause()
    consul.restart()
    consul.uncatalog("web-1")
    it.process.resume()
    it.wait({})
    assert it.warnings() == []


def test_registration_after_the_loss_ends_the_hold(start_consul, scene):
    consul = start_consul()
    register(consul, "web", 3)
    it = scene(consul).start()
    it.wait({"web": places(3)})
    consul.kill()
    consul.start()
    it.told("WARNING held: ")
    assert it.services() == {"web": places(3)}
    register(consul, "web", 3)
    it.told("all is back")
    it.stays({"web": places(3)})


def test_a_restart_with_its_data_is_no_trouble_for_what_was_deregistered_meanwhile(start_consul, scene):
    consul = start_consul(persistent=True)
    register(consul, "web", 2)
    register(consul, "api", 1)
    it = scene(consul).start()
    it.wait({"web": places(2), "api": places(1)})
    it.process.pause()
    consul.deregister("web-1")
    consul.deregister("web-2")
    consul.restart()
    it.process.resume()
    it.process.wait_for(lambda: "web" not in it.services(), LIMIT, "web gone")  # api's check begins as failing anew
    assert not [line for line in it.warnings() if "vanished" in line]


def failed_at_the_return(consul, scene):
    """Wait until all three failed, one after the other: which the guard holds, though not the first one at once."""
    wait_for(lambda: consul.passing("web") == [], LIMIT, "all failed")
    scene.told(" failed as Consul came back in sight")
    scene.wait({"web": places(3)})


def test_an_agent_that_starts_again_takes_all_checks_for_failed_and_nothing_happens(start_consul, scene):
    consul = start_consul(persistent=True)
    register(consul, "web", 3)
    it = scene(consul).start()
    it.wait({"web": places(3)})
    consul.kill()
    consul.start()
    failed_at_the_return(consul, it)
    it.stays({"web": places(3)})
    for number in (1, 2):
        consul.set_check(f"service:web-{number}", "passing")
    wait_for(lambda: len(consul.passing("web")) == 2, LIMIT, "two passing")
    it.stays({"web": places(3)})
    it.release()
    it.wait({"web": places(2)})


def test_once_is_guarded_as_well(start_consul, scene):
    consul = start_consul()
    register(consul, "web", 3)
    it = scene(consul)
    assert it.start("", "-once").process.wait(30) == 0
    assert it.services() == {"web": places(3)}
    consul.kill()
    consul.start()
    it.out.unlink()
    consul.register("api", port=80)
    for _ in range(2):
        assert it.start('[guard]\nhold = "1h"', "-once").process.wait(30) == 0
        assert it.services() == {"web": places(3), "api": ["127.0.0.1:80"]}
    for path in it.folder.glob("state/answers-*.json"):
        path.write_text(re.sub(r'"until": *[0-9.e]+', '"until":0', path.read_text()))
    assert it.start('[guard]\nhold = "1h"', "-once").process.wait(30) == 0
    assert it.services() == {"api": ["127.0.0.1:80"]}


def test_release_ends_for_the_next_run_what_a_run_with_once_holds(start_consul, scene):
    consul = start_consul()
    register(consul, "web", 2)
    register(consul, "db", 1)
    it = scene(consul)
    assert it.start("", "-once").process.wait(30) == 0
    consul.kill()
    consul.start()
    assert it.start("", "-once").process.wait(30) == 0
    assert it.services() == {"web": places(2), "db": places(1)}
    made = it.release("web")
    assert (made.returncode, made.stdout.splitlines()) == (
        0,
        ["released service(web): 2, for the next run", "released services(): 1, for the next run"],
    )
    assert it.start("", "-once").process.wait(30) == 0
    assert it.services() == {"db": places(1)}
    made = it.release("web")
    assert (made.returncode, "no running ctemplate" in made.stderr) == (1, True)


def test_a_plan_and_a_dry_run_are_guarded_and_keep_nothing(start_consul, scene):
    consul = start_consul()
    register(consul, "web", 3)
    it = scene(consul)
    assert it.start("", "-once").process.wait(30) == 0
    before, text, plan = state(it), it.out.read_text(), it.folder / "plan.json"
    consul.kill()
    consul.start()
    made = it.run("plan", "-o", plan)
    assert (made.returncode, made.stdout.splitlines()[:5]) == (
        0,
        [
            "out: no changes",
            "",
            "held:",
            "    service(web): 3 instances vanished as Consul's index went back",
            "    services(): 1 service vanished as Consul's index went back",
        ],
    )
    assert json.loads(plan.read_bytes())["held"] == [line.strip() for line in made.stdout.splitlines()[3:5]]
    dry = it.run("-dry")
    assert (dry.returncode, dry.stdout) == (0, f"> out\n{text}")
    assert "WARNING held: service(web), services(): 3 instances and 1 service vanished" in dry.stderr
    assert (state(it), it.out.read_text()) == (before, text)
    assert it.run("apply", plan).returncode == 0
    assert it.out.read_text() == text


def test_the_operator_releases_a_hold(start_consul, scene):
    consul = start_consul()
    register(consul, "web", 2)
    register(consul, "api", 2)
    it = scene(consul).start()
    everything = {"web": places(2), "api": places(2)}
    it.wait(everything)
    consul.kill()
    consul.start()
    it.held("service(web)", "service(api)", "services()")
    said = it.release("web")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.splitlines() == ["released service(web): 2", "released services(): 1"]
    it.wait({"api": places(2)})
    unknown = it.release("web")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == "service 'web': nothing of it is held; held are: api\n"
    it.process.signal(signal.SIGUSR1)
    it.wait({})
    it.process.stop()
    said = it.release()
    assert said.returncode == 1
    assert "no running ctemplate with its state here writes just the files of this configuration; see" in said.stderr


def test_a_release_is_for_one_of_those_who_share_a_state_folder(start_consul, tmp_path, ctemplate):
    consul = start_consul()
    register(consul, "web", 2)
    tmp_path.joinpath("out.j2").write_text(TEMPLATE)
    one, two = (writer(tmp_path, ctemplate, name, consul.port) for name in ("one", "two"))
    for it in (one, two):
        it.wait({"web": places(2)})
    consul.kill()
    consul.start()
    for it in (one, two):
        it.held("service(web)", "services()")
    bare = one.run("release", config=False)
    assert (bare.returncode, bare.stdout) == (2, "")
    assert f"2 ctemplates have their state in {tmp_path}/state; say which one" in bare.stderr
    other = one.run("release", "-template", f"out.j2:{tmp_path}/other", config=False)
    assert (other.returncode, other.stdout) == (1, "")
    assert other.stderr.endswith("of this configuration; others that run there: 2; see -state-dir\n")
    assert one.run("release", "web").stdout.splitlines() == ["released service(web): 2", "released services(): 1"]
    one.wait({})
    two.stays({"web": places(2)})
    configure(tmp_path, "two", consul.port, destination="three")
    two.process.signal(signal.SIGHUP)
    two.told("INFO configuration reloaded: ")
    two.out = tmp_path / "three"
    two.wait({"web": places(2)})
    assert two.run("release").stdout.splitlines() == ["released service(web): 2", "released services(): 1"]
    two.wait({})
    assert one.run("release", "-state-dir", tmp_path / "state", config=False).stdout == "nothing is held\n"
    sockets = list(tmp_path.glob("state/control/*"))
    assert [path.stat().st_mode & 0o777 for path in sockets] == [0o600, 0o600]


def configure(folder, name, port, *, destination):
    text = CONFIG.format(port=port, more="").replace('destination = "out"', f'destination = "{destination}"')
    folder.joinpath(f"{name}.toml").write_text(text)


def writer(folder, start, name, port):
    """A ctemplate that has its name as destination and shares the state folder."""
    it = Scene(folder, start, port)
    it.out, it.config = folder / name, folder / f"{name}.toml"
    configure(folder, name, port, destination=name)
    it.process = start("-config", it.config, name=name)
    return it


@pytest.fixture
def guarded_consul(tmp_path, programs):
    """An agent with default deny, and the management token."""
    consul = Consul(tmp_path, config={"acl": {"enabled": True, "default_policy": "deny"}})
    programs.callback(consul.kill)
    consul.config_file.write_text(json.dumps(consul._config))
    consul.process.start()

    def bootstrapped():
        try:
            return consul.api("PUT", "/v1/acl/bootstrap")["SecretID"]
        except (OSError, ConsulRefusal):
            return None

    return consul, consul.process.wait_for(bootstrapped, LIMIT, "management token")


ALL_RULES = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'


@pytest.mark.parametrize(
    "left",
    [
        pytest.param('service_prefix "x" { policy = "read" }', id="nothing"),
        pytest.param('service_prefix "" { policy = "read" }', id="services without nodes"),
        pytest.param('service "api" { policy = "read" } node_prefix "" { policy = "read" }', id="another service"),
    ],
)
def test_a_token_that_loses_its_rights_empties_nothing(guarded_consul, scene, left):
    consul, master = guarded_consul

    def put(name, node):
        service = {"Service": name, "ID": f"{name}-1", "Port": 8001, "Address": "127.0.0.1"}
        body = {"Node": node, "Address": "127.0.0.1", "Service": service}
        consul.api("PUT", "/v1/catalog/register", body, token=master)

    put("web", "n1")
    put("api", "n2")
    policy = consul.api("PUT", "/v1/acl/policy", {"Name": "p", "Rules": ALL_RULES}, token=master)
    token = consul.api("PUT", "/v1/acl/token", {"Policies": [{"Name": "p"}]}, token=master)["SecretID"]
    it = scene(consul)
    it.folder.joinpath("token").write_text(token)
    it.start(f'token_file = "{it.folder}/token"\n[guard]\nhold = "1s"')
    everything = {"api": places(1), "web": places(1)}
    it.wait(everything)

    def rules(text):
        consul.api("PUT", f"/v1/acl/policy/{policy['ID']}", {"Name": "p", "Rules": text}, token=master)

    rules(left)
    consul.api(
        "PUT", "/v1/catalog/register", {"Node": "n1", "Address": "127.0.0.9"}, token=master
    )  # so that Consul's indexes move
    it.told("the token has lost the right to read that")
    it.stays(everything, 4.0)
    rules(ALL_RULES)
    it.told("all is back")
    it.stays(everything)


def test_a_flapping_instance_leaves_at_once_and_comes_back_ever_later(consul, scene):
    register(consul, "web", 3)
    it = scene(consul).start('[guard]\nreadd = "2s"')
    it.wait({"web": places(3)})
    waits = []
    for _ in range(2):
        consul.set_check("service:web-1", "critical")
        it.wait({"web": places(3)[1:]})
        began = time.monotonic()
        consul.set_check("service:web-1", "passing")
        it.wait({"web": places(3)})
        waits.append(time.monotonic() - began)
    assert waits[0] >= 2.0
    assert waits[1] >= 3.0, "twice as long but for what has decayed, which is more on a slow machine"
    assert it.warnings() == []


def test_a_restored_snapshot_takes_nothing_away(start_consul, scene):
    consul = start_consul()
    register(consul, "api", 2)
    wait_for(lambda: len(consul.health("api")) == 2, LIMIT, "api")
    snapshot = snapshot_of(consul)
    it = scene(consul).start()
    it.wait({"api": places(2)})
    for number in (1, 2):  # on a node of nobody's, so that no agent registers it again
        service = {"Service": "web", "ID": f"web-{number}", "Port": 8000 + number, "Address": "127.0.0.1"}
        consul.api("PUT", "/v1/catalog/register", {"Node": "other", "Address": "127.0.0.1", "Service": service})
    everything = {"api": places(2), "web": places(2)}
    it.wait(everything)
    restore(consul, snapshot)
    wait_for(lambda: consul.health("web") == [], LIMIT, "web gone")
    it.told("as Consul's index went back")
    it.stays(everything)
    it.release("web")
    it.wait({"api": places(2)})


def test_a_restored_snapshot_of_failing_checks_fails_nobody(start_consul, scene):
    consul = start_consul()

    def report(status):
        for number in (1, 2):  # on a node of nobody's, so that no agent corrects it
            service = {"Service": "web", "ID": f"web-{number}", "Port": 8000 + number, "Address": "127.0.0.1"}
            check = {"CheckID": f"c{number}", "ServiceID": f"web-{number}", "Status": status}
            node = {"Node": "other", "Address": "127.0.0.1", "Service": service, "Check": check}
            consul.api("PUT", "/v1/catalog/register", node)

    report("critical")
    snapshot = consul.snapshot()
    report("passing")
    it = scene(consul).start()
    it.wait({"web": places(2)})
    consul.restore(snapshot)
    wait_for(lambda: consul.passing("web") == [], LIMIT, "the status of the snapshot")
    it.told("2 instances failed as Consul's index went back to restored data")
    it.stays({"web": places(2)})
    it.release("web")
    it.wait({"web": []})


def snapshot_of(consul):
    return consul.snapshot()


def restore(consul, data):
    consul.api("PUT", "/v1/snapshot", data)


def test_a_cold_start_without_consul_renders_what_was_known(start_consul, scene):
    consul = start_consul(persistent=True)
    register(consul, "web", 3)
    it = scene(consul).start()
    it.wait({"web": places(3)})
    it.process.stop()
    consul.kill()
    it.out.unlink()
    it.start()
    it.wait({"web": places(3)})
    it.told("using the last good answers, up to ")
    consul.start()
    it.told("all answers are current again")
    failed_at_the_return(consul, it)
    it.stays({"web": places(3)})


def test_an_earlier_set_of_destinations_brings_no_earlier_answers_back(start_consul, scene):
    consul = start_consul(persistent=True)
    register(consul, "web", 3)
    it = scene(consul).start()
    it.wait({"web": places(3)})
    it.process.stop()
    it.start('[[template]]\nsource = "out.j2"\ndestination = "second"\nescape = "none"')
    it.wait({"web": places(3)})
    consul.deregister("web-3")
    it.wait({"web": places(2)})
    it.process.stop()
    assert len(list(it.folder.glob("state/answers-*.json"))) == 1
    consul.kill()
    it.out.unlink()
    it.start()
    it.wait({"web": places(2)})


def test_a_restart_during_the_trouble_does_not_lower_the_guard(start_consul, scene):
    consul = start_consul()
    register(consul, "web", 3)
    it = scene(consul).start()
    it.wait({"web": places(3)})
    kept(it, 3)
    it.process.kill()
    consul.kill()
    consul.start()
    for _ in range(2):
        it.start()
        it.told("WARNING held: ")
        it.stays({"web": places(3)})
        it.process.stop()
    it.out.unlink()
    it.start('[guard]\nhold = "5m"')
    it.wait({"web": places(3)})


def kept(scene, count):
    """Wait until so many instances of a service are on disk; return the file."""

    def found():
        paths = scene.folder.glob("state/answers-*.json")
        pages = ((path, json.loads(path.read_text())) for path in paths)
        return [path for path, page in pages if any(len(each["value"]) == count for each in page["instances"])]

    (path,) = scene.process.wait_for(found, LIMIT, "kept answers")
    return path


def state(scene):
    """Every file and folder of the state, with the time of its last change."""
    return {path: path.stat().st_mtime_ns for path in (scene.folder / "state").rglob("*")}


def test_kept_answers_are_private(consul, scene):
    register(consul, "web", 1)
    it = scene(consul).start()
    it.wait({"web": places(1)})
    path = kept(it, 1)
    assert path.stat().st_mode & 0o777 == 0o600


def test_nginx_serves_through_a_consul_that_lost_its_data(start_consul, nginx, http_backend, tmp_path, ctemplate):
    consul, backend, port = start_consul(), http_backend("a"), free_port()
    tmp_path.joinpath("n.j2").write_text(
        f"{nginx.main}http {{\n{nginx.http}"
        "{% for s in services() if s.name == 'web' %}\n"
        "upstream web {\n{% for i in service('web') %}\nserver {{ i.address }}:{{ i.port }};\n{% endfor %}\n}\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://web; }} }}\n"
        "{% endfor %}\n}\n"
    )
    nginx.conf.write_text(f"{nginx.main}http {{\n{nginx.http}}}\n")
    nginx.start()
    consul.register("web", port=backend.port, checks=[PASSING])
    spec = f"{tmp_path}/n.j2:{nginx.conf}:{nginx.reload_command}"
    process = ctemplate("-template", spec, "-consul-addr", consul.address, "-wait", "20ms:200ms")

    def served():
        try:
            return http_get(port)[0] == 200
        except OSError:
            return False

    process.wait_for(served, LIMIT, "answer through nginx")
    consul.kill()
    consul.start()
    process.wait_for_log("WARNING held: ", LIMIT)
    assert [served() for _ in range(20)] == [True] * 20
    assert re.search(r"server 127\.0\.0\.1:\d+;", nginx.conf.read_text())
