"""Changes that pass a check but cannot run, or cannot run at all: nginx keeps the old files; the log says why."""

import os
import re
import socket
import time
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from harness import free_port, tcp_read, wait_for
from harness.site import Site, instances


@pytest.fixture
def site(tmp_path, nginx):
    return Site(tmp_path, nginx)


@pytest.fixture
def daemon(site, ctemplate):
    """A daemon whose nginx runs generation 1."""
    assert ctemplate(*site.args, "-once", name="first").wait(20) == 0
    site.nginx.start()
    daemon = ctemplate(*site.args)
    daemon.wait_for_log("started")
    daemon.wait_for(lambda: not site.ledger()["owes_reload"], 10, "paid reload")
    site.wait_running("1", log=daemon.log)
    return daemon


@pytest.fixture
def foreign(programs):
    """A port that another process holds."""
    other = programs.enter_context(socket.socket())
    other.bind(("127.0.0.1", free_port()))
    other.listen()
    return other


REJECTED = [
    pytest.param(
        lambda port: {"edge": instances(port), "stream_edge": instances(port)},
        "edge",
        lambda port: (rf"\[emerg\] bind\(\) to 127\.0\.0\.1:{port} failed \(98.*\n", r"still could not bind\(\)"),
        id="http and stream on one port",
    ),
    pytest.param(
        lambda _: {"key": {"instances": [{"address": "10.0.0.1", "meta": {"key": "server"}}]}},
        "key",
        lambda _: (r'limit_req "one" uses the "\$server_addr" key while previously it used the "\$remote_addr" key',),
        id="another key for a zone",
    ),
]


def written_at(line):
    """Return when a line of the log was written."""
    return datetime.fromisoformat(line[:23])


def wait_for_failure(daemon, site, what):
    daemon.wait_for_log(what, 20)
    daemon.wait_for_log(f"{site.fragment} and 1 more: next try in", 20)


@pytest.mark.parametrize(("breaks", "culprit", "words"), REJECTED)
def test_whose_data_pass_the_test_but_not_the_reload_are_left_out_of_it(site, daemon, breaks, culprit, words):
    port = free_port()
    site.publish("2", **breaks(port))
    site.wait_running("2", log=daemon.log)
    daemon.wait_for_log(f"WARNING service '{culprit}'", 20)
    assert any(re.search(word, daemon.log()) for word in words(port)), daemon.log()
    site.wait_clean(daemon.log)
    assert site.nginx.check().returncode == 0
    site.publish("3")
    site.wait_running("3", log=daemon.log)
    daemon.wait_for_log(f"service '{culprit}': no longer left out")


def test_a_port_of_another_process_is_taken_once_it_is_free(site, daemon, foreign):
    port = foreign.getsockname()[1]
    site.publish("2", edge=instances(port))
    site.wait_running("2", 30, log=daemon.log)
    daemon.wait_for_log(f"service 'edge': refused: nginx: [emerg] bind() to 127.0.0.1:{port} failed")
    assert f"listen 127.0.0.1:{port};" not in site.nginx.conf.read_text()
    foreign.close()
    daemon.wait_for_log("service 'edge': no longer left out", 60)
    assert f"listen 127.0.0.1:{port};" in site.nginx.conf.read_text()
    assert site.nginx.check().returncode == 0


def test_an_edit_that_nginx_does_not_take_is_rolled_back_and_the_templates_before_go_on(site, daemon, foreign):
    contents, workers = site.contents(), site.nginx.workers()
    source = site.folder / "nginx.conf.j2"
    text = source.read_text()
    source.write_text(text.replace("stream {", f"stream {{ server {{ listen {foreign.getsockname()[1]}; return x; }}"))
    daemon.wait_for_log("every live file is rolled back", 30)
    assert (site.contents(), site.nginx.workers(), site.leftovers()) == (contents, workers, [])
    site.publish("2")
    site.wait_running("2", log=daemon.log)
    foreign.close()
    site.publish("3")
    site.wait_running("3", log=daemon.log)
    daemon.wait_for(lambda: b"return x" in site.contents()[0], 30, "the edited template in use")


def up(*names, ports=(1,), **options):
    return instances(*ports, tags=("up", *names), **options)


REFUSED = [
    pytest.param({"a": up("web", ports=range(1, 61))}, 'no memory in upstream zone "web"', None, id="zone too small"),
    pytest.param({"a": up("web", kind="backup")}, "no servers in upstream", (3, 5), id="only backup"),
    pytest.param({"twice": instances(1, 2)}, 'duplicate upstream "twice"', (4, 14), id="duplicate names"),
]


