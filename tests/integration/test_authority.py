"""Registered values never choose where nginx goes, whatever says that a file is nginx's, or if nothing does."""

import json

import pytest

HOSTILE = "127.0.0.1:8500"
COMPLETE = """\
{% for s in services(tag="http") %}
upstream {{ s.name }} { {% for i in service(s.name) %}server {{ i.address }}:{{ i.port }};{% endfor %} }
server { server_name {{ s.name }}; location / { proxy_pass http://{{ s.name }}; } }
{% endfor %}
"""
SITES = """\
{% for s in services(tag="http") %}
server { server_name {{ s.name }}; location / { proxy_pass http://{{ s.name }}; } }
{% endfor %}
"""
UPSTREAMS = """\
{% for s in services(tag="http") %}
upstream {{ s.name }} { {% for i in service(s.name) %}server {{ i.address }}:{{ i.port }};{% endfor %} }
{% endfor %}
"""
LEFT_OUT = f"service '{HOSTILE}': name: t.j2"


@pytest.fixture
def run(tmp_path, ctemplate):
    """Run ctemplate over a hostile and an honest service; returns its output and what it wrote."""
    instances = [{"address": "10.9.9.9", "port": 80}]
    services = {name: {"tags": ["http"], "instances": instances} for name in (HOSTILE, "web")}
    (tmp_path / "catalog.json").write_text(json.dumps({"services": services}))
    (tmp_path / "reload").write_text("#!/bin/sh\ntrue\n")
    (tmp_path / "reload").chmod(0o755)

    def runs(*arguments, **templates):
        for name, text in templates.items():
            (tmp_path / f"{name}.j2").write_text(text)
        found = ctemplate("-catalog", "catalog.json", *arguments, name="run")
        assert found.wait(20) == 0, found.output()
        written = tmp_path / "out" / "x.conf"
        return found.output(), written.read_text() if written.exists() else found.stdout()

    return runs


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-template", "t.j2", "-dry", "-escape", "nginx"], id="named by escape, printed"),
        pytest.param(["-template", "t.j2", "-dry"], id="known by its text, printed"),
        pytest.param(["-template", "t.j2:out/x.conf:./reload", "-once"], id="a script as command"),
        pytest.param(["-template", "t.j2:out/x.conf", "-once"], id="no command"),
    ],
)
def test_a_complete_file_needs_no_command_to_be_judged(run, arguments):
    log, text = run(*arguments, t=COMPLETE)
    assert LEFT_OUT in log
    assert "proxy_pass http://web;" in text
    assert HOSTILE not in text


def test_upstreams_in_a_file_beside_count(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "hand.conf").write_text("upstream web { server 10.0.0.1; }\n")
    log, text = run("-template", "t.j2:out/x.conf:./reload", "-once", t=SITES)
    assert LEFT_OUT in log
    assert "names no upstream of this configuration (of which only files beside it are seen: " in log
    assert text.count("proxy_pass") == text.count("proxy_pass http://web;") == 1


def test_upstreams_of_another_group_count_before_their_file_exists(run, tmp_path):
    log, text = run("-template", "u.j2:out/u.conf", "-template", "t.j2:out/x.conf", "-once", t=SITES, u=UPSTREAMS)
    assert LEFT_OUT in log
    assert text.count("proxy_pass") == text.count("proxy_pass http://web;") == 1
    assert "upstream web " in (tmp_path / "out" / "u.conf").read_text()


def test_a_text_that_is_no_nginx_keeps_its_values(run):
    text = "{% for s in services() %}\nbackend {{ s.name }} to {{ s.name }}\n{% endfor %}\n"
    log, written = run("-template", "t.j2:out/x.conf:./reload", "-once", t=text)
    assert "left out" not in log
    assert written == f"backend {HOSTILE} to {HOSTILE}\nbackend web to web\n"
