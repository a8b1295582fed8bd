"""Hostile registrations on real Consul and nginx: the hostile service is left out, all others are served."""

import http.client
import os
import re
import stat
from pathlib import Path

import pytest
from harness import ROOT, free_port, http_get
from harness.shipped import shipped_variables

SERVICES = 200
LIMIT = 60.0
TOKEN = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"

TEMPLATE = """{main}
http {{
    {http}
{{% for svc in services(tag="http") %}}
    upstream {{{{ svc.name }}}} {{
{{% for i in service(svc.name) %}}
        server {{{{ i.address }}}}:{{{{ i.port }}}};  # {{{{ i.meta.owner }}}}
{{% endfor %}}
    }}
    server {{
        listen 127.0.0.1:{port};
        server_name {{{{ svc.name }}}}.example.com;
        location / {{ proxy_pass http://{{{{ svc.name }}}}; }}
    }}
{{% endfor %}}
}}
"""


@pytest.fixture
def site(tmp_path, nginx):
    """A plain template of a user's, its nginx not started yet, and the port of http."""
    port = free_port()
    http_part = f"{nginx.http} server_names_hash_max_size 4096; server_names_hash_bucket_size 256;"
    source = tmp_path / "site.j2"
    source.write_text(TEMPLATE.format(main=nginx.main, http=http_part, port=port))
    nginx.conf.write_text(f"{nginx.main} http {{ {http_part} }}")
    return f"{source}:{nginx.conf}:{nginx.reload_command}", port


EVIL = "x\n    server 127.0.0.1:1; } server { listen 127.0.0.1:2; root /etc; } upstream y { server 127.0.0.1:3"


def test_two_hundred_services_are_updated_while_one_tries_to_write_directives(
    consul, nginx, ctemplate, http_backend, site
):
    template, port = site
    first, second = http_backend("first"), http_backend("second")
    for number in range(SERVICES):
        consul.register(f"web-{number}", port=first.port, tags=["http"], meta={"owner": "team-a"})
    nginx.start()
    process = ctemplate("-consul-addr", consul.address, "-template", template, "-wait", "50ms:500ms")
    process.wait_for(lambda: f"web-{SERVICES - 1}.example" in nginx.conf.read_text(), LIMIT, "all services")
    process.wait_for(lambda: reached(port, "web-7") == f"first {first.port}", LIMIT, "web-7 served")

    consul.register("evil", port=1, tags=["http"], meta={"owner": EVIL})
    process.wait_for_log("service 'evil' instance 'evil': meta 'owner':", LIMIT)
    for number in (0, 7, SERVICES - 1):
        consul.register(f"web-{number}", port=second.port, tags=["http"], meta={"owner": "team-b"})
        process.wait_for(lambda n=number: reached(port, f"web-{n}") == f"second {second.port}", LIMIT, "the update")
    live = nginx.conf.read_text()
    assert live.count("example.com") == SERVICES
    assert "evil" not in live
    assert "root /etc" not in live
    assert process.log().count("service 'evil'") == 1
    assert all(line[:2] == "20" for line in process.log().splitlines()), process.log()

    consul.register("evil", port=second.port, tags=["http"], meta={"owner": "reformed"})
    process.wait_for(lambda: reached(port, "evil") == f"second {second.port}", LIMIT, "evil served once it is plain")
    process.wait_for_log("service 'evil': no longer left out", LIMIT)


def reached(port, name):
    """Return what answers for a service; None while nothing does."""
    try:
        return http_get(port, host=f"{name}.example.com")[1]
    except (OSError, http.client.HTTPException):
        return None


