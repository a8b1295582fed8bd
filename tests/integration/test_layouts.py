"""From fragments that the distribution's nginx.conf includes to a complete nginx.conf, and back; real nginx."""

import json

import pytest
from harness import free_port, run_ctemplate

SERVERS = """
{% for svc in services(tag="http") %}
server { listen 127.0.0.1:PORT; server_name {{ svc.name }}.x; location / { proxy_pass http://{{ svc.name }}; } }
{% endfor %}
"""
UPSTREAMS = """
{% for svc in services(tag="http") %}
upstream {{ svc.name }} {
{% for i in service(svc.name) %}
    server {{ i.address }}:{{ i.port }};
{% endfor %}
}
{% endfor %}
"""
INSTANCE = {"address": "10.0.0.1", "port": 80}


@pytest.fixture
def once(tmp_path, nginx):
    """Render a text to nginx's main file with ``-once``, always with the same state folder; return code and log."""
    catalog, source = tmp_path / "catalog.json", tmp_path / "t.j2"
    catalog.write_text(json.dumps({"services": {"web": {"tags": ["http"], "instances": [INSTANCE]}}}))

    def run(http):
        source.write_text(f"{nginx.main} http {{\n{nginx.http}\n{http}\n}}\n".replace("PORT", str(free_port())))
        template = f"{source}:{nginx.conf}:{nginx.reload_command}"
        done = run_ctemplate("-once", "-catalog", catalog, "-template", template, cwd=tmp_path)
        return done.returncode, done.stderr

    return run


def test_names_of_files_that_are_included_no_longer_are_free_for_live_services_too(nginx, once):
    fragments = nginx.prefix / "conf.d"
    fragments.mkdir()
    (fragments / "old.conf").write_text("upstream web { server 10.0.0.9:80; }\n")
    included = f"include {fragments}/*.conf;\n"
    code, log = once(included + SERVERS)
    assert code == 0, log
    code, log = once(UPSTREAMS + SERVERS)
    assert code == 0, log
    assert "server 10.0.0.1:80;" in nginx.conf.read_text()
    code, log = once(included + SERVERS)
    assert code == 0, log
    assert "upstream" not in nginx.conf.read_text()
    code, log = once(included + UPSTREAMS + SERVERS)
    assert code == 1
    assert "'web' is the name of an upstream in " in log or "it is live, so the edit is not used" in log
    assert "upstream" not in nginx.conf.read_text()
