"""The README's small template on a real nginx: unknown hosts, odd registrations and services without instances."""

import json
import re

from harness import ROOT, free_port
from harness.backends import http_get

STRANGE = {
    "portless": [{"address": "127.0.0.1", "port": 0}],
    "weightless": [{"address": "127.0.0.1", "port": 80, "weight": 0}],
    "empty": [],
    "127.0.0.1:8500": [{"address": "127.0.0.1", "port": 80}],
    "unix:/run/x": [{"address": "127.0.0.1", "port": 80}],
    "team/app": [{"address": "127.0.0.1", "port": 80}],
    "x" * 200: [{"address": "127.0.0.1", "port": 80}],
}


def template(nginx, port):
    """The README's template, moved to a free port and into nginx's own folder."""
    (text,) = re.findall(r"^```jinja\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    text = text.replace("listen 80", f"listen 127.0.0.1:{port}")
    return text.replace("user www-data;\nevents { }\n", nginx.main).replace("http {\n", "http {\n" + nginx.http, 1)


def test_the_readmes_template_stands_odd_registrations_and_strange_hosts(tmp_path, nginx, ctemplate, http_backend):
    port, backend = free_port(), http_backend("web")
    services = STRANGE | {"web": [{"address": "127.0.0.1", "port": backend.port}]}
    catalog = {"services": {name: {"tags": ["http"], "instances": rows} for name, rows in services.items()}}
    (tmp_path / "c.yaml").write_text(json.dumps(catalog))
    (tmp_path / "n.j2").write_text(template(nginx, port))
    once = ctemplate(
        "-once", "-catalog", "c.yaml", "-template", f"n.j2:{nginx.conf}:{nginx.reload_command}", "-state-dir", "state"
    )
    assert once.wait(30) == 0, once.log()
    nginx.start()
    assert http_get(port, host="web.example.com")[0] == 200
    assert http_get(port, host="portless.example.com")[0] == 502
    assert http_get(port, host="empty.example.com")[0] == 502
    assert [http_get(port, host=host)[0] for host in ("other.test", "10.0.0.1", "example.com")] == [404, 404, 404]