@pytest.mark.parametrize("name", ["WEB", "STATIC", "www"])
def test_no_registrant_takes_a_name_that_is_in_use(  # noqa: PLR0917  # fixtures
    consul, nginx, ctemplate, http_backend, site, name
):
    """WEB is web's but for case, STATIC an upstream and www.example.com a host in the operator's own file."""
    template, port = site
    backend = http_backend("b")
    own = nginx.prefix / "own.conf"
    own.write_text(
        "upstream static { server 127.0.0.1:9; }\n"
        f'server {{ listen 127.0.0.1:{port}; server_name www.example.com; location / {{ return 200 "own"; }} }}\n'
    )
    source = Path(template.partition(":")[0])
    source.write_text(source.read_text().replace("http {", f"http {{ include {own};"))
    nginx.conf.write_text(nginx.conf.read_text().replace("http {", f"http {{ include {own};"))
    consul.register("web", port=backend.port, tags=["http"], meta={"owner": "a"})
    consul.register(name, service_id="taker", port=1, tags=["http"], meta={"owner": "b"})
    consul.register("other", port=backend.port, tags=["http"], meta={"owner": "b"})
    nginx.start()
    process = ctemplate("-consul-addr", consul.address, "-template", template, "-once")
    assert process.wait(LIMIT) == 0, process.output()
    assert process.log().count(f"service {name!r}: ") == 1, process.log()
    for known in ("web", "other"):
        nginx.process.wait_for(lambda host=known: reached(port, host) == f"b {backend.port}", LIMIT, "traffic")
    assert nginx.check().returncode == 0
    assert "conflicting" not in nginx.check().stderr


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_token_shows_nowhere(tmp_path, consul, ctemplate, log_format):
    seen = tmp_path / "seen"
    source = tmp_path / "t.j2"
    source.write_text("{% for s in services() %}{{ s.name }}\n{% endfor %}")
    command = f"sh -c 'env; cat /proc/$$/cmdline' > {seen}"
    arguments = ("-consul-addr", consul.address, "-template", f"{source}:{tmp_path}/out:{command}", "-once")
    secrets = {"CONSUL_HTTP_TOKEN": TOKEN, "CONSUL_HTTP_AUTH": f"user:{TOKEN}"}
    process = ctemplate(*arguments, "-log-level", "debug", "-log-format", log_format, env=secrets)
    process.wait(LIMIT)
    assert TOKEN not in process.output()
    state = list((tmp_path / "state").rglob("*"))
    for path in (seen, tmp_path / "out", *state):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    assert state
    assert {stat.S_IMODE(os.lstat(path).st_mode) & 0o077 for path in state} == {0}


def test_the_shipped_template_under_every_kind_of_name(consul, nginx, ctemplate):
    names = ["a.b", "a_b", "a b", "a;b", "A.B", "x" * 300, "~.*", "*", "..", "$host", "é", "a\nb", '"', "http", "_"]
    names.append("#")
    for number, name in enumerate(names):
        consul.register(name, service_id=f"s{number}", port=81, tags=["http", "tag;", "\n}", "$x"], meta={"k": "v;\n}"})
    settings = shipped_variables(nginx)
    template = f"{ROOT / 'templates/nginx.conf.j2'}:{nginx.conf}:{nginx.reload_command}"
    process = ctemplate("-consul-addr", consul.address, "-template", template, "-once", *settings)
    process.wait(LIMIT)
    assert nginx.conf.exists(), process.output()
    assert nginx.check().returncode == 0, nginx.check().stderr
    served = set(re.findall(r"^    upstream (\S+) ", nginx.conf.read_text(), re.MULTILINE))
    assert len(served) == len(names) - 3  # ".." and "a\nb" cannot be asked for, and A.B and a.b are one host
    for left_out in ("'..'", "'a\\nb'", "'A.B'"):
        assert f"service {left_out}: " in process.log()


ROUTED = """{main}
http {{
    {http}
    server_names_hash_bucket_size 256;
    {own}
{{% for svc in services(tag="http") %}}
{{% for i in service(svc.name) %}}
    upstream {{{{ svc.name }}}} {{ server {{{{ i.address }}}}:{{{{ i.port }}}}; }}
    server {{
        listen 127.0.0.1:{port};
        server_name {{{{ svc.name }}}}.example.com {{{{ i.meta.host | default("none-" ~ svc.name) }}}};
        {place}
    }}
{{% endfor %}}
{{% endfor %}}
}}
"""


@pytest.mark.parametrize(
    ("place", "name", "meta"),
    [
        pytest.param("location / {{ proxy_pass http://{name}; }}", "127.0.0.1:{secret}", "", id="host and port"),
        pytest.param("location / {{ proxy_pass http://{name}; }}", "127.0.0.1:{secret}/", "", id="with a path"),
        pytest.param("location / {{ proxy_pass http://{name}; }}", "unix:{socket}", "", id="socket"),
        pytest.param("location / {{ proxy_pass http://{name}; }}", "unix:{socket}:", "", id="socket and path"),
        pytest.param("location / {{ proxy_pass http://{meta}; }}", "evil", "127.0.0.1:{secret}", id="meta"),
        pytest.param(
            "set $to {meta}; location / {{ proxy_pass http://$to; }}", "evil", "127.0.0.1:{secret}", id="variable"
        ),
    ],
)
def test_no_registrant_has_nginx_ask_a_host_of_their_choice(  # noqa: PLR0917  # fixtures
    consul, nginx, ctemplate, http_backend, tmp_path, place, name, meta
):
    """What listens on this host alone stays out of reach: before, a request for any such host was answered by it."""
    backend, secret, port = http_backend("b"), http_backend("secret"), free_port()
    chosen = {"secret": secret.port, "socket": tmp_path / "socket"}
    name, meta = name.format(**chosen), meta.format(**chosen)
    value = {"name": "{{ svc.name }}", "meta": '{{ i.meta.to | default("web", true) }}'}
    source = tmp_path / "site.j2"
    source.write_text(ROUTED.format(main=nginx.main, http=nginx.http, own="", port=port, place=place.format(**value)))
    consul.register("web", port=backend.port, tags=["http"])
    consul.register(name, service_id="evil", port=1, tags=["http"], meta={"host": "way.in", "to": meta})
    nginx.conf.write_text(f"{nginx.main} http {{ {nginx.http} }}")
    nginx.start()
    template = f"{source}:{nginx.conf}:{nginx.reload_command}"
    process = ctemplate("-consul-addr", consul.address, "-template", template, "-once")
    assert process.wait(LIMIT) == 0, process.output()
    nginx.process.wait_for(lambda: reached(port, "web") == f"b {backend.port}", LIMIT, "web served")
    assert http_get(port, host="way.in")[1] == f"b {backend.port}"
    assert secret.hits == 0
    assert process.log().count(f"service {name!r}") == 1, process.log()
    assert "would choose where" in process.log()


