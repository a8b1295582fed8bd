"""Prepared queries in templates, executed repeatedly on a real Consul."""

from functools import partial

import pytest
from harness import Consul, free_port, once_that_says, wait_for

LIMIT = 15
INTERVAL = "300ms"
TEMPLATE = "{% for i in query('live') %}{{ i.name }} {{ i.id }} {{ i.address }}:{{ i.port }}\n{% endfor %}"
TWO = "web web-1 10.0.0.1:80\nweb web-2 10.0.0.2:80\n"
THREE = TWO + "web web-3 10.0.0.3:80\n"


def register(consul, number):
    return consul.register("web", service_id=f"web-{number}", address=f"10.0.0.{number}", port=80)


def prepare(consul, name="live", **service):
    """Create a prepared query and return its id."""
    definition = {"Name": name, "Service": {"Service": "web", "OnlyPassing": True} | service}
    return consul.api("POST", "/v1/query", definition)["ID"]


def executions(consul):
    """Return how often a prepared query was executed, as far as the agent's log tells."""
    return consul.log().count("/execute")


def reads(path, text):
    return lambda: path.exists() and path.read_text() == text


@pytest.fixture
def consul(start_consul):
    """An agent with two instances of `web` that tells each request."""
    consul = start_consul(config={"log_level": "DEBUG"})
    for number in (2, 1):
        register(consul, number)
    return consul


@pytest.fixture
def run(tmp_path, ctemplate):
    """Start a ctemplate that renders a template to `out`; each new `out` adds a line to `runs`."""

    def start(consul, *args, verb=(), template=TEMPLATE, **options):
        (tmp_path / "live.j2").write_text(template)
        (tmp_path / "ctemplate.toml").write_text(f'[consul]\nquery_interval = "{INTERVAL}"\n')
        command = f"echo run >> {tmp_path}/runs"
        return ctemplate(
            *verb,
            "-config",
            "ctemplate.toml",
            "-consul-addr",
            consul.address,
            "-template",
            f"live.j2:out:{command}",
            *args,
            **options,
        )

    return start


def runs(tmp_path):
    return (tmp_path / "runs").read_text().count("\n")


def test_a_prepared_query_is_rendered_and_followed(consul, run, tmp_path):
    prepare(consul)
    process = run(consul)
    process.wait_for(reads(tmp_path / "out", TWO), LIMIT, "both instances")
    register(consul, 3)
    process.wait_for(reads(tmp_path / "out", THREE), LIMIT, "the third instance")
    consul.deregister("web-3")
    process.wait_for(reads(tmp_path / "out", TWO), LIMIT, "the third instance gone")


@pytest.mark.parametrize("near", [None, "_agent"])
def test_the_lots_that_consul_draws_change_nothing(consul, run, tmp_path, near):
    for number in range(3, 7):
        register(consul, number)
    prepare(consul)
    process = run(consul, template=TEMPLATE.replace("'live'", f"'live', near='{near}'") if near else TEMPLATE)
    process.wait_for((tmp_path / "runs").exists, LIMIT, "the first file")
    seen = executions(consul)
    process.wait_for(lambda: executions(consul) > seen + 6, LIMIT, "six more executions")
    assert runs(tmp_path) == 1


def test_a_query_that_is_deleted_keeps_its_last_answer_until_it_is_back(consul, run, tmp_path):
    made = prepare(consul)
    process = run(consul)
    process.wait_for(reads(tmp_path / "out", TWO), LIMIT, "both instances")
    consul.api("DELETE", f"/v1/query/{made}")
    process.wait_for_log("no prepared query has this name or id")
    register(consul, 3)
    seen = executions(consul)
    process.wait_for(lambda: executions(consul) > seen + 2, LIMIT, "two more tries")
    assert (tmp_path / "out").read_text() == TWO
    prepare(consul)
    process.wait_for(reads(tmp_path / "out", THREE), LIMIT, "the third instance")
    process.wait_for_log("over after")
    assert process.log().count(" WARNING ") == 1
    told = next(line for line in process.log().splitlines() if " WARNING " in line).partition(" WARNING ")[2]
    assert told == (
        f"query(live): http://{consul.address}/v1/query/live/execute: no prepared query has this name or id; "
        "its last answer stays in use while it is retried"
    )


