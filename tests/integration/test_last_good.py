"""The last good state outlives the process: data of a broken service, and templates from before an edit."""

import json
import signal

import pytest
from harness import wait_for

LIMIT = 60
LINE = "{{ s.name }}:{{ i.meta.zone }}\n"
EACH = f'{{% for s in services(tag="t") %}}{{% for i in service(s.name) %}}{LINE}{{% endfor %}}{{% endfor %}}'
KEPT = "its last good data stay in use for now"
LEFT_OUT = "left out; everything else continues"


@pytest.fixture
def world(tmp_path, consul, ctemplate):
    """Return two services, and a function that starts a ctemplate for them with a configuration file."""
    (tmp_path / "t.j2").write_text(EACH)
    (tmp_path / "ctemplate.toml").write_text(
        f'state_dir = "state"\n[wait]\nmin = "50ms"\nmax = "200ms"\n[consul]\naddress = "{consul.address}"\n'
        '[[template]]\nsource = "t.j2"\ndestination = "out"\n'
    )
    for name in ("api", "web"):
        consul.register(name, port=80, tags=["t"], meta={"zone": "a"})

    def start(*args, name="ctemplate"):
        return ctemplate(*args, "-config", "ctemplate.toml", name=name)

    return start


def text(tmp_path):
    return (tmp_path / "out").read_text()


def broken(world, consul, tmp_path):
    """Start a daemon and break all data of a service; return the daemon once the last good ones are in use."""
    daemon = world()
    wait_for((tmp_path / "out").exists, LIMIT, "the first rendering")
    assert text(tmp_path) == "api:a\nweb:a\n"
    consul.register("web", port=80, tags=["t"])
    daemon.wait_for_log(KEPT, LIMIT)
    wait_for(lambda: list(tmp_path.glob("state/*/last-good.json")), LIMIT, "the last good data on disk")
    return daemon


def goes_on(consul, tmp_path, zone):
    """Change the other service; wait until that is in the file, with the service's last good data."""
    consul.register("api", port=80, tags=["t"], meta={"zone": zone})
    wait_for(lambda: text(tmp_path) == f"api:{zone}\nweb:a\n", LIMIT, "the other's change, and the last good data")


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_last_good_data_outlive_the_daemon_and_all_ways_agree(world, consul, tmp_path, ending):
    daemon = broken(world, consul, tmp_path)
    daemon.signal(ending)
    daemon.wait(LIMIT)
    planned = world("plan", name="plan")
    assert planned.wait(LIMIT) == 0
    assert f"{KEPT}\n" in planned.stdout()
    assert "no changes" in planned.stdout()
    once = world("-once", name="once")
    assert once.wait(LIMIT) == 0
    assert KEPT in once.log()
    assert text(tmp_path) == "api:a\nweb:a\n"
    again = world(name="again")
    again.wait_for_log(KEPT, LIMIT)
    goes_on(consul, tmp_path, "b")
    consul.register("web", port=80, tags=["t"], meta={"zone": "c"})
    wait_for(lambda: text(tmp_path) == "api:b\nweb:c\n", LIMIT, "the mended data")
    assert LEFT_OUT not in again.log()


def test_data_that_broke_while_no_daemon_ran_leave_the_last_good_ones_in_use(world, consul, tmp_path):
    daemon = world()
    wait_for((tmp_path / "out").exists, LIMIT, "the first rendering")
    assert daemon.stop(LIMIT) == 0
    consul.register("web", port=80, tags=["t"])
    again = world(name="again")
    again.wait_for_log(KEPT, LIMIT)
    goes_on(consul, tmp_path, "b")


def test_release_ends_the_use_of_last_good_data(world, consul, tmp_path):
    daemon = broken(world, consul, tmp_path)
    other = world("release", "api", name="other")
    assert other.wait(LIMIT) == 1
    assert other.log() == "service 'api': nothing of it is held; held are: web\n"
    released = world("release", "web", name="release")
    assert released.wait(LIMIT) == 0
    assert released.stdout() == "released service(web): its last good data\n"
    wait_for(lambda: text(tmp_path) == "api:a\n", LIMIT, "the file without the service")
    daemon.wait_for_log(LEFT_OUT, LIMIT)
    assert world("release", name="more").wait(LIMIT) == 0


def test_sigusr1_ends_the_use_of_last_good_data(world, consul, tmp_path):
    daemon = broken(world, consul, tmp_path)
    daemon.signal(signal.SIGUSR1)
    daemon.wait_for_log("released by SIGUSR1: 1 holds", LIMIT)
    wait_for(lambda: text(tmp_path) == "api:a\n", LIMIT, "the file without the service")


BREAKS = [
    pytest.param("{% for %}", id="cannot be loaded"),
    pytest.param("{{ nobody.knows }}", id="cannot be rendered"),
    pytest.param('{{ service("web")[0].meta.nosuch }}', id="would leave out what is live"),
]


