"""The shipped nginx.conf.j2 over catalog files, read back as nginx would read it."""

import functools
from pathlib import Path

import pytest

from ctemplate.core.model import Snapshot
from ctemplate.nginx.language.parser import parse_config
from ctemplate.nginx.language.skeleton import skeleton
from ctemplate.queries.catalog_entries import CatalogEntry, ServiceEntry
from ctemplate.sources import contents
from ctemplate.template import Renderer, Template

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples/nginx/catalog.yaml"


@functools.cache
def loaded(variables):
    return Template.load(ROOT / "templates/nginx.conf.j2", variables=dict(variables), environ={})


def rendering(catalog, **variables):
    """Render the shipped template over a catalog file's text, asking for answers as long as it wants more."""
    catalogue = contents.parse_catalog(catalog, name="catalog.yaml")
    renderer = Renderer([loaded(tuple(variables.items()))])
    answers = {}
    while True:
        rendered = renderer.render(Snapshot(answers))
        if rendered.used == answers.keys():
            return rendered
        answers = {query: contents.answer(catalogue, query) for query in rendered.used}


def directives(catalog, **variables):
    return shown(parse_config(rendering(catalog, **variables).texts[0].encode(), where="nginx.conf"))


def shown(parsed):
    """Directives as lines of words; a block as a pair of its line and what it holds."""
    return [
        line if directive.block is None else (line, shown(directive.block))
        for directive in parsed
        for line in [" ".join(word.decode() for word in (directive.name, *directive.args))]
    ]


def block(held, name):
    """The one block of that name."""
    (found,) = [entry[1] for entry in held if isinstance(entry, tuple) and entry[0] == name]
    return found


def blocks(held, name):
    return [entry[1] for entry in held if isinstance(entry, tuple) and entry[0].split()[0] == name]


def upstreams(held):
    return {entry[0].split()[1]: entry[1] for entry in held if isinstance(entry, tuple) and entry[0][:8] == "upstream"}


def http_servers(conf):
    """The servers of http by their names."""
    servers = blocks(block(conf, "http"), "server")
    return {line.split()[1]: server for server in servers for line in server if line[:11] == "server_name"}


def listeners(conf):
    """What the stream servers listen on and where they send it."""
    servers = blocks(block(conf, "stream"), "server")
    return [tuple(line for line in server if line.split()[0] in {"listen", "proxy_pass"}) for server in servers]


def test_the_example_is_served_as_told():
    conf = directives(EXAMPLE.read_text())
    http, stream = block(conf, "http"), block(conf, "stream")
    assert upstreams(http) == {
        "httpfront": [
            "zone http-httpfront 64k",
            "server 192.168.0.129:32769 max_fails=3 fail_timeout=5s weight=1",
            "server 192.168.0.130:32768 max_fails=3 fail_timeout=5s weight=1",
            "server 192.168.0.131:32768 max_fails=3 fail_timeout=5s weight=1",
            "keepalive 16",
        ]
    }
    assert http_servers(conf)["httpfront.localhost"] == [
        "listen 80",
        "server_name httpfront.localhost",
        ("location /", ["proxy_pass http://httpfront"]),
    ]
    assert upstreams(stream) == {
        "tcpfront-9999": [
            "zone stream-tcpfront-9999 64k",
            "least_conn",
            "server 192.168.0.129:32770 max_fails=3 fail_timeout=5s weight=1",
            "server 192.168.0.130:32769 max_fails=3 fail_timeout=5s weight=1",
            "server 192.168.0.131:32769 max_fails=3 fail_timeout=5s weight=1",
        ]
    }
    assert listeners(conf) == [("listen 9999", "proxy_pass tcpfront-9999")]


def test_the_text_has_one_blank_line_between_blocks_and_no_loose_ends():
    text = rendering(EXAMPLE.read_text(), stream_include="/etc/nginx/stream.d/*.conf").texts[0]
    assert "\n\n\n" not in text
    assert not [line for line in text.splitlines() if line != line.rstrip() or "\t" in line]
    assert text.endswith("}\n")


WEB = """
services:
  web:
    tags: [http]
    instances:
      - {{address: 10.0.0.1, port: 80}}
      - {{address: 10.0.0.2, {}}}
"""