def test_once_and_dry_know_prepared_queries(consul, run, tmp_path):
    prepare(consul)
    dry = run(consul, "-dry", name="dry")
    assert dry.wait() == 0, dry.log()
    assert dry.stdout().endswith(TWO)
    once = run(consul, "-once", name="once")
    assert once.wait() == 0, once.log()
    assert (tmp_path / "out").read_text() == TWO


def test_plan_tells_what_would_change_and_what_the_query_costs(consul, run):
    prepare(consul)
    plan = run(consul, verb=("plan",))
    assert plan.wait() == 0, plan.log()
    assert "+web web-2 10.0.0.2:80" in plan.stdout()
    assert "watch: 1 queries, 1 connections, 3.333 requests per second" in plan.stdout()


def test_a_template_waits_for_a_query_until_it_is_defined(consul, run, tmp_path):
    process = run(consul)
    process.wait_for_log("no prepared query has this name or id")
    assert not (tmp_path / "out").exists()
    prepare(consul)
    process.wait_for(reads(tmp_path / "out", TWO), LIMIT, "both instances")


def test_once_ends_in_time_for_an_unknown_query(consul, run):
    once_that_says("no prepared query has this name or id", partial(run, consul))


def test_a_capture_gives_the_same_again(consul, ctemplate, tmp_path):
    prepare(consul)
    (tmp_path / "live.j2").write_text(TEMPLATE + "{% for i in query('live') %}{{ i.datacenter }}{% endfor %}")
    args = ("-template", "live.j2:out")
    captured = ctemplate("capture", "-o", "captured.yaml", "-consul-addr", consul.address, *args, name="capture")
    assert captured.wait() == 0, captured.log()
    assert captured.log() == ""
    played = ctemplate("-catalog", "captured.yaml", "-once", *args, name="play")
    assert played.wait() == 0, played.log()
    assert (tmp_path / "out").read_text() == TWO + "dc1dc1"


def test_all_of_a_service_that_go_at_once_are_gone_as_soon_as_consul_confirms_it(consul, run, tmp_path):
    prepare(consul)
    process = run(consul, template=TEMPLATE + "end\n")
    process.wait_for(reads(tmp_path / "out", TWO + "end\n"), LIMIT, "both instances")
    consul.deregister("web-1")
    consul.deregister("web-2")
    process.wait_for(reads(tmp_path / "out", "end\n"), LIMIT, "no instance")
    assert "held" not in process.log()


def test_a_restarted_consul_without_its_data_empties_nothing(start_consul, run, tmp_path):
    consul = start_consul(http_port=free_port())
    for number in (1, 2):
        register(consul, number)
    prepare(consul)
    process = run(consul)
    process.wait_for(reads(tmp_path / "out", TWO), LIMIT, "both instances")
    consul.restart(keep_data=False)
    prepare(consul)
    process.wait_for_log("held: query(live)")
    assert (tmp_path / "out").read_text() == TWO


def test_a_query_fails_over_to_another_datacenter_and_back(start_consul, run, tmp_path, programs):
    consul = start_consul(config={"ports": {"serf_wan": free_port()}})
    far = Consul(tmp_path, name="far", config={"datacenter": "dc2", "ports": {"serf_wan": free_port()}})
    programs.callback(far.kill)
    far.join([f"127.0.0.1:{consul.ports['serf_wan']}"], wan=True)
    far.start()
    wait_for(lambda: len(consul.api("GET", "/v1/catalog/datacenters")) > 1, LIMIT, "both datacenters", log=far.log)
    register(consul, 1)
    register(far, 2)
    prepare(consul, Failover={"Datacenters": ["dc2"]})
    process = run(consul, template="{% for i in query('live') %}{{ i.id }} {{ i.datacenter }}{% endfor %}")
    process.wait_for(reads(tmp_path / "out", "web-1 dc1"), LIMIT, "the instance at home")
    consul.deregister("web-1")
    process.wait_for(reads(tmp_path / "out", "web-2 dc2"), LIMIT, "the instance far away")
    register(consul, 1)
    process.wait_for(reads(tmp_path / "out", "web-1 dc1"), LIMIT, "the instance at home again")
