"""When nginx refuses a service's data, it is found and left out, and the others are updated; real Consul and nginx."""

import json
import socket

import pytest
from harness import ROOT, free_port, run_ctemplate
from harness.shipped import shipped_variables

LIMIT = 40.0

TEMPLATE = """{main}
http {{
    {http}
{{% for svc in services(tag="http") %}}
{{% set instances = service(svc.name) %}}
{{% if instances %}}
    upstream {{{{ svc.name }}}} {{
{{% for i in instances %}}
        server {{{{ i.address }}}}:{{{{ i.port }}}} weight={{{{ i.weight }}}}{{{{ " " ~ i.meta.rate if i.meta.rate }}}};
{{% endfor %}}
    }}
    server {{
        listen 127.0.0.1:{port};
        server_name {{{{ svc.name }}}}.example.com;
        location / {{ proxy_pass http://{{{{ svc.name }}}}; }}
    }}
{{% endif %}}
{{% endfor %}}
}}
"""
NAMES = ["team/app", "web:8080", "[x]", "web.", "server.name.", "unix:", "a" * 70, "b" * 300, "a..b", "..."]


def with_two_services(source, nginx, consul, ctemplate):
    """Start nginx, and a daemon over a template, with two services live."""
    nginx.conf.write_text(f"{nginx.main} http {{ {nginx.http} }}")
    nginx.start()
    for name in ("web", "shop"):
        consul.register(name, port=8001, tags=["http"])
    command = f"{source}:{nginx.conf}:{nginx.reload_command}"
    process = ctemplate("-consul-addr", consul.address, "-template", command, "-wait", "50ms:500ms")
    wait_upstreams(process, nginx, "shop", "web")
    return process


@pytest.fixture
def running(tmp_path, nginx, consul, ctemplate):
    """A daemon over a small template of a user's, with two services live."""
    source = tmp_path / "site.j2"
    text = TEMPLATE.replace(" if i.meta.rate }}", " if 'rate' in i.meta }}")
    source.write_text(text.format(main=nginx.main, http=nginx.http, port=free_port()))
    return with_two_services(source, nginx, consul, ctemplate)


def wait_upstreams(process, nginx, *names):
    def shown():
        lines = nginx.conf.read_text().splitlines()
        return sorted(line.split()[1] for line in lines if line.startswith("    upstream ")) == sorted(names)

    process.wait_for(shown, LIMIT, f"upstreams {', '.join(names)}")


def test_a_name_that_nginx_refuses_leaves_out_its_service_alone(running, consul, nginx):
    for name in NAMES:
        consul.register(name, service_id="bad", port=8009, tags=["http"])
        running.wait_for_log(f"WARNING service {name!r}: ", LIMIT)
        consul.register("late", port=8003, tags=["http"], meta={"for": "all the others"})
        wait_upstreams(running, nginx, "late", "shop", "web")
        consul.deregister("bad")
        consul.deregister("late")
        wait_upstreams(running, nginx, "shop", "web")
    running.wait_for_log("refused: nginx: [emerg] ")
    assert " ERROR " not in running.log()
    assert nginx.check().returncode == 0


def test_instances_that_nginx_refuses_are_left_out_while_others_remain(running, consul, nginx):
    consul.register("web", service_id="web-2", port=0, tags=["http"])
    running.wait_for_log("service 'web' instance 'web-2': refused: nginx: [emerg] invalid port", LIMIT)
    consul.register("web", service_id="web-3", port=8003, tags=["http"], meta={"rate": "max_fails=x"})
    running.wait_for_log("service 'web' instance 'web-3': ", LIMIT)
    consul.register("web", service_id="web-4", port=8004, tags=["http"])
    running.wait_for(lambda: ":8004 " in nginx.conf.read_text(), LIMIT, "the instance that is fine")
    assert ":8001 " in nginx.conf.read_text()
    consul.register("web", service_id="web-2", port=8002, tags=["http"])
    running.wait_for(lambda: ":8002 " in nginx.conf.read_text(), LIMIT, "the instance once it is mended")


def test_a_service_that_was_live_keeps_its_last_good_data_when_the_new_are_refused(running, consul, nginx):
    consul.register("web", port=0, tags=["http"])
    running.wait_for_log("its last good data stay in use for now", LIMIT)
    consul.register("shop", port=8005, tags=["http"])
    running.wait_for(lambda: ":8005 " in nginx.conf.read_text(), LIMIT, "the other service's change")
    assert ":8001 " in nginx.conf.read_text()


