"""A first configuration fits the host that it was made for, and works as it is written."""

from dataclasses import replace
from pathlib import Path

import pytest

from ctemplate.config.groups import group_plans
from ctemplate.config.layers import build, read_layers
from ctemplate.core.errors import ConfigError
from ctemplate.nginx.language.includes import load_tree
from ctemplate.setup.first_files import first_files
from ctemplate.setup.survey import ConsulFound, HostSurvey, NginxFound, included_folder
from ctemplate.template import Template

NGINX = NginxFound(
    version="1.22.1",
    conf=Path("/etc/nginx/nginx.conf"),
    http_folder=Path("/etc/nginx/conf.d"),
    stream_folder=None,
    http_includes=("/etc/nginx/conf.d/*.conf", "/etc/nginx/sites-enabled/*"),
    stream_module="/usr/lib/nginx/modules/ngx_stream_module.so",
    worker_user="www-data",
    hosts=("_",),
)
CONSUL = ConsulFound(address="10.0.0.5:8500", services={"consul": [], "web": ["http"], "db-1": ["tcp"]})
DEBIAN = HostSurvey(distribution='A "Distribution"', user="root", is_root=True, nginx=NGINX, consul=CONSUL)


def written(made, folder):
    """Write the files; return the configuration and what becomes of it."""
    for name, text in made.texts.items():
        (folder / name).write_text(text)
    config = build(read_layers(folder))
    return config, [plan for plan in group_plans(config) if plan.templates]


def destinations(plans):
    return [str(template.destination) for plan in plans for template in plan.templates]


@pytest.mark.parametrize(
    ("nginx", "expected", "advised"),
    [
        ({}, ["/etc/nginx/conf.d/ctemplate-http.conf"], ["for TCP"]),
        (
            {"http_folder": Path("/etc/nginx/http.d"), "stream_folder": Path("/etc/nginx/stream.d")},
            ["/etc/nginx/http.d/ctemplate-http.conf", "/etc/nginx/stream.d/ctemplate-stream.conf"],
            [],
        ),
        ({"stream_folder": Path("/s"), "stream_module": None}, None, ["no stream module"]),
    ],
    ids=["debian", "both", "no module"],
)
def test_fragments_go_where_nginx_includes_them(tmp_path, nginx, expected, advised):
    made = first_files(replace(DEBIAN, nginx=replace(NGINX, **nginx)), tmp_path, is_complete=False)
    config, plans = written(made, tmp_path)
    assert len(plans) == 1
    assert plans[0].settings.reload == "nginx -s reload"
    assert expected is None or destinations(plans) == expected
    assert config.consul.addresses == ("10.0.0.5:8500",)
    assert config.vars == {"always": [], "http_tag": "http"}
    assert [what for what in advised if not any(what in sentence for sentence in made.advice)] == []
    assert len(made.advice) == len(advised)
    for template in plans[0].templates:
        Template.load(template.source, variables=config.vars, environ={})


def test_what_is_not_in_use_yet_can_be_taken_into_use_as_the_comment_says(tmp_path):
    bare = replace(NGINX, http_folder=None)
    made = first_files(replace(DEBIAN, nginx=bare), tmp_path, is_complete=False)
    with pytest.raises(ConfigError):  # no template is in use
        written(made, tmp_path)
    text = made.texts["ctemplate.toml"]
    for key in ("[[template]]", "source", "destination", "group"):
        text = text.replace(f"# {key}", key)
    (tmp_path / "ctemplate.toml").write_text(text)
    assert destinations(group_plans(build(read_layers(tmp_path)))) == [
        "/etc/nginx/http.d/ctemplate-http.conf",
        "/etc/nginx/stream.d/ctemplate-stream.conf",
    ]


def test_the_whole_nginx_conf_has_the_host_s_user_and_module(tmp_path):
    made = first_files(DEBIAN, tmp_path, is_complete=True)
    config, plans = written(made, tmp_path)
    assert destinations(plans) == ["/etc/nginx/nginx.conf"]
    assert config.vars == {
        "domain": "example.com",
        "user": "www-data",
        "stream_module": "/usr/lib/nginx/modules/ngx_stream_module.so",
    }
    assert '# http_include = "/etc/nginx/sites-enabled/*"' in made.texts["ctemplate.toml"]


@pytest.mark.parametrize(
    ("services", "tag"),
    [
        (None, "http"),
        ({"consul": []}, "http"),
        ({"consul": [], "web": []}, ""),
        ({"web": [], "api": ["http"]}, "http"),
    ],
)
def test_services_without_tags_are_taken_all(tmp_path, services, tag):
    consul = ConsulFound(address="a:1", services=services, failure="" if services else "connection refused")
    config, _ = written(first_files(replace(DEBIAN, consul=consul), tmp_path, is_complete=False), tmp_path)
    assert config.vars["http_tag"] == tag


def test_what_is_said_of_consul_is_kept(tmp_path):
    said = {"token_file": '/a "token"', "ssl": True, "ssl_verify": "false"}
    config, _ = written(first_files(DEBIAN, tmp_path, is_complete=True, consul=said), tmp_path)
    consul = config.consul
    assert (consul.token_file, consul.ssl, consul.verify) == ('/a "token"', True, False)


def test_who_is_not_root_reloads_by_sudo(tmp_path):
    host = replace(DEBIAN, is_root=False, user="web")
    _, (plan,) = written(first_files(host, tmp_path, is_complete=False), tmp_path)
    assert plan.settings.reload == "sudo -n nginx -s reload"


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("http { include mime.types; include conf.d/*.conf; include sites/*; }", "conf.d"),
        ("http { include sites/*; }", None),
        ("http { server { include conf.d/*.conf; } }", None),
        ("include conf.d/*.conf; http { }", None),
        ("http { include */conf/*.conf; }", None),
    ],
)
def test_the_folder_is_one_of_which_every_conf_is_included_in_http(tmp_path, text, folder):
    main = tmp_path / "nginx.conf"
    main.write_text(text)
    (tmp_path / "mime.types").write_text("types { }")
    found = included_folder(load_tree(main), b"http")
    assert found == (None if folder is None else tmp_path / folder)