@pytest.mark.parametrize("edit", BREAKS)
def test_a_daemon_that_starts_with_a_broken_template_goes_on_with_the_last_good_one(world, consul, tmp_path, edit):
    daemon = world()
    wait_for((tmp_path / "out").exists, LIMIT, "the first rendering")
    assert daemon.stop(LIMIT) == 0
    (tmp_path / "t.j2").write_text(f"# new\n{EACH}{edit}")
    consul.register("api", port=80, tags=["t"], meta={"zone": "b"})
    again = world(name="again")
    wait_for(lambda: text(tmp_path) == "api:b\nweb:a\n", LIMIT, "new data by the old template")
    again.wait_for_log(" ERROR t.j2:", LIMIT)
    consul.register("api", port=80, tags=["t"], meta={"zone": "c"})
    wait_for(lambda: text(tmp_path) == "api:c\nweb:a\n", LIMIT, "new data by the old template again")
    assert again.log().count(" ERROR t.j2:") == 1
    (tmp_path / "t.j2").write_text(f"# new\n{EACH}")
    wait_for(lambda: text(tmp_path) == "# new\napi:c\nweb:a\n", LIMIT, "the mended template")


@pytest.mark.parametrize("edit", BREAKS)
def test_once_and_plan_fail_with_a_broken_template_whatever_was_good_before(world, tmp_path, edit):
    assert world("-once").wait(LIMIT) == 0
    (tmp_path / "t.j2").write_text(f"# new\n{EACH}{edit}")
    assert world("-once", name="again").wait(LIMIT) in {1, 2}
    assert world("plan", name="plan").wait(LIMIT) in {1, 2}
    assert text(tmp_path) == "api:a\nweb:a\n"


def test_a_cold_start_with_a_broken_template_is_an_error(world, tmp_path):
    (tmp_path / "t.j2").write_text("{% for %}")
    assert world().wait(LIMIT) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("args", [(), ("-once",)], ids=["daemon", "once"])
def test_a_key_that_broke_while_no_daemon_ran_leaves_its_last_good_value_in_use(world, consul, tmp_path, args):
    (tmp_path / "t.j2").write_text(f'{{{{ key("op/text") }}}}\n{EACH}')
    consul.api("PUT", "/v1/kv/op/text", "ok")
    daemon = world()
    wait_for((tmp_path / "out").exists, LIMIT, "the first rendering")
    assert daemon.stop(LIMIT) == 0
    consul.api("PUT", "/v1/kv/op/text", "x; } }")
    consul.register("new", port=80, tags=["t"], meta={"zone": "b"})
    again = world(*args, name="again")
    wait_for(lambda: text(tmp_path) == "ok\napi:a\nnew:b\nweb:a\n", LIMIT, "the new service, and the last good key")
    again.wait_for_log("key 'op/text'", LIMIT)
    if args:
        assert again.wait(LIMIT) == 0
        assert world(*args, name="third").wait(LIMIT) == 0


def test_a_daemon_with_a_catalog_file_uses_last_good_data_as_well(ctemplate, tmp_path):
    def put(web, api):
        instances = {"web": {"zone": web}, "api": {"zone": api}}
        found = {
            name: {"tags": ["t"], "instances": [{"address": "10.0.0.1", "port": 80, "meta": meta}]}
            for name, meta in instances.items()
        }
        (tmp_path / "new").write_text(json.dumps({"services": found}))
        (tmp_path / "new").replace(tmp_path / "catalog.json")

    (tmp_path / "t.j2").write_text(EACH)
    put("a", "a")
    daemon = ctemplate("-catalog", "catalog.json", "-template", "t.j2:out", "-state-dir", "state")
    wait_for((tmp_path / "out").exists, LIMIT, "the first rendering")
    put("a b", "b")
    daemon.wait_for_log(KEPT, LIMIT)
    wait_for(lambda: text(tmp_path) == "api:b\nweb:a\n", LIMIT, "the other's change, and the last good data")


def test_a_deployment_that_replaces_all_instances_keeps_the_port_from_a_stranger(world, consul, tmp_path):
    listen = "{{ s.name }} {{ s.listen_port }}\n"
    (tmp_path / "t.j2").write_text(f'{{% for s in services(tag="tcp") %}}{listen}{{% endfor %}}')
    runs = []

    def rendered():
        runs.append(world("-once", name=f"once{len(runs)}"))
        assert runs[-1].wait(LIMIT) == 0
        return text(tmp_path)

    consul.register("db-5432", service_id="old", port=1, tags=["tcp"])
    assert rendered() == "db-5432 5432\n"
    consul.register("a-evil-5432", service_id="evil", port=2, tags=["tcp"])
    assert rendered() == "db-5432 5432\n"
    consul.register("db-5432", service_id="new", port=3, tags=["tcp"])
    consul.deregister("old")
    assert rendered() == "db-5432 5432\n"
    assert "'a-evil-5432'" in runs[-1].log()