@pytest.mark.parametrize(("services", "words", "lines"), REFUSED)
def test_whose_data_the_test_refuses_are_left_out_until_they_change(site, daemon, services, words, lines):
    site.publish("2", **services)
    site.wait_running("2", log=daemon.log)
    (culprit,) = services
    daemon.wait_for_log(f"WARNING service '{culprit}'", 20)
    assert words in daemon.log()
    if lines:
        assert f" in {site.fragment}:{lines[0]} ({site.folder}/upstreams.conf.j2:{lines[1]})" in daemon.log()
    site.wait_clean(daemon.log)
    (refused,) = site.state.glob("*/refused/*")
    assert (refused / site.fragment.relative_to("/")).read_text().startswith("# generation 2\n")
    assert (refused.stat().st_mode & 0o777, refused.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    site.publish("3", **{culprit: up("other")})
    site.wait_running("3", log=daemon.log)
    daemon.wait_for_log(f"service '{culprit}': no longer left out")


def test_an_edit_that_the_test_refuses_touches_no_live_file_and_data_go_on(site, daemon):
    identities, reloads = site.identities(), site.nginx.reloads()
    source = site.folder / "nginx.conf.j2"
    text = source.read_text()
    source.write_text(text.replace("http {", "htttp {", 1))
    daemon.wait_for_log("nginx -t: exit status 1; every live file is untouched", 20)
    daemon.wait_for_log("the templates from before the edit stay in use")
    assert (site.identities(), site.leftovers(), site.nginx.reloads()) == (identities, [], reloads)
    site.publish("2")
    site.wait_running("2", log=daemon.log)
    source.write_text(text)
    site.publish("3")
    site.wait_running("3", log=daemon.log)


def test_what_returns_to_what_runs_costs_no_reload(site, daemon):
    reloads = site.nginx.reloads()
    identities = site.identities()
    site.publish("1", a=up("web", kind="backup"))
    daemon.wait_for_log("WARNING service 'a'", 20)
    site.publish("1")
    daemon.wait_for_log("no longer left out")
    assert (site.identities(), site.nginx.reloads()) == (identities, reloads)


def test_nginx_that_is_not_there_yet_is_told_once_it_is(site, ctemplate):
    daemon = ctemplate(*site.args)
    daemon.wait_for_log("written; the reload is deferred until its program runs")
    site.nginx.conf.write_text(site.nginx.conf.read_text())  # nothing changes but the time
    site.publish("2")
    daemon.wait_for(lambda: b"# generation 2" in (site.contents()[1] or b""), 10, "generation 2 written")
    assert site.ledger()["owes_reload"]
    site.nginx.start()
    daemon.wait_for(lambda: not site.ledger()["owes_reload"], 20, "paid reload")
    assert (site.nginx.reloads(), site.running()) == (1, "2")
    daemon.wait_for_log("and 1 more: applied")


def test_a_candidate_that_is_refused_before_nginx_runs_is_not_written(site, ctemplate):
    source = site.folder / "upstreams.conf.j2"
    source.write_text(source.read_text() + "upstream empty { }\n")
    once = ctemplate(*site.args, "-once")
    assert once.wait(20) == 1
    assert "nginx -t: exit status 1" in once.log()
    assert site.contents() == (None, None)


def test_a_live_file_that_is_edited_is_repaired_at_once(site, daemon):
    contents, reloads = site.contents(), site.nginx.reloads()
    site.fragment.write_text("# mine\n")
    daemon.wait_for_log(f"{site.fragment}: was changed by another program; overwritten with the rendered file")
    daemon.wait_for(lambda: site.contents() == contents, 10, "repaired file")
    daemon.wait_for(lambda: site.nginx.reloads() == reloads + 1, 10, "reload")
    site.nginx.conf.unlink()
    daemon.wait_for_log(f"{site.nginx.conf}: was removed by another program; overwritten with the rendered file")
    daemon.wait_for(lambda: site.contents() == contents, 10, "repaired file")
    daemon.wait_for(lambda: site.nginx.reloads() == reloads + 2, 10, "reload")


def test_an_edit_is_only_reported_where_the_operator_wants_that(tmp_path, nginx, ctemplate):
    site = Site(tmp_path, nginx, on_edit="report")
    site.publish("1")
    daemon = ctemplate(*site.args)
    daemon.wait_for_log("written; the reload is deferred")
    nginx.start()
    daemon.wait_for_log("applied")
    site.fragment.write_text("# mine\n")
    daemon.wait_for_log(f"{site.fragment}: was changed by another program; left as it is")
    reloads = nginx.reloads()
    site.publish("1", other=instances(1))  # a change that renders the same
    site.fragment.write_text("# mine again\n")
    daemon.wait_for_log("left as it is", times=2)
    assert (site.fragment.read_text(), nginx.reloads()) == ("# mine again\n", reloads)


def test_a_reload_waits_while_too_many_old_generations_drain_and_no_longer_than_told(
    tmp_path, nginx, ctemplate, programs
):
    site = Site(tmp_path, nginx, max_draining=2, max_delay="3s", min_interval="1s")
    edge = free_port()
    site.publish("1", edge=instances(edge))
    assert ctemplate(*site.args, "-once", name="first").wait(20) == 0
    nginx.start()
    daemon = ctemplate(*site.args)
    daemon.wait_for(lambda: not site.ledger()["owes_reload"], 10, "paid reload")
    for generation in ("2", "3"):  # an unfinished request keeps its worker, and with it that worker's configuration
        pin = programs.enter_context(socket.create_connection(("127.0.0.1", edge)))
        pin.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        old = len(nginx.old_workers())
        site.publish(generation, edge=instances(edge))
        site.wait_running(generation, log=daemon.log)
        wait_for(lambda old=old: len(nginx.old_workers()) == old + 1, 10, "one more draining worker")
    site.publish("4", edge=instances(edge))
    site.wait_running("4", log=daemon.log)
    lines = daemon.log().splitlines()
    waits = "2 old generations of workers still drain; the next reload waits, at most 3s"
    (began,) = (at for at, line in enumerate(lines) if waits in line)
    (ended,) = (at for at, line in enumerate(lines) if "drain after 3s; reloading" in line)
    assert written_at(lines[ended]) - written_at(lines[began]) >= timedelta(seconds=2.9)
    assert not [line for line in lines[began:ended] if ": applied" in line]


def test_many_changes_cost_one_reload_in_an_interval_and_the_last_one_counts(tmp_path, nginx, ctemplate):
    site = Site(tmp_path, nginx, min_interval="2s")
    assert ctemplate(*site.args, "-once", name="first").wait(20) == 0
    nginx.start()
    daemon = ctemplate(*site.args)
    daemon.wait_for(lambda: not site.ledger()["owes_reload"], 10, "paid reload")
    for generation in range(2, 22):
        seen = daemon.log().count("read again")
        site.publish(str(generation))
        daemon.wait_for(lambda seen=seen: daemon.log().count("read again") > seen, 10, "catalog read again")
    site.wait_running("21", log=daemon.log)
    daemon.wait_for(lambda: daemon.log().count(": applied") == nginx.reloads(), 10, "a line for each reload")
    began = [written_at(line) for line in daemon.log().splitlines() if ": applied" in line]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(began)]
    assert gaps, "a reload after the first"
    assert min(gaps) >= 1.9, "each reload waits for its interval"