STRANGE = """
{{% if 'strange' in i.meta %}}
            max_fails={{{{ i.meta.strange }}}}
{{% endif %}}
        ;
"""


def first_start(tmp_path, nginx, services, template):
    """Run ``-once`` with an empty state folder over a catalog file; return its exit code, output and upstreams."""
    source, catalog = tmp_path / "site.j2", tmp_path / "catalog.json"
    source.write_text(template.format(main=nginx.main, http=nginx.http, port=free_port()))
    made = {}
    for index, (name, metas) in enumerate(services.items()):
        instances = [{"address": f"10.0.{index}.{n}", "port": 80, "meta": meta} for n, meta in enumerate(metas)]
        made[name] = {"tags": ["http"], "instances": instances}
    catalog.write_text(json.dumps({"services": made}))
    template = f"{source}:{nginx.conf}:{nginx.reload_command}"
    done = run_ctemplate("-once", "-catalog", catalog, "-template", template, cwd=tmp_path)
    text = nginx.conf.read_text() if nginx.conf.exists() else ""
    shown = [line.split()[1] for line in text.splitlines() if line.startswith("    upstream ")]
    return done.returncode, done.stderr, shown


def test_a_first_start_leaves_out_whom_nginx_refuses_at_a_line_that_only_they_reach(tmp_path, nginx):
    bad = {"strange": "none"}
    services = {"web": [{}, {}, bad], "shop": [{}], "a..b": [{}], **{f"bad{number}": [bad] for number in range(4)}}
    template = TEMPLATE.replace('{{{{ " " ~ i.meta.rate if i.meta.rate }}}};', STRANGE)
    code, log, shown = first_start(tmp_path, nginx, services, template)
    assert (code, shown) == (0, ["shop", "web"])
    assert "service 'web' instance 'web-3': refused: nginx: [emerg] invalid parameter" in log
    assert "10.0.0.1:80" in nginx.conf.read_text()


def test_a_first_start_leaves_out_whom_nginx_refuses_where_it_wants_a_word(tmp_path, nginx):
    services = {"web": [{}], **{f"bad{number}": [{"strange": "none"}] for number in range(2)}}
    template = TEMPLATE.replace('" " ~ i.meta.rate if i.meta.rate', '" " ~ i.meta.strange if i.meta.strange')
    code, _, shown = first_start(tmp_path, nginx, services, template)
    assert (code, shown) == (0, ["web"])


def test_a_service_that_the_template_names_is_left_out_and_the_file_goes_on(tmp_path, nginx, consul, ctemplate):
    source = tmp_path / "site.j2"
    named = TEMPLATE.replace('services(tag="http")', '[{{"name": "web"}}, {{"name": "named"}}]')
    assert named != TEMPLATE
    source.write_text(named.format(main=nginx.main, http=nginx.http, port=free_port()))
    consul.register("web", port=8001)
    daemon = ctemplate(
        "-consul-addr",
        consul.address,
        "-template",
        f"{source}:{nginx.conf}:{nginx.reload_command}",
        "-wait",
        "50ms:500ms",
    )
    daemon.wait_for(lambda: nginx.conf.exists() and ":8001 " in nginx.conf.read_text(), LIMIT, "the first file")
    consul.register("named", port=8002, meta={"rate": "none"})
    daemon.wait_for_log("service 'named'", LIMIT)
    for port in (8003, 8004):
        consul.register("web", port=port)
        daemon.wait_for(lambda port=port: f":{port} " in nginx.conf.read_text(), LIMIT, "the other service's change")
    assert "ERROR" not in daemon.log()
    assert ":8002 " not in nginx.conf.read_text()


def test_a_first_template_that_nginx_refuses_for_all_is_refused_and_the_line_has_a_service(tmp_path, nginx):
    template = TEMPLATE.replace('{{{{ " " ~ i.meta.rate if i.meta.rate }}}};', "bogus;")
    code, log, shown = first_start(tmp_path, nginx, {"web": [{}], "shop": [{}]}, template)
    assert (code, shown) == (1, [])
    assert "this line was printed for service 'shop'" in log


