"""Keys of Consul's KV store in templates, on a real Consul."""

import re
from functools import partial

import pytest
from harness import once_that_says

LIMIT = 60


def put(consul, path, value):
    consul.api("PUT", f"/v1/kv/{path}", value)


def delete(consul, path):
    consul.api("DELETE", f"/v1/kv/{path}")


def reads(path, text):
    return lambda: path.exists() and path.read_text() == text


@pytest.fixture
def consul(start_consul):
    return start_consul()


@pytest.fixture
def run(tmp_path, ctemplate):
    """Start a ctemplate that renders a template to `out`; each new `out` adds a line to `runs`."""

    def start(consul, template, *args, verb=(), config="", **options):
        (tmp_path / "t.j2").write_text(template)
        (tmp_path / "ctemplate.toml").write_text(config)
        source = () if consul is None else ("-consul-addr", consul.address)
        command = f"t.j2:out:echo run >> {tmp_path}/runs"
        return ctemplate(*verb, "-config", "ctemplate.toml", *source, "-template", command, *args, **options)

    return start


def test_a_key_is_rendered_and_followed(consul, run, tmp_path):
    put(consul, "nginx/limit", "10m")
    process = run(consul, "limit {{ key('nginx/limit') }}\n")
    process.wait_for(reads(tmp_path / "out", "limit 10m\n"), LIMIT, "the key's value")
    put(consul, "nginx/limit", "20m")
    process.wait_for(reads(tmp_path / "out", "limit 20m\n"), LIMIT, "the key's new value")


def test_a_missing_key_is_named_and_waited_for(consul, run, tmp_path):
    process = run(consul, "limit {{ key('/nginx/limit') }}\n")
    process.wait_for(lambda: "still missing: key(nginx/limit)" in process.output(), LIMIT, "the missing key's name")
    assert not (tmp_path / "out").exists()
    put(consul, "nginx/limit", "10m")
    process.wait_for(reads(tmp_path / "out", "limit 10m\n"), LIMIT, "the key's value")


def test_once_says_which_key_is_missing(consul, run, tmp_path):
    process, timeout = once_that_says("still missing after", partial(run, consul, "{{ key('nginx/limit') }}"))
    assert f"Consul at {consul.address}: still missing after {timeout}: key(nginx/limit)" in process.output()
    assert not (tmp_path / "out").exists()


def test_a_missing_key_with_another_way_out_holds_up_nothing(consul, run, tmp_path):
    put(consul, "empty", "")
    template = (
        "{{ key('a', default='1') }} {{ key('b') or '2' }} {{ key('c') | default('3') }} {{ key_exists('d') }} "
        "{{ key_exists('empty') }} {% if key('empty') == '' %}empty{% endif %} {% if key('e') %}there{% endif %}.\n"
    )
    process = run(consul, template)
    process.wait_for(reads(tmp_path / "out", "1 2 3 False True empty .\n"), LIMIT, "the defaults")
    for path in "abcde":
        put(consul, path, f"now-{path}")
    expected = "now-a now-b now-c True True empty there.\n"
    process.wait_for(reads(tmp_path / "out", expected), LIMIT, "the keys' values")
    for path in "abcde":
        delete(consul, path)
    process.wait_for(reads(tmp_path / "out", "1 2 3 False True empty .\n"), LIMIT, "the defaults again")


def test_a_key_that_is_deleted_keeps_its_value_for_a_while_and_is_waited_for_then(consul, run, tmp_path):
    put(consul, "a", "1")
    process = run(consul, "{{ key('a') }} {{ key('b', default='-') }}\n", config="[guard]\nhold = '1s'\n")
    process.wait_for(reads(tmp_path / "out", "1 -\n"), LIMIT, "the first value")
    delete(consul, "a")
    process.wait_for(lambda: "key 'a': no longer exists" in process.output(), LIMIT, "the deleted key's name")
    process.wait_for(lambda: "still missing: key(a)" in process.output(), LIMIT, "the wait for the key")
    assert (tmp_path / "out").read_text() == "1 -\n"
    put(consul, "a", "2")
    process.wait_for(reads(tmp_path / "out", "2 -\n"), LIMIT, "the new value")


def test_a_value_that_breaks_the_printing_rule_is_named_and_holds_up_no_service(consul, run, tmp_path):
    put(consul, "nginx/name", "good")
    services = "{% for s in services(tag='x') %}{{ s.name }};\n{% endfor %}"
    process = run(consul, f"server_name\n {{{{ key('nginx/name') }}}};\n{services}")
    process.wait_for(reads(tmp_path / "out", "server_name\n good;\n"), LIMIT, "the good value")
    put(consul, "nginx/name", "a; } evil {")
    said = "key 'nginx/name': t.j2:2: 'a; } evil {' is no plain token"
    process.wait_for(lambda: said in process.output(), LIMIT, "what is wrong with the key")
    consul.register("web", port=80, tags=["x"])
    process.wait_for(reads(tmp_path / "out", "server_name\n good;\nweb;\n"), LIMIT, "the new service")
    put(consul, "nginx/name", "better")
    process.wait_for(reads(tmp_path / "out", "server_name\n better;\nweb;\n"), LIMIT, "the mended value")
    said = "key 'nginx/name': its newest data are in use again"
    process.wait_for(lambda: said in process.output(), LIMIT, "that the key is back")


