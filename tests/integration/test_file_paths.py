"""A registered value that reaches a path through a variable chooses no file outside the operator's folder."""

import json

import pytest
from harness import free_port
from harness.backends import http_get
from harness.users import open_to_all

SITES = {
    "good": {"site": "good"},
    "up": {"site": "../secret"},
    "dots": {"site": ".."},
    "below": {"site": "good/../../secret"},
    "page": {"site": "good", "page": "../../secret/index.html"},
    "absolute": {"site": "good", "folder": "/SECRET"},
}
TEMPLATE = """\
MAINhttp {
HTTP
map $host $folder {
    default ROOT/sites/good;
    {% for s in services() %}
    {% for i in service(s.name) if i.meta.folder %}
    {{ s.name }}.test {{ i.meta.folder | quote }};
    {% endfor %}
    {% endfor %}
}
server { listen 127.0.0.1:PORT default_server; return 404; }
{% for s in services() %}
{% for i in service(s.name) %}
server {
    listen 127.0.0.1:PORT;
    server_name {{ s.name }}.test;
    set $site {{ i.meta.site | quote }};
    set $page {{ i.meta.page | default("index.html") | quote }};
    location / { root ROOT/sites/$site; }
    location = /page { alias ROOT/sites/good/$page; }
    location /folder/ { alias $folder/; }
}
{% endfor %}
{% endfor %}
}
"""


@pytest.fixture
def site(tmp_path, nginx, ctemplate):
    """Make nginx's configuration from a catalog file with a printing rule; return what it answers a host, and the log.

    A page of the site says "good", one that stands beside the sites says "secret".
    """
    port = free_port()
    for folder, text in (("sites/good", "good"), ("secret", "secret")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "index.html").write_text(text)
    open_to_all(tmp_path)
    secret = str(tmp_path / "secret")
    services = {
        name: {"instances": [{"address": "10.0.0.1", "port": 80, "meta": _under(meta, secret)}]}
        for name, meta in SITES.items()
    }
    (tmp_path / "catalog.json").write_text(json.dumps({"services": services}))
    text = TEMPLATE.replace("MAIN", nginx.main).replace("HTTP", nginx.http)
    (tmp_path / "t.j2").write_text(text.replace("ROOT", str(tmp_path)).replace("PORT", str(port)))

    def answers(escape):
        run = ctemplate(
            "-catalog", "catalog.json", "-once", "-escape", escape,
            "-template", f"t.j2:{nginx.conf}:{nginx.reload_command}", name=escape,
        )  # fmt: skip
        assert run.wait(60) == 0, run.output()
        nginx.start()

        def ask(name, path):
            return http_get(port, path, host=f"{name}.test")

        return ask, run.log()

    return answers


def _under(meta, secret):
    return {key: value.replace("/SECRET", secret) for key, value in meta.items()}


PAGES = {
    "good": "/",
    "up": "/",
    "dots": "/secret/",
    "below": "/",
    "page": "/page",
    "absolute": "/folder/",
}


def test_a_value_in_a_variable_opens_no_other_file_and_other_services_live(site):
    ask, log = site("nginx")
    found = {name: ask(name, path) for name, path in PAGES.items()}
    assert found.pop("good") == (200, "good")
    assert {status for status, _ in found.values()} == {404}
    for name, variable in (
        ("up", "site"),
        ("dots", "site"),
        ("below", "site"),
        ("page", "page"),
        ("absolute", "folder"),
    ):
        assert f"service '{name}'" in log
        assert f"would choose a file through '${variable}'" in log


def test_without_the_rule_such_a_value_opens_another_file(site):
    ask, _ = site("none")
    found = {name: ask(name, path)[1] for name, path in PAGES.items()}
    assert found == dict.fromkeys(PAGES, "secret") | {"good": "good"}