@pytest.mark.parametrize("place", ["text", "file"])
def test_no_registrant_takes_the_requests_for_a_host_that_the_operator_names(  # noqa: PLR0917  # fixtures
    consul, nginx, ctemplate, http_backend, tmp_path, place
):
    backend, taker, port = http_backend("b"), http_backend("taker"), free_port()
    own = f"server {{ listen 127.0.0.1:{port}; server_name old; location / {{ proxy_pass http://127.0.0.2; }} }}"
    if place == "file":
        (nginx.prefix / "own.conf").write_text(own)
        own = f"include {nginx.prefix}/own.conf;"
    source = tmp_path / "site.j2"
    server = "location / { proxy_pass http://{{ svc.name }}; }"
    source.write_text(ROUTED.format(main=nginx.main, http=nginx.http, own=own, port=port, place=server))
    consul.register("web", port=backend.port, tags=["http"])
    consul.register("127.0.0.2", port=taker.port, tags=["http"])
    nginx.conf.write_text(f"{nginx.main} http {{ {nginx.http} {own} }}")
    nginx.start()
    template = f"{source}:{nginx.conf}:{nginx.reload_command}"
    process = ctemplate("-consul-addr", consul.address, "-template", template, "-once")
    assert process.wait(LIMIT) == 0, process.output()
    nginx.process.wait_for(lambda: reached(port, "web") == f"b {backend.port}", LIMIT, "web served")
    assert "service '127.0.0.2': http upstream: " in process.log()
    http_get(port, host="old")
    assert taker.hits == 0


BY_HOST = """{main}
http {{
    {http}
{{% for svc in services(tag="http") %}}
    upstream {{{{ svc.name | replace("_", "-") }}}} {{
        {{% for i in service(svc.name) %}}server {{{{ i.address }}}}:{{{{ i.port }}}};{{% endfor %}}
    }}
{{% endfor %}}
    server {{
        listen 127.0.0.1:{port};
        {{% set names = services(tag="http") | map(attribute="name") | map("replace", "_", "-") %}}
        server_name {{{{ names | join(" ") }}}};
        location / {{ proxy_pass http://we-b; }}
    }}
}}
"""


def test_no_registrant_takes_a_service_over_by_a_name_that_the_template_turns_into_its_name(
    consul, nginx, ctemplate, http_backend, tmp_path
):
    """In the first run of a daemon, beside names that may not stand in a list of names."""
    backend, taker, port = http_backend("b"), http_backend("taker"), free_port()
    source = tmp_path / "site.j2"
    source.write_text(BY_HOST.format(main=nginx.main, http=nginx.http, port=port))
    consul.register("we-b", port=backend.port, tags=["http"])
    for name in ("we_b", ".x", "*", "~x", "zeta"):
        consul.register(name, port=backend.port if name == "zeta" else taker.port, tags=["http"])
    nginx.conf.write_text(f"{nginx.main} http {{ {nginx.http} }}")
    nginx.start()
    template = f"{source}:{nginx.conf}:{nginx.reload_command}"
    process = ctemplate("-consul-addr", consul.address, "-template", template, "-wait", "50ms:500ms")
    process.wait_for(lambda: reached(port, "we-b") == f"b {backend.port}", LIMIT, "the service's own backend")
    assert taker.hits == 0
    for name in ("we_b", ".x", "*", "~x"):
        process.wait_for_log(f"service {name!r}: ", LIMIT)
    assert "service 'zeta'" not in process.log()
    assert "service 'we-b':" not in process.log()