def test_a_dead_service_that_a_file_of_the_operators_names_does_not_freeze_the_others(
    tmp_path, consul, nginx, ctemplate
):
    fragment, site = nginx.prefix / "upstreams.conf", nginx.prefix / "site.conf"
    site.write_text(f"server {{ listen 127.0.0.1:{free_port()}; location / {{ proxy_pass http://web; }} }}")
    nginx.conf.write_text(f"{nginx.main} http {{ {nginx.http} include {nginx.prefix}/*s.conf; include {site}; }}")
    fragment.write_text("upstream web { server 127.0.0.1:1; }")
    nginx.start()
    source = tmp_path / "upstreams.j2"
    source.write_text('{% import "nginx.j2" as nginx %}{{ nginx.http_upstreams() }}')
    for name in ("web", "api"):
        consul.register(name, port=8001, tags=["http"])
    arguments = ("-consul-addr", consul.address, "-template", f"{source}:{fragment}:{nginx.reload_command}")
    process = ctemplate(*arguments, "-wait", "50ms:500ms")
    process.wait_for(lambda: "upstream api" in fragment.read_text(), LIMIT, "both services")
    consul.maintenance("web", on=True)
    consul.deregister("web")
    consul.register("api", port=8002, tags=["http"])
    process.wait_for(lambda: ":8002 " in fragment.read_text(), LIMIT, "the other service's change")
    assert "upstream web" in fragment.read_text()
    process.wait_for_log('host not found in upstream "web"', LIMIT)
    source.write_text('{% import "nginx.j2" as nginx %}{{ nginx.http_upstreams(placeholder=true) }}')
    consul.register("web", port=8001, tags=["http"])
    consul.maintenance("web", on=True)
    process.wait_for(lambda: "127.0.0.1:1 down;" in fragment.read_text(), LIMIT, "the placeholder")


def test_names_of_files_that_the_new_configuration_leaves_out_are_free(tmp_path, consul, nginx, ctemplate):
    old = nginx.prefix / "old.conf"
    old.write_text("upstream web { server 127.0.0.1:1; }\nupstream kept { server 127.0.0.1:1; }\n")
    nginx.conf.write_text(f"{nginx.main} http {{ {nginx.http} include {old}; }}")
    kept = nginx.prefix / "kept.conf"
    kept.write_text("upstream kept { server 127.0.0.1:1; }\n")
    source = tmp_path / "nginx.j2c"
    http = '{% import "nginx.j2" as nginx %}{{ nginx.http_upstreams() }}'
    source.write_text(f"{nginx.main} http {{ {nginx.http} include {kept};\n{http} }}")
    for name in ("web", "kept"):
        consul.register(name, port=8001, tags=["http"])
    command = f"{source}:{nginx.conf}:{nginx.reload_command}"
    process = ctemplate("-consul-addr", consul.address, "-template", command, "-once")
    assert process.wait(LIMIT) == 0, process.output()
    assert "upstream web {" in nginx.conf.read_text()
    assert f"service 'kept': http upstream: http upstream kept is used in {kept}; left out" in process.log()


def test_a_port_that_a_program_of_the_host_holds_leaves_out_one_service_of_the_shipped_template(
    consul, nginx, ctemplate, programs
):
    held = programs.enter_context(socket.socket())
    held.bind(("127.0.0.1", free_port()))
    held.listen()
    settings = shipped_variables(nginx)
    template = f"{ROOT / 'templates/nginx.conf.j2'}:{nginx.conf}:{nginx.reload_command}"
    consul.register("web", port=8001, tags=["http"])
    first = ctemplate("-consul-addr", consul.address, "-template", template, "-once", *settings, name="first")
    assert first.wait(LIMIT) == 0, first.output()
    nginx.start()
    process = ctemplate("-consul-addr", consul.address, "-template", template, "-wait", "50ms:500ms", *settings)
    port = held.getsockname()[1]
    consul.register(f"db-{port}", port=8009, tags=["tcp"])
    process.wait_for_log(f"service 'db-{port}': refused: nginx: [emerg] bind() to 127.0.0.1:{port} failed", LIMIT)
    consul.register("late", port=8002, tags=["http"])
    process.wait_for(lambda: "upstream late {" in nginx.conf.read_text(), LIMIT, "the other service")
    held.close()
    process.wait_for(lambda: f"listen 127.0.0.1:{port};" in nginx.conf.read_text(), 90, "the port once it is free")


def test_an_edit_that_reads_an_absent_key_empties_nothing_and_the_previous_template_stays(
    running, tmp_path, consul, nginx
):
    consul.register("db-7000", port=7000)
    source = tmp_path / "site.j2"
    before = nginx.conf.read_text()
    source.write_text(source.read_text().replace("{{ i.weight }}", "{{ i.meta.weigth }}"))
    running.wait_for_log("site.j2:20: no key 'weigth' here; give a default: ", LIMIT)
    running.wait_for_log("(service 'shop'); it is live, so the edit is not used", LIMIT)
    running.wait_for_log("the templates from before the edit stay in use", LIMIT)
    assert nginx.conf.read_text() == before
    consul.register("late", port=8003, tags=["http"])
    wait_upstreams(running, nginx, "late", "shop", "web")
    assert "weight=1" in nginx.conf.read_text()


