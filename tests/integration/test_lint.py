"""`ctemplate lint` as people run it: its output and its exit status."""

import json
import re
import tomllib

import pytest
from harness import ROOT

TEMPLATE = """{% import "nginx.j2" as nginx %}
http {
{% for svc in services(tag="http") %}
    upstream {{ svc.name }} {
{% for i in service(svc.name) %}
        server {{ i.adress }}:{{ i.port }};  # {{ i.meta.version }}
{% endfor %}
    }
{% endfor %}
    server_name {{ var.domian }};
{{ nginx.stream_upstream() }}
}
"""
EXPECTED = """\
ctemplate.toml:3:1: CT202 no template uses var.domain; did you mean 'var.domian'?
nginx.conf.j2:4:5: CT501 may have no server, which nginx refuses; guard it by {% if … %}, or add {% else %}
nginx.conf.j2:6:21: CT105 instance has no field 'adress'; did you mean 'address'?
nginx.conf.j2:6:51: CT401 a meta value that is no plain token leaves its service out; print it through | comment
nginx.conf.j2:6:51: CT405 the key 'version' may be missing, and cannot be printed then; add | default("…")
nginx.conf.j2:10:20: CT201 'var.domian' has no value; did you mean 'var.domain'?
nginx.conf.j2:11:10: CT105 nginx.j2 has no field 'stream_upstream'; did you mean 'stream_upstreams'?
"""
CONFIGURATION = """# a comment
[vars]
domain = "example.com"

[[template]]
source = "nginx.conf.j2"
destination = "out"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nginx.conf.j2").write_text(TEMPLATE)
    (tmp_path / "ctemplate.toml").write_text(CONFIGURATION)
    return tmp_path


def test_findings_are_printed_with_their_places_and_nothing_is_written(folder, ctemplate):
    process = ctemplate("lint", "-config", "ctemplate.toml")
    assert process.wait() == 1, process.log()
    assert (process.stdout(), process.log()) == (EXPECTED, "")
    written = {path.name for path in folder.iterdir()}
    assert written == {"nginx.conf.j2", "ctemplate.toml", "ctemplate.out", "ctemplate.err"}


@pytest.mark.usefixtures("folder")
def test_findings_for_machines_say_the_same(ctemplate):
    process = ctemplate("lint", "-config", "ctemplate.toml", "-format", "json")
    assert process.wait() == 1, process.log()
    found = json.loads(process.stdout())["findings"]
    lines = ["{path}:{line}:{column}: {code} {message}\n".format(**finding) for finding in found]
    assert "".join(lines) == EXPECTED
    sarif = ctemplate("lint", "-config", "ctemplate.toml", "-format", "sarif", name="sarif")
    assert sarif.wait() == 1, sarif.log()
    (run,) = json.loads(sarif.stdout())["runs"]
    assert [result["ruleId"] for result in run["results"]] == [finding["code"] for finding in found]


def test_faults_of_every_file_are_told_at_once(tmp_path, ctemplate):
    (tmp_path / "one.toml").write_text('wait = 3\n\n[consul]\nadress = "x"\n')
    (tmp_path / "two.toml").write_text("a = [\n")
    (tmp_path / "three.json").write_text("{")
    process = ctemplate(
        "lint", "-config", "one.toml", "-config", "two.toml", "-config", "three.json", "-config", "gone.toml"
    )
    assert process.wait() == 1
    assert process.stdout().splitlines() == [
        "gone.toml: CT701 cannot be read: no such file or directory",
        "one.toml: CT701 consul.adress: unknown key; did you mean 'address'?",
        "one.toml: CT701 wait: must be a table, got 3",
        "three.json:1:2: CT701 is not JSON: expecting property name enclosed in double quotes",
        "two.toml: CT701 is not TOML: invalid value (at end of document)",
    ]


@pytest.mark.parametrize("address", ["http://127.0.0.1:8500/v1", "127.0.0.1:85OO", "::1:8500", "ftp://127.0.0.1"])
def test_an_address_that_no_run_can_use_is_a_finding(tmp_path, ctemplate, address):
    (tmp_path / "t.j2").write_text("x\n")
    given = ("-template", "t.j2:out", "-consul-addr", address, "-state-dir", "state")
    found, run = ctemplate("lint", *given), ctemplate("-once", *given, name="once")
    assert (found.wait(), run.wait()) == (1, 2)
    where, _, what = run.log().strip().partition("': ")
    assert found.stdout() == f"{where}': CT701 {what}\n"


SHIPPED = sorted({*ROOT.glob("templates/*.j2"), *ROOT.glob("examples/**/*.j2")})
CONTAINER = tomllib.loads((ROOT / "packaging" / "container" / "ctemplate.toml").read_text())["vars"]
VARS = {"datacenters": {"own_dc": "east"}, "registrator": CONTAINER}


@pytest.mark.parametrize("template", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_shipped_templates_are_clean(template, ctemplate):
    text, values = template.read_text(), VARS.get(template.parent.name, {})
    given = [part for name in values if f"var.{name}" in text for part in ("-var", f"{name}={values[name]}")]
    process = ctemplate("lint", "-template", template, *given)
    assert (process.wait(), process.stdout(), process.log()) == (0, "", "")


def test_the_template_of_the_readme_is_clean(tmp_path, ctemplate):
    (text,) = re.findall(r"^```jinja\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "readme.j2").write_text(text)
    process = ctemplate("lint", "-template", "readme.j2:out")
    assert (process.wait(), process.stdout(), process.log()) == (0, "", "")
