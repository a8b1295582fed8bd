"""Formats other than nginx's with the programs that read them: the examples, and hostile values on a real HAProxy."""

import json
import subprocess
import urllib.error
import urllib.request

import pytest
import yaml
from harness import ROOT, Process, free_port, program, wait_for
from harness.waiting import PATIENCE

EXAMPLES = ROOT / "examples" / "formats"
VALUES = [
    "ok", "", " ", "a b", "a  b ", "it's", "''", '"', 'a"b', "\\", "a\\", "\\n", "#", "a #b", "$HOME",
    "${HOME}", "%[env(HOME)]", "%", "%%", "a,b", "a(b)", "(", "{", "}", "} or TRUE", "a\nb", "\n", "\r", "\t",
    "-i", "-f /etc/passwd", "!", "if TRUE", "x=y", "Jane Doe", "http://h/p?q=1&r=2", "üñí", "\u2028",
    "\U0001f600", "a" * 400, "a" * 401, "b c" * 200, "[::1]:80", "*.example.com", "~", "|", ";",
]  # fmt: skip
FRONTEND = """\
global
    maxconn 64
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend f
    bind 127.0.0.1:PORT
{% for s in services() %}
{% for i in service(s.name) %}
    http-request return status 200 content-type text/plain string PRINT if { path /{{ s.name }} }
{% endfor %}
{% endfor %}
    http-request deny deny_status 404
"""


def rendered(folder, ctemplate, source, catalog, name):
    """Render a template to a file of that name; return the file and what was logged."""
    (folder / "t.j2").write_text(source)
    (folder / "catalog.json").write_text(json.dumps(catalog, ensure_ascii=False))
    done = ctemplate("-once", "-catalog", "catalog.json", "-template", f"t.j2:{name}")
    assert done.wait(30) == 0, done.stderr()
    return folder / name, done.stderr()


@pytest.mark.parametrize(
    "place",
    [
        "{{ i.meta.v | quote }}",
        '"{{ i.meta.v }}"',
        "'{{ i.meta.v }}'",
        "{{ i.meta.v }}",
        "ok if { path /{{ s.name }} } # {{ i.meta.v }}\n   #",
    ],
)
def test_haproxy_answers_with_the_value_that_was_printed(tmp_path, ctemplate, programs, place):
    services = {
        f"s{number}": {"instances": [{"address": "10.0.0.1", "port": 80, "meta": {"v": value}}]}
        for number, value in enumerate(VALUES)
    }
    port = free_port()
    source = FRONTEND.replace("PORT", str(port)).replace("PRINT", place)
    conf, log = rendered(tmp_path, ctemplate, source, {"services": services}, "haproxy.cfg")
    haproxy = Process("haproxy", [program("haproxy"), "-db", "-f", conf], tmp_path)
    programs.callback(haproxy.kill)
    haproxy.start()

    def answer(number):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/s{number}", timeout=PATIENCE) as reply:
                return reply.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code

    wait_for(lambda: not haproxy.is_running or listens(port), 10, "listening HAProxy", log=haproxy.stderr)
    found = {number: answer(number) for number in range(len(VALUES))}
    left_out = {number for number in found if f"service 's{number}'" in log}
    is_comment = "#" in place
    expected = {number: "ok" if is_comment else value for number, value in enumerate(VALUES)}
    assert found == {number: 404 if number in left_out else value for number, value in expected.items()}
    assert 0 not in left_out
    kind = {
        number
        for number, value in enumerate(VALUES)
        if value in {"a b", "Jane Doe", "a,b", "x=y", "http://h/p?q=1&r=2"}
    }
    assert not left_out & kind or place == "{{ i.meta.v }}"


def listens(port):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/none", timeout=1)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@pytest.fixture
def examples(ctemplate):
    """The text that each of the examples makes of its catalog, by destination."""
    run = ctemplate("-config", EXAMPLES, "-catalog", EXAMPLES / "catalog.yaml", "-dry")
    assert run.wait(30) == 0, run.stderr()
    assert "left out" not in run.stderr()
    parts = run.stdout().split("> /")[1:]
    return {f"/{destination}": text for destination, _, text in (part.partition("\n") for part in parts)}


def test_the_examples_are_read_by_their_programs(examples, tmp_path):
    (tmp_path / "haproxy.cfg").write_text(examples["/etc/haproxy/haproxy.cfg"])
    checked = subprocess.run(
        [program("haproxy"), "-c", "-f", "haproxy.cfg"], cwd=tmp_path, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    targets = json.loads(examples["/etc/prometheus/targets.json"])
    assert [(group["targets"], group["labels"]["service"], group["labels"]["owner"]) for group in targets] == [
        (["10.0.0.3:9000"], "api/v2", ""),
        (["10.0.0.4:5432"], "db", ""),
        (["10.0.0.1:8080"], "web", 'Jane "JD" Doe'),
        (["[2001:db8::2]:8080"], "web", ""),
    ]
    hosts = [line.split() for line in examples["/etc/hosts"].splitlines()]
    assert ["2001:db8::2", "web.service.consul", "node-b"] in hosts
    assert all(len(words) in {2, 3} for words in hosts)
    script = f'set -eu\n{examples["/etc/default/services.env"]}\necho "$SERVICE_WEB_URL $SERVICE_WEB_VERSION"'
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert shell.stdout == "http://10.0.0.1:8080 1.1 (rc 1)\n"
    services = yaml.safe_load((EXAMPLES / "catalog.yaml").read_text())["services"]
    assert services.keys() == {"web", "api/v2", "db", "greeter", "idle"}


def test_prometheus_reads_the_example_as_its_service_discovery(examples, tmp_path):
    (tmp_path / "targets.json").write_text(examples["/etc/prometheus/targets.json"])
    scrape = {"job_name": "services", "file_sd_configs": [{"files": ["targets.json"]}]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    checked = subprocess.run(
        [program("promtool"), "check", "config", "prometheus.yml"], cwd=tmp_path, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_lint_finds_nothing_in_the_examples(ctemplate):
    run = ctemplate("lint", "-config", EXAMPLES)
    assert (run.wait(30), run.stdout()) == (0, "")


@pytest.mark.parametrize(
    ("options", "expected", "said"),
    [
        ((), (1, ""), "(service 'web')\n"),
        (("-escape", "lines"), (0, "Jane Doe\n"), ""),
        (
            ("-escape", "latex"),
            (2, ""),
            "-escape: must be nginx, haproxy, json, yaml, shell, html, lines or none, got 'latex'\n",
        ),
    ],
)
def test_an_option_chooses_the_format(tmp_path, ctemplate, options, expected, said):
    (tmp_path / "t.j2").write_text('{% for i in service("web") %}\n{{ i.meta.v }}\n{% endfor %}\n')
    (tmp_path / "c.yaml").write_text(
        "services: {web: {instances: [{address: 10.0.0.1, port: 1, meta: {v: Jane Doe}}]}}"
    )
    run = ctemplate("-dry", "-catalog", "c.yaml", "-template", "t.j2", *options)
    assert (run.wait(30), run.stdout()) == expected
    assert said in run.stderr()
    assert ("escape chooses another rule than nginx's" in run.stderr()) is (options == ())


def test_the_option_needs_a_template_of_the_command_line(ctemplate):
    run = ctemplate("-dry", "-escape", "json")
    what = "is for the templates of -template, and there is none; in a file write escape under [[template]]"
    assert (run.wait(30), run.stderr()) == (2, f"-escape: {what}\n")