def test_while_an_edit_is_refused_a_service_that_nginx_refuses_hinders_no_other(running, tmp_path, consul, nginx):
    consul.register("bad", port=8009, tags=["http"], meta={"rate": "max_fails=x"})
    running.wait_for_log("WARNING service 'bad': refused", LIMIT)
    source = tmp_path / "site.j2"
    source.write_text(source.read_text().replace("proxy_pass", "proxy_pas"))
    running.wait_for_log("the templates from before the edit stay in use", LIMIT)
    assert 'unknown directive "proxy_pas"' in running.log()
    consul.register("bad", port=8009, tags=["http"], meta={"rate": "max_fails=y"})
    consul.register("late", port=8003, tags=["http"])
    wait_upstreams(running, nginx, "late", "shop", "web")
    running.wait_for_log("service 'bad': refused: nginx: [emerg] invalid parameter \"max_fails=y\"", LIMIT)
    assert running.log().count(" ERROR ") == 1


BROKEN = [
    pytest.param(("oops;\n", 'unknown directive "…"'), id="check"),
    pytest.param(("server {{ listen 127.0.0.1:{port}; }}\n", "still could not bind()"), id="reload"),
]


@pytest.fixture(params=BROKEN)
def broken(request):
    """A text that nginx refuses, and its words about it; the port in it is another program's."""
    text, words = request.param
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        yield text.format(port=other.getsockname()[1]), words


def test_a_file_that_the_operator_breaks_is_no_service_s_fault(tmp_path, consul, nginx, ctemplate, broken):
    fragment, site = nginx.prefix / "upstreams.conf", nginx.prefix / "site.conf"
    site.write_text("")
    nginx.conf.write_text(f"{nginx.main} http {{ {nginx.http} include {nginx.prefix}/*s.conf; include {site}; }}")
    fragment.write_text("")
    nginx.start()
    source = tmp_path / "upstreams.j2"
    source.write_text('{% import "nginx.j2" as nginx %}{{ nginx.http_upstreams() }}')
    for number in (1, 2):
        consul.register("web", service_id=f"web-{number}", port=8000 + number, tags=["http"])
    arguments = ("-consul-addr", consul.address, "-template", f"{source}:{fragment}:{nginx.reload_command}")
    process = ctemplate(*arguments, "-wait", "50ms:500ms")
    process.wait_for(lambda: ":8002 " in fragment.read_text(), LIMIT, "both instances")
    process.wait_for_log("applied", LIMIT)
    site.write_text(broken[0])
    consul.deregister("web-2")
    process.wait_for_log(broken[1], LIMIT)
    assert "ERROR" in process.log()
    assert "service 'web'" not in process.log()
    site.write_text("")
    process.wait_for(lambda: ":8002 " not in fragment.read_text(), LIMIT, "the change")
    process.wait_for_log(": applied, +0 -1 lines", LIMIT)


@pytest.mark.parametrize("count", [1, 5])
def test_a_first_start_leaves_out_whom_nginx_refuses_without_naming_a_line(tmp_path, nginx, count):
    long = [f"zz{number}" + "w" * 70 for number in range(count)]  # of equal age, so that the name decides
    services = {name: [{}] for name in ("web", "shop", "z..b", *long)}
    code, log, shown = first_start(tmp_path, nginx, services, TEMPLATE)
    assert (code, shown) == (0, ["shop", "web"])
    for name in long:
        assert f"service '{name}': refused: nginx: [emerg] could not build server_names_hash" in log
    assert "service 'z..b': " in log


def test_of_two_the_newer_is_left_out_where_nginx_accepts_either_alone(tmp_path, nginx, consul, ctemplate):
    """nginx builds no table of names for a single server."""
    source = tmp_path / "site.j2"
    source.write_text(TEMPLATE.format(main=nginx.main, http=nginx.http, port=free_port()))
    nginx.conf.write_text(f"{nginx.main} http {{ {nginx.http} }}")
    nginx.start()
    consul.register("web", port=8001, tags=["http"])
    consul.register("a" * 70, port=8002, tags=["http"])
    command = f"{source}:{nginx.conf}:{nginx.reload_command}"
    process = ctemplate("-consul-addr", consul.address, "-template", command, "-wait", "50ms:500ms")
    wait_upstreams(process, nginx, "web")
    process.wait_for_log(f"service '{'a' * 70}': refused: nginx: [emerg] could not build server_names_hash", LIMIT)


