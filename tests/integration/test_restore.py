"""Past states are listed and restored, and stay until they are released; on a real nginx."""

import json

import pytest
from harness.site import Site

ORIGINAL = "http {{\n{http}\nserver {{ listen 127.0.0.1:{port}; server_name old.example; return 200 original; }}\n}}\n"


@pytest.fixture
def site(tmp_path, nginx):
    """A running nginx with a configuration of its operator's own, and a site that is to replace it."""
    site = Site(tmp_path, nginx)
    nginx.conf.write_text(nginx.main + ORIGINAL.format(http=nginx.http, port=site.port))
    nginx.start()
    return site


@pytest.fixture
def run(site, ctemplate):
    """Run a verb to its end: `run("restore", "1")` returns the exit status and what it said."""
    numbers = iter(range(1000))

    def run(*args):
        process = ctemplate(*args, *site.args, name=f"run-{next(numbers)}")
        return process.wait(), process.output()

    return run


@pytest.fixture
def daemon(site, ctemplate):
    """A daemon that has brought two generations live after the original."""
    daemon = ctemplate(*site.args)
    for generation in ("1", "2"):
        site.publish(generation)
        site.wait_running(generation, log=daemon.log)
    daemon.wait_for_log("applied", times=2)
    return daemon


def test_a_generation_is_brought_back_and_stays_until_released(site, daemon, run):
    status, said = run("restore")
    assert status == 0
    assert [line.split()[0] for line in said.splitlines() if line.startswith("  ") and line[2] != " "] == [
        *("000002", "000001", "original")
    ]
    assert f"{site.nginx.conf}: server old.example added" in said
    assert run("restore", "2")[0] == 0
    nothing = "is as it was then; restoring it changes nothing"
    assert run("restore", "2", "-diff") == (
        0,
        "".join(f"{path}: {nothing}\n" for path in (site.fragment, site.nginx.conf)),
    )
    assert site.running() == "1"
    assert all("generation 1" in text or '"1"' in text for text in (path.read_text() for path in site.files))
    files = site.identities()
    site.publish("4")
    daemon.wait_for_log("read again", times=2)
    daemon.wait_for_log("held as restored from 000002; nothing is applied until 'ctemplate release'")
    status, said = run("status")
    assert status == 4
    assert "restored from 000002, nothing is applied until 'ctemplate release'" in said
    assert "held as restored from 000002" in run("restore")[1]
    assert f"{site.fragment} {site.nginx.conf}: held as restored from 000002" in run("plan")[1]
    assert (site.running(), site.identities()) == ("1", files)
    report = json.loads(run("status", "-format", "json")[1])
    assert report["releasable"] == [str(site.fragment)]
    status, said = run("release", report["releasable"][0])
    assert (status, said) == (0, f"released {site.fragment} and 1 more: as it was restored\n")
    site.wait_running("4", log=daemon.log)


def test_the_original_is_brought_back_over_a_restart_until_a_template_changes(site, daemon, run, ctemplate):
    original = site.nginx.main + ORIGINAL.format(http=site.nginx.http, port=site.port)
    assert run("restore", "original")[0] == 0
    assert (site.running(), site.nginx.conf.read_text()) == ("original", original)
    assert daemon.stop() == 0
    again = ctemplate(*site.args, name="again")
    again.wait_for_log("held as restored from original")
    assert site.running() == "original"
    template = site.folder / "nginx.conf.j2"
    template.write_text(template.read_text() + "# edited\n")
    again.wait_for_log("no longer held as restored: its templates have changed")
    site.wait_running("2", log=again.log)


def test_one_file_of_a_group_is_brought_back_alone(site, daemon, run):
    assert run("restore", "000002", site.fragment)[0] == 0, daemon.log()
    assert "generation 1" in site.fragment.read_text()
    assert site.running() == "2"


def test_what_nginx_refuses_is_not_brought_back_and_nothing_is_held(site, daemon, run):
    (kept,) = site.state.glob("*/backups/000002")
    (kept / site.nginx.conf.relative_to("/")).write_text("upstreem\n")
    files = site.identities()
    status, said = run("restore", "2")
    assert status == 1
    assert f"{site.nginx.conf}: nginx -t: exit status 1; every live file is untouched" in said
    assert site.identities() == files
    site.publish("4")
    site.wait_running("4", log=daemon.log)


def test_a_broken_template_hinders_no_restoration(site, daemon, run):
    template = site.folder / "nginx.conf.j2"
    template.write_text(template.read_text() + "{{ nonsense }}\n")
    daemon.wait_for_log("'nonsense' is undefined")
    assert run("restore", "2")[0] == 0
    assert site.running() == "1"


def test_before_the_first_change_nothing_is_kept(site, run):
    files = f"{site.fragment} {site.nginx.conf}"
    assert run("restore", "9") == (1, f"{files}: 000009 is not kept; no earlier state of this is kept yet\n")


def test_without_a_daemon_the_same_is_done_here(site, daemon, run):
    assert daemon.stop() == 0
    status, said = run("restore", "2", "-diff")
    assert (status, "+# generation 1" in said.splitlines()) == (0, True)
    assert run("restore", "77") == (
        1,
        f"{site.fragment} {site.nginx.conf}: 000077 is not kept; kept are: 000002, 000001, original\n",
    )
    status, said = run("restore", "1", "/etc/other")
    assert (status, "/etc/other: is no group and no file of one; the files are: " in said) == (2, True)
    assert site.running() == "2"
    status, said = run("restore", "2")
    assert (status, said.count("restored from 000002")) == (0, len(site.files)), said
    assert site.running() == "1"
    status, said = run("-once")
    assert (status, "held as restored from 000002" in said) == (0, True)
    assert site.running() == "1"
    released = "".join(f"released {path}: as it was restored\n" for path in site.files[::-1])
    assert run("release") == (0, released)
    assert run("-once")[0] == 0
    assert site.running() == "2"