def test_a_value_that_breaks_the_printing_rule_for_long_refuses_the_render(consul, run, tmp_path):
    put(consul, "nginx/name", "good")
    process = run(consul, "server_name\n {{ key('nginx/name') }};\n", config="[guard]\nhold = '1s'\n")
    process.wait_for(reads(tmp_path / "out", "server_name\n good;\n"), LIMIT, "the good value")
    put(consul, "nginx/name", "a; } evil {")
    said = "t.j2:2: key 'nginx/name': 'a; } evil {' is no plain token"
    process.wait_for(lambda: said in process.output(), LIMIT, "the refusal")
    assert (tmp_path / "out").read_text() == "server_name\n good;\n"


def test_a_value_that_nginx_refuses_is_named_and_holds_up_no_service(consul, nginx, ctemplate, tmp_path):
    put(consul, "size", "10m")
    services = "{% for s in services(tag='x') %}# {{ s.name }}\n{% endfor %}"
    (tmp_path / "n.j2").write_text(
        f"{nginx.main} http {{\n{nginx.http}\nclient_max_body_size {{{{ key('size') }}}};\n{services} }}\n"
    )
    process = ctemplate("-consul-addr", consul.address, "-template", f"n.j2:{nginx.conf}:{nginx.reload_command}")
    process.wait_for(lambda: nginx.conf.exists() and "size 10m;" in nginx.conf.read_text(), LIMIT, "the first file")
    put(consul, "size", "much")
    said = re.compile(r"key 'size': .*invalid value.*n\.j2:\d+\)")
    process.wait_for(lambda: said.search(process.output()), LIMIT, "the key and nginx's words")
    consul.register("web", port=80, tags=["x"])
    process.wait_for(lambda: "# web" in nginx.conf.read_text(), LIMIT, "the new service")
    assert "size 10m;" in nginx.conf.read_text()
    put(consul, "size", "20m")
    process.wait_for(lambda: "size 20m;" in nginx.conf.read_text(), LIMIT, "the mended value")


def test_a_trusted_prefix_holds_the_operators_own_text(consul, run, tmp_path):
    put(consul, "nginx/snippet", "location / { return 204; }")
    process = run(
        consul, "server { {{ key('nginx/snippet') }} }\n", "-once", config='[data]\ntrusted_keys = ["nginx/"]\n'
    )
    assert process.wait(LIMIT) == 0, process.output()
    assert (tmp_path / "out").read_text() == "server { location / { return 204; } }\n"


def test_keys_are_captured_and_played_back(consul, run, tmp_path):
    for path, value in {"a": "10", "secret/token": "hidden", "empty": ""}.items():
        put(consul, path, value)
    template = "{{ key('a') }} {{ key('secret/token') }} {{ key_exists('empty') }} {{ key('none', default='-') }}\n"
    captured = run(consul, template, "-o", "catalog.yaml", "-mask", "tok*", verb=("capture",))
    assert captured.wait(LIMIT) == 0, captured.output()
    played = run(None, template, "-once", "-catalog", "catalog.yaml")
    assert played.wait(LIMIT) == 0, played.output()
    assert (tmp_path / "out").read_text() == "10 masked True -\n"


def test_a_tree_is_rendered_and_followed(consul, run, tmp_path):
    for path in ("lb/a", "lb/c/d", "lb2/x", "lb/c/"):
        put(consul, path, "1")
    template = (
        "{% for pair in ls('lb') %}{{ pair.key }}={{ pair.value }} {% endfor %}/"
        "{% for pair in tree('/lb/') %} {{ pair.key }}{% endfor %}.\n"
    )
    process = run(consul, template)
    out = tmp_path / "out"
    process.wait_for(reads(out, "a=1 / a c/d.\n"), LIMIT, "the keys")
    put(consul, "lb/c/e", "2")
    process.wait_for(reads(out, "a=1 / a c/d c/e.\n"), LIMIT, "one key more")
    consul.api("DELETE", "/v1/kv/lb/?recurse")
    process.wait_for(reads(out, "/.\n"), LIMIT, "no keys")
    put(consul, "lb/z", "3")
    process.wait_for(reads(out, "z=3 / z.\n"), LIMIT, "a new key")


def test_among_two_hundred_services_a_key_is_seen_at_once(consul, run, tmp_path):
    for number in range(200):
        consul.catalog(f"web-{number}", f"web-{number}", 80)
    put(consul, "mode", "1")
    template = "{{ key('mode') }}{% for s in services() %}{% for i in service(s.name) %}.{% endfor %}{% endfor %}\n"
    process = run(consul, template)
    out = tmp_path / "out"
    process.wait_for(lambda: out.exists() and out.read_text().startswith("1....."), LIMIT, "the first output")
    for number in range(2, 6):
        put(consul, "mode", str(number))
        process.wait_for(lambda n=number: out.read_text().startswith(f"{n}....."), 20, "the key's change")