def test_a_live_service_that_nginx_accepts_only_alone_freezes_no_other(tmp_path, nginx, consul, ctemplate):
    source, long = tmp_path / "site.j2", "a" * 70
    source.write_text(TEMPLATE.format(main=nginx.main, http=nginx.http, port=free_port()))
    nginx.conf.write_text(f"{nginx.main} http {{ {nginx.http} }}")
    nginx.start()
    consul.register(long, port=8002, tags=["http"])
    command = f"{source}:{nginx.conf}:{nginx.reload_command}"
    process = ctemplate("-consul-addr", consul.address, "-template", command, "-wait", "50ms:500ms")
    wait_upstreams(process, nginx, long)
    consul.register("web", port=8001, tags=["http"])
    wait_upstreams(process, nginx, "web")
    process.wait_for_log(f"service '{long}': refused: nginx: [emerg] could not build server_names_hash", LIMIT)
    consul.register("shop", port=8003, tags=["http"])
    wait_upstreams(process, nginx, "shop", "web")
    assert " ERROR " not in process.log()


def test_a_default_server_that_rejects_handshakes_does_not_hide_who_is_refused(tmp_path, nginx, consul, ctemplate):
    source, long = tmp_path / "site.j2", "a" * 70
    rejecting = f"server {{ listen 127.0.0.1:{free_port()} ssl default_server; ssl_reject_handshake on; }}"
    source.write_text(TEMPLATE.format(main=nginx.main, http=f"{nginx.http}\n{rejecting}", port=free_port()))
    process = with_two_services(source, nginx, consul, ctemplate)
    consul.register(long, port=8002, tags=["http"])
    process.wait_for_log(f"service '{long}': refused: nginx: [emerg] could not build server_names_hash", LIMIT)
    consul.register("api", port=8003, tags=["http"])
    wait_upstreams(process, nginx, "api", "shop", "web")


ONE_SERVER = """{main}
http {{
    {http}
    {{% for svc in services(tag="http") %}}{{% for i in service(svc.name) %}}
    limit_req_zone $uri zone={{{{ i.meta.zone | default(svc.name) }}}}:{{{{ i.meta.size | default("64k") }}}} rate=1r/s;
    {{% endfor %}}{{% endfor %}}
    server {{
        listen 127.0.0.1:{port};
        {{% for svc in services(tag="http") %}}{{% for i in service(svc.name) %}}
        location {{{{ i.meta.path | default("/" ~ svc.name) }}}} {{ return 200 {{{{ svc.name | quote }}}}; }}
        {{% endfor %}}{{% endfor %}}
    }}
}}
"""


@pytest.mark.parametrize(
    ("meta", "strangers"), [({"path": "/web"}, 1), ({"path": "/web"}, 30), ({"zone": "web", "size": "128k"}, 1)]
)
def test_a_first_start_gives_a_location_and_a_zone_to_the_older_service(request, tmp_path, nginx, meta, strangers):
    """nginx blames the later line, which is that of the service whose name sorts last."""
    consul, ctemplate = request.getfixturevalue("consul"), request.getfixturevalue("ctemplate")
    source = tmp_path / "site.j2"
    source.write_text(ONE_SERVER.format(main=nginx.main, http=nginx.http, port=free_port()))
    nginx.conf.write_text(f"{nginx.main} http {{ {nginx.http} }}")
    nginx.start()
    consul.register("web", port=8001, tags=["http"])
    for number in range(strangers):
        consul.register(f"a{number}", port=8002, tags=["http"], meta=meta)
    command = f"{source}:{nginx.conf}:{nginx.reload_command}"
    process = ctemplate("-consul-addr", consul.address, "-template", command, "-wait", "50ms:500ms")
    process.wait_for_log("applied", LIMIT)
    text = nginx.conf.read_text()
    assert 'location /web { return 200 "web"; }' in text
    assert text.count("location ") == 1
    assert process.log().count(" belongs to service 'web', which came first") == strangers


def test_a_first_start_with_few_services_leaves_out_whom_nginx_refuses_beside_any_other(tmp_path, nginx):
    """nginx builds no table of the names of a lone server, and accepts each name there."""
    long = "a" * 70
    code, log, shown = first_start(tmp_path, nginx, {"web": [{}], "a..b": [{}], long: [{}]}, TEMPLATE)
    assert (code, shown) == (0, ["web"])
    assert f"service {long!r}: refused: nginx: [emerg] could not build server_names_hash" in log
    assert "service 'a..b': " in log
