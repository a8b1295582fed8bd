"""Restarted or disconnected agents, and impossible answers: no living instance leaves the file."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import Consul, wait_for
from harness.consul import ConsulRefusal
from harness.meddler import Meddler
from harness.scene import LIMIT

GOSSIP = {"probe_interval": "200ms", "probe_timeout": "100ms", "gossip_interval": "50ms", "suspicion_mult": 2}


class Fleet:
    """A server, and client agents with a node each."""

    def __init__(self, folder, count):
        config = {"gossip_lan": GOSSIP, "enable_script_checks": True}
        self.server = Consul(folder, persistent=True, name="server", bind="127.0.0.2", config=config)
        self.agents = [
            Consul(folder, is_client=True, name=f"agent{number}", bind=f"127.0.0.{number + 10}", config=config)
            for number in range(1, count + 1)
        ]
        for agent in self.agents:
            agent.join([f"127.0.0.2:{self.server.ports['serf_lan']}"])

    def start(self):
        self.server.start()
        for agent in self.agents:
            agent.start()
        return self

    def kill(self):
        for agent in (self.server, *self.agents):
            agent.kill()

    def register(self, name, port, **check):
        """Register an instance at each agent, at a port that all share."""
        check = check or {"TCP": f"127.0.0.1:{port}"}
        for number, agent in enumerate(self.agents, start=1):
            check = {"Interval": "1s", "Timeout": "5m"} | check
            agent.register(name, service_id=f"{name}-{number}", address=f"127.0.0.{number}", port=port, checks=[check])

    def unseen(self, name):
        """The instances whose checks their agents report without having run them."""
        return [
            entry["Service"]["ID"]
            for entry in self.server.health(name)
            for check in entry["Checks"]
            if check["Status"] == "critical" and not check["Output"]
        ]

    def lost(self):
        """The nodes whose agents the server does not hear."""
        checks = self.server.api("GET", "/v1/health/state/critical")
        return sorted(check["Node"] for check in checks if check["CheckID"] == "serfHealth")

    def wait_lost(self, *numbers):
        expected = [f"agent{number}" for number in numbers]
        wait_for(lambda: self.lost() == expected, LIMIT, f"{expected} out of contact", log=self.server.log)

    @contextlib.contextmanager
    def paused(self, *numbers):
        """Freeze agents, not their backends."""
        for number in numbers:
            self.agents[number - 1].pause()
        try:
            yield
        finally:
            for number in numbers:
                self.agents[number - 1].resume()


@pytest.fixture
def fleet(tmp_path, programs):
    fleet = Fleet(tmp_path, 3)
    programs.callback(fleet.kill)
    return fleet.start()


def all_of(port):
    return [f"127.0.0.{number}:{port}" for number in (1, 2, 3)]


@pytest.fixture
def everything(fleet, tcp_backend):
    """Return what a template shows of ``web``: an instance at each agent, all of them passing."""
    backend = tcp_backend("web")
    fleet.register("web", backend.port)
    fleet.server.wait_passing("web", ["web-1", "web-2", "web-3"], LIMIT)
    return {"web": all_of(backend.port)}


@pytest.fixture
def it(fleet, scene, everything):
    """Return a ctemplate that shows all of ``web``."""
    it = scene(fleet.server).start()
    it.wait(everything)
    return it


def test_backends_that_died_with_their_agents_restart_leave_after_the_hold(fleet, scene, http_backend):
    backend = http_backend("web")
    fleet.register("web", backend.port, HTTP=backend.health_url)
    fleet.server.wait_passing("web", ["web-1", "web-2", "web-3"], LIMIT)
    it = scene(fleet.server).start('[guard]\nhold = "8s"')
    it.wait({"web": all_of(backend.port)})
    backend.answers.clear()  # so an agent that is back reports its check before it has a result
    for agent in fleet.agents:
        agent.kill()
        agent.launch()
    it.told("WARNING held: service(web)")
    backend.healthy = False
    backend.stop()
    it.wait({"web": []})
    it.told("the time is over; the newest answer is accepted")


@pytest.mark.parametrize(
    "first",
    [pytest.param({}, id="first failing"), pytest.param({"Status": "passing"}, id="passing before the first result")],
)
def test_agents_that_are_restarted_together_remove_no_instance(fleet, scene, http_backend, first):
    backend = http_backend("web")
    fleet.register("web", backend.port, HTTP=backend.health_url, **first)
    fleet.server.wait_passing("web", ["web-1", "web-2", "web-3"], LIMIT)
    it = scene(fleet.server).start()
    everything = {"web": all_of(backend.port)}
    it.wait(everything)
    backend.answers.clear()  # so an agent that is back reports its check before it has a result
    for agent in fleet.agents:
        agent.kill()
        agent.launch()

    def keeps(condition):
        assert it.services() == everything, it.process.log()
        return condition()

    wait_for(lambda: keeps(lambda: len(fleet.unseen("web")) == 3), LIMIT, "three checks that have not run")
    it.stays(everything, 1.0)
    backend.answers.set()
    wait_for(lambda: keeps(lambda: len(fleet.server.passing("web")) == 3), LIMIT, "three that pass")
    it.stays(everything, 1.0)


def test_agents_with_scripts_that_print_nothing_are_restarted_together(tmp_path, fleet, scene, tcp_backend):
    port, gate = tcp_backend("web").port, tmp_path / "gate"
    gate.touch()
    fleet.register("web", port, Args=["/bin/sh", "-c", f"until test -e {gate}; do sleep 0.1; done"])
    everyone = ["web-1", "web-2", "web-3"]
    fleet.server.wait_passing("web", everyone, LIMIT)
    it = scene(fleet.server).start()
    everything = {"web": all_of(port)}
    it.wait(everything)
    gate.unlink()  # so an agent that is back reports its check before it has a result
    for agent in fleet.agents:
        agent.kill()
        agent.launch()
    wait_for(lambda: len(fleet.unseen("web")) == 3, LIMIT, "three checks that have not run")
    it.wait(everything)
    it.stays(everything, 1.0)
    gate.touch()
    fleet.server.wait_passing("web", everyone, LIMIT)
    it.wait(everything)
    it.stays(everything, 1.0)


def test_agents_that_leave_and_come_back_together_leave_most_in_use(fleet, it, everything):
    with ThreadPoolExecutor() as together:
        stopping = [together.submit(agent.stop) for agent in fleet.agents]
        wait_for(lambda: fleet.server.health("web") == [], LIMIT, "nodes that left", log=fleet.server.log)
        it.told("vanished with their nodes, several of which left Consul at once")
        assert len(it.services()["web"]) >= 2, "the first to leave is one that leaves alone"
        for each in stopping:
            each.result()
    for agent in fleet.agents:
        agent.launch()
    it.told("all is back")
    it.wait(everything)
    it.stays(everything)


def test_the_first_of_agents_that_are_stopped_in_order_is_taken_back(fleet, it, everything):
    for agent in fleet.agents:
        agent.stop()
    it.wait(everything)
    wait_for(lambda: fleet.server.health("web") == [], LIMIT, "nodes that left", log=fleet.server.log)
    for agent in fleet.agents:
        agent.launch()
    it.told("all is back")
    it.wait(everything)
    it.stays(everything)


def test_the_only_node_registers_again_under_another_name(tmp_path, programs, scene, http_backend):
    backend = http_backend("web")
    everything = {"web": all_of(backend.port)[:1]}
    fleet = Fleet(tmp_path, 1)
    programs.callback(fleet.kill)
    fleet.start().register("web", backend.port, HTTP=backend.health_url)
    fleet.server.wait_passing("web", ["web-1"], LIMIT)
    it = scene(fleet.server).start()
    it.wait(everything)
    (agent,) = fleet.agents
    agent.kill()
    agent.rename("renamed")
    agent.launch()
    it.told("1 instance and 1 service vanished with their node, which joined Consul again under another name")
    wait_for(lambda: [row["Node"]["Node"] for row in fleet.server.health("web")] == ["renamed"], LIMIT, "a new node")
    it.stays(everything)


def test_a_gossip_that_is_cut_removes_no_instance(fleet, it, everything):
    with fleet.paused(1, 2, 3):
        fleet.wait_lost(1, 2, 3)
        it.told("failed as Consul lost contact with most nodes at once")
        it.wait(everything)
        it.stays(everything)
    it.told("all is back")
    it.stays(everything)


def test_nodes_that_are_force_left_while_the_gossip_is_cut_stay_for_the_rest_of_the_hold(fleet, it, everything):
    with fleet.paused(1, 2, 3):
        fleet.wait_lost(1, 2, 3)
        it.wait(everything)
        for number in (1, 2, 3):
            fleet.server.api("PUT", f"/v1/agent/force-leave/agent{number}")
        wait_for(lambda: fleet.server.health("web") == [], LIMIT, "nodes that left", log=fleet.server.log)
        it.told("vanished with their nodes, with which Consul had lost contact together before; kept for up to 4m")
        it.settles(everything)  # the first node to go may leave alone, for a moment
    wait_for(lambda: len(fleet.server.api("GET", "/v1/catalog/nodes")) == 4, LIMIT, "nodes that are back")
    it.stays(everything)  # each agent registers its instance again at its next full synchronisation, minutes later


def test_a_gossip_that_is_cut_removes_no_instance_of_a_prepared_query(fleet, scene, everything):
    definition = {"Name": "live", "Service": {"Service": "web", "OnlyPassing": True}}
    fleet.server.api("POST", "/v1/query", definition)
    it = scene(fleet.server)
    it.template("live:{% for i in query('live') %} {{ i.address }}:{{ i.port }}{% endfor %}\n")
    it.start('query_interval = "300ms"')
    everything = {"live": everything["web"]}
    it.wait(everything)
    with fleet.paused(1, 2, 3):
        fleet.wait_lost(1, 2, 3)
        it.told("vanished from a prepared query's answer as Consul lost contact with their nodes at once")
        it.wait(everything)
        it.stays(everything)
    it.told("all is back")
    it.stays(everything)


def test_a_gossip_that_stays_cut_is_believed_after_the_hold_and_says_so(fleet, scene, everything):
    it = scene(fleet.server).start('[guard]\nhold = "8s"')
    it.wait(everything)
    with fleet.paused(1, 2, 3):
        it.told("failed as Consul lost contact with most nodes at once")
        it.wait({"web": []})
        it.told("service(web): the time is over; the newest answer is accepted")


def test_a_node_that_dies_alone_leaves_at_once(fleet, it, everything):
    fleet.agents[1].kill()
    it.wait({"web": [everything["web"][0], everything["web"][2]]})
    assert it.warnings() == []


TTL = {"TTL": "1h", "Status": "passing"}


def register(consul, name, count, **fields):
    for number in range(1, count + 1):
        consul.register(name, service_id=f"{name}-{number}", port=8000 + number, checks=[TTL], **fields)


def places(count):
    return [f"127.0.0.1:{8000 + number}" for number in range(1, count + 1)]


def test_what_fails_in_the_first_minute_after_a_start_is_believed_at_once(consul, scene):
    register(consul, "web", 3)
    it = scene(consul).start()
    it.wait({"web": places(3)})
    it.process.stop()
    it.start()
    wait_for(lambda: list(it.folder.glob("state/control/*")), LIMIT, "a daemon that runs again")
    for number in (1, 2, 3):
        consul.set_check(f"service:web-{number}", "critical", "down")
    it.wait({"web": []})
    assert it.warnings() == []


def test_a_hold_does_not_run_out_while_no_ctemplate_runs(start_consul, scene):
    consul = start_consul()
    register(consul, "web", 2)
    it = scene(consul).start('[guard]\nhold = "1h"')
    it.wait({"web": places(2)})
    consul.kill()
    consul.start()
    wait_for_holds(it, 1)
    stored_earlier(it, 7200.0)
    it.start('[guard]\nhold = "1h"')
    wait_for_holds(it, 2)
    assert it.services() == {"web": places(2)}
    stored_earlier(it, 7200.0, left=3.0)
    it.start('[guard]\nhold = "1h"')
    it.told("the time is over; the newest answer is accepted")
    it.wait({})


def wait_for_holds(it, starts):
    """Wait until each of these starts, which share a log, has reported both lost answers as held."""
    for query in ("service(web)", "services()"):
        it.process.wait_for(
            lambda query=query: sum(query in line for line in it.warnings()) >= starts, LIMIT, f"a hold of {query}"
        )


def stored_earlier(it, seconds, left=None):
    """Stop and change the stored answers as if that had been so many seconds ago, with so many left of each hold."""
    it.process.stop()
    (path,) = it.folder.glob("state/answers-*.json")
    page = json.loads(path.read_text())
    page["written_at"] -= seconds
    for answer in page["instances"] + page["services"]:
        for hold in answer.get("holds", ()):
            hold["since"] -= seconds
            hold["until"] = hold["until"] - seconds if left is None else page["written_at"] + left
    path.write_text(json.dumps(page))


# Answers that cannot be


@pytest.fixture
def meddler(consul, programs):
    meddler = Meddler(consul.port).start()
    programs.callback(meddler.stop)
    return meddler


def lying(meddler, change):
    """Change the decoded answers of some paths, and have their index move on by one at each answer."""
    moved = {"by": 0}

    def meddling(request, response):
        body = change(request.path, json.loads(response.get_data() or b"null"))
        if body is not None:
            moved["by"] += 1
            response.set_data(json.dumps(body))
            index = int(response.headers.get("X-Consul-Index", "1"))
            response.headers["X-Consul-Index"] = str(index + 1000 + moved["by"])
        return response

    return meddler.meddling(meddling)


def no_catalog(path, _body):
    return {} if path == "/v1/catalog/services" else None


def invalid_entries(path, body):
    if path != "/v1/health/service/web":
        return None
    for entry in body:
        entry["Service"]["Address"] = entry["Node"]["Address"] = "not an address"
    return body


def no_tags(path, body):
    return {name: [] for name in body} if path == "/v1/catalog/services" else None


TAGGED = """
{% for svc in services(tag="http") %}
{{ svc.name }}:{% for i in service(svc.name) %} {{ i.address }}:{{ i.port }}{% endfor %}

