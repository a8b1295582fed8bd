"""Elections, cut-off servers and lost majorities: nginx's clients notice none of them. Long form: `bench.faults`."""

import pytest
from harness import Ctemplate, wait_for
from harness.island import Island

from bench import faults

OPTIONS = faults.Options(times=1, cut=8.0)


@pytest.mark.parametrize("trouble", [pytest.param(trouble, id=trouble.__name__) for trouble in faults.CLUSTER])
def test_trouble_of_a_cluster_never_reaches_nginx(trouble):
    (seen,) = faults.seen(trouble, OPTIONS)
    assert faults.verdict(seen) == []
    assert seen.requests > 100


@pytest.mark.skipif(not Island.is_allowed(), reason="only root may make network namespaces")
@pytest.mark.parametrize("trouble", [pytest.param(trouble, id=trouble.__name__) for trouble in faults.CUT_OFF])
def test_a_server_without_the_others_never_reaches_nginx(trouble):
    (seen,) = faults.seen(trouble, OPTIONS)
    assert faults.verdict(seen) == []
    assert seen.requests > 100


def test_failover_goes_to_what_is_known_of_a_datacenter_that_is_away(tmp_path):
    here, there = (faults.datacenter(tmp_path, name) for name in ("dc1", "dc2"))
    there.join([f"127.0.0.1:{here.ports['serf_wan']}"], wan=True)
    template, file = tmp_path / "t.j2", tmp_path / "out" / "file"
    template.write_text('{% for i in service("web", dc=["dc1", "dc2"], failover=true) %}{{ i.port }} {% endfor %}')
    args = ("-consul-addr", here.address, "-template", f"{template}:{file}", "-state-dir", tmp_path / "state")
    daemon = Ctemplate(tmp_path, *args)
    try:
        for consul in (here, there):
            consul.start()
        wait_for(lambda: set(here.api("GET", "/v1/catalog/datacenters")) == {"dc1", "dc2"}, 60, "both datacenters")
        here.register("web", port=8001)
        there.catalog("web", "b", 8002)
        daemon.start()
        daemon.wait_for(lambda: file.exists() and file.read_text() == "8001 ", 60, "the first datacenter")
        daemon.wait_for(lambda: b"8002" in b"".join(kept(tmp_path)), 60, "the second one's answer is kept")
        there.kill()
        here.deregister("web")
        daemon.wait_for(lambda: file.read_text() == "8002 ", 8, "the second datacenter")
        template.write_text(template.read_text() + '{{ service("new", dc=["dc1", "dc2"]) | length }}')
        daemon.wait_for(lambda: file.read_text() == "8002 0", 60, "the new query without dc2")
        said = "datacenter dc2: is unavailable and has never answered service(new, dc=dc2); the other datacenters are"
        daemon.wait_for_log(said)
        assert daemon.log().count(said) == 1
    finally:
        for process in (daemon, here, there):
            process.kill()


def kept(folder):
    """What is kept of the answers, each file's bytes."""
    return [path.read_bytes() for path in (folder / "state").glob("answers-*.json")]


def test_a_datacenter_that_is_away_from_the_start_does_not_hold_up_the_others(tmp_path):
    here, there = (faults.datacenter(tmp_path, name) for name in ("dc1", "dc2"))
    there.join([f"127.0.0.1:{here.ports['serf_wan']}"], wan=True)
    template, file = tmp_path / "t.j2", tmp_path / "out" / "file"
    template.write_text('{% for i in service("web", dc=["dc1", "dc2"]) %}{{ i.port }} {% endfor %}')
    args = ("-consul-addr", here.address, "-template", f"{template}:{file}", "-state-dir", tmp_path / "state")
    daemon = Ctemplate(tmp_path, *args)
    try:
        for consul in (here, there):
            consul.start()
        wait_for(lambda: set(here.api("GET", "/v1/catalog/datacenters")) == {"dc1", "dc2"}, 60, "both datacenters")
        here.catalog("web", "a", 8001)
        there.catalog("web", "b", 8002)
        there.kill()
        daemon.start()
        daemon.wait_for(lambda: file.exists() and file.read_text() == "8001 ", 60, "the part of dc1")
        said = "datacenter dc2: is unavailable and has never answered service(web, dc=dc2); the other datacenters are"
        daemon.wait_for_log(said)
        assert daemon.log().count(said) == 1
        there.start()
        daemon.wait_for(lambda: file.read_text() == "8001 8002 ", 90, "the part of dc2")
    finally:
        for process in (daemon, here, there):
            process.kill()
