from dataclasses import replace
from pathlib import Path

import pytest

from ctemplate.config.groups import STDOUT, GroupPlan, TemplatePlan
from ctemplate.config.schema import GroupSection, NginxSection
from ctemplate.nginx.command import NginxCommand
from ctemplate.nginx.groups import is_proven, nginx_of, unproven_files

CONF = "/etc/nginx/nginx.conf"


def plan(destination, **settings):
    template = TemplatePlan(
        source=Path("t.j2"), destination=Path(destination), mode=None, user=None, owner_group=None, escape="nginx"
    )
    return GroupPlan(settings=GroupSection(name="g", **settings), templates=(template,))


@pytest.mark.parametrize(
    ("destination", "settings"),
    [
        pytest.param(CONF, {"reload": "nginx -s reload"}, id="known"),
        pytest.param(CONF, {"reload": "docker kill -s HUP a", "check": "my-check"}, id="own check"),
        pytest.param(CONF, {"reload": "docker kill -s HUP a", "nginx": NginxSection()}, id="own word"),
        pytest.param("/etc/haproxy/haproxy.cfg", {"reload": "systemctl reload haproxy"}, id="another program"),
        pytest.param("/srv/mynginx/a.conf", {"reload": "x"}, id="part of a word"),
        pytest.param(str(STDOUT), {"reload": "docker exec nginx nginx -s reload"}, id="printed"),
    ],
)
def test_what_is_checked_or_no_nginx_is_not_warned_of(destination, settings):
    assert unproven_files(plan(destination, **settings)) is None


@pytest.mark.parametrize(
    ("destination", "settings", "why"),
    [
        pytest.param(CONF, {"reload": "x"}, "its reload command is not known to be nginx's", id="path"),
        pytest.param("/srv/a.conf", {"reload": "docker exec nginx x"}, "its reload command is not known", id="command"),
        pytest.param("/etc/openresty/a.conf", {}, "it has no reload command", id="no command"),
        pytest.param("/srv/a.conf", {"reload": "/usr/local/bin/reload-nginx"}, "its reload command", id="script"),
        pytest.param("/srv/a.conf", {"reload": "${NGINX:-nginx} -s reload"}, "its reload command", id="variable"),
        pytest.param("/srv/a.conf", {"reload": "/opt/lb/sbin/lb -s reload"}, "its reload command", id="other name"),
        pytest.param("/srv/a.conf", {"reload": ("lb", "-s", "reload")}, "its reload command", id="list"),
        pytest.param("/opt/nginx1.22/a.conf", {"reload": "x"}, "its reload command", id="version"),
    ],
)
def test_a_file_that_looks_like_nginx_without_a_check_is_warned_of(destination, settings, why):
    assert unproven_files(plan(destination, **settings)).startswith(f"looks like nginx's, but {why}")


@pytest.mark.parametrize(
    ("text", "escape", "is_nginx"),
    [
        pytest.param("upstream {{ s.name }} { server {{ a }}; }", None, True, id="upstream"),
        pytest.param("{% if x %}server { listen 80; }{% endif %}", None, True, id="server"),
        pytest.param("{{range services}}\nupstream {{.Name}} {\n{{end}}", "nginx", True, id="Go"),
        pytest.param("server {\n  enabled = true\n}\n", None, False, id="another language with blocks"),
        pytest.param("listen {{ name }}\n  server {{ i.id }} {{ i.address }}\n", None, False, id="haproxy"),
        pytest.param("upstream {{ s.name }} { server {{ a }}; }", "lines", False, id="another format"),
    ],
)
def test_a_template_of_nginxs_language_without_a_check_is_warned_of(text, escape, is_nginx):
    known = plan("/srv/lb.conf", reload="/opt/again")
    known = replace(known, templates=(replace(known.templates[0], contents=text, escape=escape),))
    assert bool(unproven_files(known)) is is_nginx
    quiet = replace(known, settings=GroupSection(name="g"))
    assert unproven_files(quiet) is None


@pytest.mark.parametrize(
    ("reload", "key", "expected"),
    [
        pytest.param("x", {}, NginxCommand(program="nginx", announce="x"), id="defaults"),
        pytest.param(
            "x",
            {"binary": "/n", "config": "/c", "prefix": "/p"},
            NginxCommand(program="/n", conf="/c", prefix="/p", announce="x"),
            id="all",
        ),
        pytest.param(
            "openresty -p /p -s reload",
            {"config": "/c"},
            NginxCommand(program="openresty", conf="/c", prefix="/p"),
            id="beside a command",
        ),
        pytest.param(
            "systemctl reload nginx",
            {"config": "/c"},
            NginxCommand(program="nginx", conf="/c", announce="systemctl reload nginx"),
            id="beside a service",
        ),
    ],
)
def test_the_groups_own_word_wins(reload, key, expected):
    settings = GroupSection(name="g", reload=reload, nginx=NginxSection(**key))
    assert nginx_of(settings) == expected
    assert is_proven(settings)


def test_a_nginx_out_of_sight_and_one_that_is_never_reloaded_are_not_proven():
    assert not is_proven(GroupSection(name="g", reload="x", nginx=NginxSection(proof=False)))
    assert not is_proven(GroupSection(name="g", nginx=NginxSection()))
    assert not is_proven(GroupSection(name="g", reload="x"))