@pytest.mark.parametrize(
    ("instance", "line"),
    [
        pytest.param("port: 80, weight: 7", "server 10.0.0.2:80 max_fails=3 fail_timeout=5s weight=7", id="weight"),
        pytest.param("port: 80, weight: 0", "server 10.0.0.2:80 down", id="weight 0"),
        pytest.param("port: 80, status: maintenance", "server 10.0.0.2:80 down", id="maintenance"),
        pytest.param(
            "port: 80, status: warning", "server 10.0.0.2:80 max_fails=3 fail_timeout=5s weight=1", id="warning"
        ),
        pytest.param("port: 80, status: critical", None, id="critical"),
        pytest.param("port: 0", None, id="no port"),
        pytest.param("port: 80, tags: [other]", None, id="another tag"),
    ],
)
def test_an_instance_becomes_the_line_that_its_state_earns(instance, line):
    web = upstreams(block(directives(WEB.format(instance)), "http"))["web"]
    first = "server 10.0.0.1:80 max_fails=3 fail_timeout=5s weight=1"
    assert web == ["zone http-web 64k", first, *([line] if line else []), "keepalive 16"]


@pytest.mark.parametrize(
    "instances",
    [
        pytest.param("[]", id="no instance"),
        pytest.param("[{address: 10.0.0.1, port: 80, status: critical}]", id="critical"),
        pytest.param("[{address: 10.0.0.1, port: 80, status: maintenance}]", id="maintenance"),
        pytest.param("[{address: 10.0.0.1, port: 80, weight: 0}]", id="weight 0"),
        pytest.param("[{address: 10.0.0.1}]", id="no port"),
    ],
)
def test_a_service_without_instances_has_no_upstream_but_says_so(instances):
    conf = directives(f"services: {{web-9999: {{tags: [http, tcp, udp], instances: {instances}}}}}")
    answers = ("location /", ["add_header Retry-After 5 always", "return 503 no healthy instance\n"])
    assert upstreams(block(conf, "http")) == {}
    assert http_servers(conf)["web-9999.localhost"][-1] == answers
    assert upstreams(block(conf, "stream")) == {}
    assert listeners(conf) == []


def test_tcp_and_udp_of_one_name_are_two_upstreams_and_two_listeners():
    conf = directives("""
        services:
          dns-53:
            instances: [{address: 10.0.0.1, port: 53, tags: [tcp]}, {address: 10.0.0.2, port: 53, tags: [udp]}]
    """)
    assert upstreams(block(conf, "stream")) == {
        name: [f"zone stream-{name} 64k", "least_conn", f"server {address}:53 max_fails=3 fail_timeout=5s weight=1"]
        for name, address in [("dns-53", "10.0.0.1"), ("dns-53_udp-b3285980c18e1a00", "10.0.0.2")]
    }
    assert listeners(conf) == [
        ("listen 53", "proxy_pass dns-53"),
        ("listen 53 udp reuseport", "proxy_pass dns-53_udp-b3285980c18e1a00"),
    ]


def service(name, tag="http", created=0):
    return f"{name!r}: {{tags: [{tag}], instances: [{{address: 10.0.0.1, port: 80, created: {created}}}]}}"


def services(*entries):
    return f"services: {{{', '.join(entries)}}}"


def test_ports_that_are_not_for_services_have_no_listener():
    entries = [service(f"a-{port}", "tcp") for port in (22, 8080, 9000, 9999)]
    conf = directives(services(*entries), http_port="8080", stream_port_min="1024", stream_port_max="9998")
    assert listeners(conf) == [("listen 9000", "proxy_pass a-9000")]


@pytest.mark.parametrize(
    ("entries", "left_out", "field"),
    [
        pytest.param([service("web", created=1), service("WEB", created=2)], "WEB", "server_name", id="host"),
        pytest.param([service("WEB", created=1), service("web", created=2)], "web", "server_name", id="host, older"),
        pytest.param([service("b-99", "tcp", 1), service("a-99", "tcp", 2)], "a-99", "tcp port", id="port"),
        pytest.param([service("web", "tcp")], "web", "tcp port", id="no port in the name"),
    ],
)
def test_what_belongs_to_one_service_goes_to_the_longest_registered(entries, left_out, field):
    rendered = rendering(services(*entries, service("other")))
    assert [(rejection.service, rejection.field) for rejection in rendered.quarantined] == [(left_out, field)]
    assert "other.localhost" in rendered.texts[0]