{% endfor %}
"""


@pytest.mark.parametrize("lie", [no_catalog, invalid_entries, no_tags])
def test_answers_that_cannot_be_take_nothing_away(consul, scene, meddler, lie):
    register(consul, "web", 3, tags=["http"])
    register(consul, "api", 2, tags=["http"])
    it = scene(meddler).template(TAGGED).start()
    everything = {"api": places(2), "web": places(3)}
    it.wait(everything)
    with lying(meddler, lie):
        it.told("WARNING held: ")
        it.stays(everything, 5.0)
    it.told("all is back")
    it.stays(everything)


# Rights


@pytest.fixture
def acl_consul(tmp_path, programs):
    """An agent with default deny, and the management token."""
    consul = Consul(tmp_path, config={"acl": {"enabled": True, "default_policy": "deny"}})
    programs.callback(consul.kill)
    consul.launch()

    def bootstrapped():
        try:
            return consul.api("PUT", "/v1/acl/bootstrap")["SecretID"]
        except (OSError, ConsulRefusal):
            return None

    return consul, consul.process.wait_for(bootstrapped, LIMIT, "management token")


SERVICES_ONLY = 'service_prefix "" { policy = "read" }'
SERVICES_AND_NODES = SERVICES_ONLY + ' node_prefix "" { policy = "read" }'


def test_a_token_without_node_read_empties_nothing_and_the_right_is_picked_up(acl_consul, scene):
    consul, master = acl_consul
    for name in ("api", "web"):
        service = {"Service": name, "ID": name, "Port": 8001, "Address": "127.0.0.1"}
        body = {"Node": "n1", "Address": "127.0.0.1", "Service": service}
        consul.api("PUT", "/v1/catalog/register", body, token=master)
    policy = consul.api("PUT", "/v1/acl/policy", {"Name": "p", "Rules": SERVICES_ONLY}, token=master)
    token = consul.api("PUT", "/v1/acl/token", {"Policies": [{"Name": "p"}]}, token=master)["SecretID"]
    it = scene(consul)
    it.folder.joinpath("token").write_text(token)
    it.out.write_text("web: 10.0.0.1:80\n")
    it.start(f'token_file = "{it.folder}/token"')
    it.told("listed in Consul's catalog, and no instance is shown: the token lacks the right node:read")
    it.stays({"web": ["10.0.0.1:80"]}, 3.0)
    said = it.run("doctor").stdout
    assert "service(api), service(web): listed in the catalog, and no instance is shown" in said
    assert 'its policy needs node:read, node_prefix "" { policy = "read" }' in said
    assert it.process.log().count("no instance is shown") == 1
    consul.api("PUT", f"/v1/acl/policy/{policy['ID']}", {"Name": "p", "Rules": SERVICES_AND_NODES}, token=master)
    it.wait({"api": places(1), "web": places(1)})