def test_a_run_of_once_waits_for_old_workers_too(tmp_path, nginx, ctemplate):
    site = Site(tmp_path, nginx, max_draining=1, max_delay="2s")
    assert ctemplate(*site.args, "-once", name="first").wait(20) == 0
    nginx.start()
    assert ctemplate(*site.args, "-once", name="second").wait(20) == 0
    with socket.create_connection(("127.0.0.1", site.port)) as pin:
        pin.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert pin.recv(1)  # a worker has the connection
        pin.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        nginx.reload()
        wait_for(nginx.old_workers, 10, "a draining worker")
        site.publish("2")
        once = ctemplate(*site.args, "-once")
        assert once.wait(20) == 0
        assert "reloading" in once.log()
    assert site.running() == "2"


def test_a_stream_port_moves_without_a_restart(site, daemon):
    first, second = free_port(), free_port()
    site.publish("2", stream_edge=instances(first))
    site.wait_running("2", log=daemon.log)
    assert tcp_read(first) == "stream"
    site.publish("3", stream_edge=instances(second))
    site.wait_running("3", log=daemon.log)
    assert tcp_read(second) == "stream"


@pytest.fixture
def refused_at_the_reload(site, foreign, tmp_path):
    """Edits of the main file that `nginx -t` accepts, and what nginx says of them when it is reloaded."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)  # no worker may enter it, unless all run as one user
    text = (site.folder / "nginx.conf.j2").read_text()
    port = foreign.getsockname()[1]
    return {
        "a foreign port": (
            text.replace("stream {", f"stream {{ server {{ listen {port}; return x; }}"),
            "nginx kept its old configuration; every live file is rolled back\n",
        ),
        "a folder that workers may not enter": (
            f"working_directory {private};\n{text}",
            "the old workers are gone and nginx reported a failure; every live file is rolled back and loaded again\n",
        ),
    }


@pytest.mark.parametrize(
    "edit",
    [
        "a foreign port",
        pytest.param(
            "a folder that workers may not enter",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="without root, workers have the master's rights"),
        ),
    ],
)
def test_an_edit_that_the_reload_refuses_is_tried_once_and_nginx_serves_on(site, daemon, refused_at_the_reload, edit):
    contents, (text, said) = site.contents(), refused_at_the_reload[edit]
    (site.folder / "nginx.conf.j2").write_text(text)
    daemon.wait_for_log(f"{site.nginx.conf}: {said}", 30)
    daemon.wait_for_log("the templates from before the edit stay in use", 30)
    site.wait_clean(daemon.log)
    reloads = site.nginx.reloads()
    time.sleep(2)  # long enough for an attempt that the files' own restoration would cause
    assert (site.contents(), site.running(), site.nginx.reloads()) == (contents, "1", reloads)
    assert not site.ledger()["owes_reload"]