@pytest.mark.parametrize(
    ("instances", "tcp", "udp"),
    [
        pytest.param("{address: 10.0.0.1, port: 53, tags: [udp]}", [], ["10.0.0.1"], id="only udp"),
        pytest.param("{address: 10.0.0.1, port: 53, tags: [tcp]}", ["10.0.0.1"], [], id="only tcp"),
        pytest.param(
            "{address: 10.0.0.1, port: 53, tags: [tcp]}, {address: 10.0.0.2, port: 53, tags: [udp, tcp]}",
            ["10.0.0.1", "10.0.0.2"],
            ["10.0.0.2"],
            id="one of both",
        ),
        pytest.param(
            "{address: 10.0.0.1, port: 53, tags: [tcp], status: critical}, {address: 10.0.0.2, port: 53, tags: [udp]}",
            [],
            ["10.0.0.2"],
            id="only udp healthy",
        ),
    ],
)
def test_an_instance_is_in_the_upstreams_of_its_own_tags(instances, tcp, udp):
    conf = directives(f"services: {{dns-53: {{tags: [tcp, udp], instances: [{instances}]}}}}")
    found = [
        (name, [line.split()[1] for line in lines if line.startswith("server")])
        for name, lines in upstreams(block(conf, "stream")).items()
    ]
    wanted = [("dns-53", tcp, "listen 53"), ("dns-53_udp-b3285980c18e1a00", udp, "listen 53 udp reuseport")]
    shown_ones = [(name, [f"{address}:53" for address in used], line) for name, used, line in wanted if used]
    assert found == [(name, servers) for name, servers, _ in shown_ones]
    assert listeners(conf) == [(line, f"proxy_pass {name}") for name, _, line in shown_ones]


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        pytest.param("web", "http, tcp", id="no port in the name"),
        pytest.param("web", "http, tcp, udp", id="for two protocols"),
        pytest.param("web-99", "http, tcp", id="another's port"),
    ],
)
def test_one_more_tag_removes_no_service_from_http(name, tags):
    both = f"[{{address: 10.0.0.1, port: 80, tags: [http]}}, {{address: 10.0.0.2, port: 80, tags: [{tags}]}}]"
    entries = [f"{name}: {{instances: {both}}}", service("db-99", "tcp"), service("other")]
    rendered = rendering(services(*entries))
    conf = shown(parse_config(rendered.texts[0].encode(), where="nginx.conf"))
    assert len([line for line in upstreams(block(conf, "http"))[name] if line.startswith("server")]) == 2
    assert ("location /", [f"proxy_pass http://{name}"]) in http_servers(conf)[f"{name}.localhost"]
    assert listeners(conf) == [("listen 99", "proxy_pass db-99")]
    assert {rejection.field for rejection in rendered.quarantined} == {f"{tag} port" for tag in tags.split(", ")[1:]}
    assert all(
        rejection.reason.endswith("port' alone)".replace("port", rejection.field[:3]))
        for rejection in rendered.quarantined
    )


HOSTILE = ["~.*", "*", "a; } evil {", "two words", "quo'te", 'quo"te', "back\\slash", "$host", "x" * 300, "..", "ünï"]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_changes_the_structure(name):
    def structure(http_name, tcp_name):
        entries = [{"tags": [tag], "instances": [{"address": "10.0.0.1", "port": 80}]} for tag in ("http", "tcp")]
        catalogue = contents.dump(
            contents.Contents(
                services={
                    key: ServiceEntry(tags=entry["tags"], instances=(CatalogEntry(**at),))
                    for key, entry in zip((http_name, tcp_name), entries, strict=True)
                    for at in entry["instances"]
                }
            )
        )
        return list(skeleton(parse_config(rendering(catalogue).texts[0].encode(), where="nginx.conf")))

    assert structure(name, f"{name}-9999") == structure("web", "db-9999")


@pytest.mark.parametrize("name", ["web.", "a..b", "...", ".."])
def test_a_name_that_makes_no_host_name_is_served_by_another(name):
    entry = ServiceEntry(tags=["http"], instances=(CatalogEntry(address="10.0.0.1", port=80),))
    rendered = rendering(contents.dump(contents.Contents(services={name: entry, "web": entry})))
    assert rendered.quarantined == ()
    names = set(http_servers(shown(parse_config(rendered.texts[0].encode(), where="nginx.conf"))))
    assert len(names) == 3
    assert {"_", "web.localhost"} < names
    assert all(all(one.split(".")) for one in names)


@pytest.mark.parametrize(("servers", "size"), [(1, "64k"), (24, "64k"), (25, "128k"), (1000, "2048k")])
def test_zones_grow_with_their_servers(servers, size):
    rows = ", ".join(f"{{address: 10.0.{n // 250}.{n % 250}, port: 80}}" for n in range(servers))
    conf = directives(f"services: {{web: {{tags: [http], instances: [{rows}]}}}}")
    assert upstreams(block(conf, "http"))["web"][0] == f"zone http-web {size}"


@pytest.mark.parametrize(("count", "size"), [(0, 1024), (512, 1024), (513, 4096), (2049, 16384)])
def test_the_hash_of_names_has_room(count, size):
    conf = directives(services(*(service(f"s{number}") for number in range(count))))
    assert f"server_names_hash_max_size {size}" in block(conf, "http")


@pytest.mark.parametrize(
    ("variables", "present", "absent"),
    [
        pytest.param({}, ["load_module modules/ngx_stream_module.so", "user www-data"], [], id="Debian's"),
        pytest.param({"stream_module": ""}, [], ["load_module modules/ngx_stream_module.so"], id="stream built in"),
        pytest.param({"user": ""}, [], ["user www-data", "user"], id="not root"),
        pytest.param({"worker_rlimit_nofile": ""}, [], ["worker_rlimit_nofile 16384"], id="limit as it is"),
        pytest.param({"main_include": "/a/*.conf"}, ["include /a/*.conf"], [], id="include"),
        pytest.param({"pid": "/tmp/p", "worker_processes": 3}, ["pid /tmp/p", "worker_processes 3"], [], id="pid"),
    ],
)
def test_variables_at_the_top(variables, present, absent):
    top = directives(EXAMPLE.read_text(), **variables)
    assert [line for line in present if line not in top] == []
    assert [line for line in absent if line in top] == []


def test_variables_of_http_and_stream():
    conf = directives(
        EXAMPLE.read_text(),
        domain="example.com",
        http_port="8080",
        listen="10.0.0.1,[::1]",
        access_log="off",
        stream_access_log="/var/log/s.log",
        temp_dir="/var/tmp/nginx",
        keepalive="0",
        max_fails="2",
        http_include="/a/*.conf",
        server_include="/b/*.conf",
    )
    http = block(conf, "http")
    assert http_servers(conf)["httpfront.example.com"][:4] == [
        "listen 10.0.0.1:8080",
        "listen [::1]:8080",
        "server_name httpfront.example.com",
        "include /b/*.conf",
    ]
    for line in ("access_log off", "include /a/*.conf", "proxy_temp_path /var/tmp/nginx/proxy"):
        assert line in http
    assert upstreams(http)["httpfront"][-1] == "server 192.168.0.131:32768 max_fails=2 fail_timeout=5s weight=1"
    assert "access_log /var/log/s.log balanced" in block(conf, "stream")
    assert blocks(block(conf, "stream"), "server")[0][:2] == ["listen 10.0.0.1:9999", "listen [::1]:9999"]


@pytest.mark.parametrize(
    ("domain", "host"), [("example.com", "httpfront.example.com"), ("", "httpfront")], ids=["domain", "none"]
)
def test_the_domain_follows_the_name(domain, host):
    assert host in http_servers(directives(EXAMPLE.read_text(), domain=domain))


def test_names_that_are_no_host_names_are_told_in_a_comment():
    text = rendering(services(service("two words"))).texts[0]
    (line,) = [line.strip() for line in text.splitlines() if "two" in line and "server_name" in line]
    assert line.startswith("server_name two_words-")
    assert line.endswith(".localhost;  # two%20words")
