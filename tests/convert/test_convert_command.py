"""``ctemplate convert`` as people run it."""

import os

import pytest
from harness import run_ctemplate

pytestmark = pytest.mark.integration

SOURCE = """upstream web {
{{- range service "web" }}
  server {{ .Address }}:{{ .Port }};
{{- end }}
}
"""
CONVERTED = """upstream web {
  {% for i in service("web") %}
  server {{ i.ip }}:{{ i.port }};
  {% endfor %}
}
"""


def run(folder, *arguments):
    return run_ctemplate("convert", *arguments, cwd=folder, env=os.environ)


def test_a_template_is_printed(tmp_path):
    (tmp_path / "web.ctmpl").write_text(SOURCE)
    done = run(tmp_path, "web.ctmpl")
    assert (done.returncode, done.stdout, done.stderr) == (0, CONVERTED, "")


def test_a_dash_for_the_file_is_standard_output(tmp_path):
    (tmp_path / "web.ctmpl").write_text(SOURCE)
    done = run(tmp_path, "-o", "-", "web.ctmpl")
    assert (done.returncode, done.stdout) == (0, CONVERTED)
    assert not (tmp_path / "-").exists()


def test_a_template_is_written(tmp_path):
    (tmp_path / "web.ctmpl").write_text(SOURCE.replace("{{", "[[").replace("}}", "]]"))
    done = run(tmp_path, "-left-delimiter", "[[", "--right-delimiter=]]", "-o", "web.j2", "web.ctmpl")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "web.j2").read_text() == CONVERTED


@pytest.mark.parametrize("source", ["web.ctmpl", "c.hcl"])
def test_an_edited_file_is_only_replaced_by_force(tmp_path, source):
    (tmp_path / "web.ctmpl").write_text(SOURCE)
    (tmp_path / "c.hcl").write_text('log_level = "WARN"\n')
    assert run(tmp_path, source, "-o", "out").returncode == 0
    written = (tmp_path / "out").read_text()
    again = run(tmp_path, source, "-o", "out")
    assert (again.returncode, again.stderr) == (0, "")
    (tmp_path / "out").write_text(f"{written}# mine\n")
    refused = run(tmp_path, source, "-o", "out")
    said = "out: exists already, with another content; nothing is written; use -force to replace it\n"
    assert (refused.returncode, refused.stderr) == (2, said)
    assert (tmp_path / "out").read_text() == f"{written}# mine\n"
    assert run(tmp_path, source, "-o", "out", "-force").returncode == 0
    assert (tmp_path / "out").read_text() == written


def test_the_source_is_not_replaced_by_its_conversion(tmp_path):
    (tmp_path / "web.ctmpl").write_text(SOURCE)
    assert run(tmp_path, "web.ctmpl", "-o", "web.ctmpl").returncode == 2
    assert (tmp_path / "web.ctmpl").read_text() == SOURCE


def test_a_device_takes_the_conversion(tmp_path):
    (tmp_path / "web.ctmpl").write_text(SOURCE)
    done = run(tmp_path, "web.ctmpl", "-o", "/dev/stdout")
    assert (done.returncode, done.stdout) == (0, CONVERTED)


def test_what_is_not_converted_is_named_and_lint_finds_it(tmp_path):
    (tmp_path / "t.ctmpl").write_text("a\n{{ timestamp }}\n")
    done = run(tmp_path, "-o", "t.j2", "t.ctmpl")
    advice = "leave it out: output that always differs reloads always; now() alone causes no render"
    message = f"cannot convert the function 'timestamp'; {advice}"
    assert (done.returncode, done.stderr) == (1, f"t.ctmpl:2:4: {message}\n")
    marked = f'a\n{{# line 2: {message} #}}\n{{{{ unconverted("timestamp") }}}}\n'
    assert (tmp_path / "t.j2").read_text() == marked
    lint = run_ctemplate("lint", "-template", "t.j2:out", cwd=tmp_path, env=os.environ)
    assert lint.returncode == 1
    assert "t.j2:3:4: " in lint.stdout
    assert "'unconverted' is undefined" in lint.stdout


def test_what_may_not_be_meant_is_said_and_no_fault(tmp_path):
    (tmp_path / "t.ctmpl").write_text('{{ with key "a" }}{{ . }}{{ else }}b{{ end }}\n')
    done = run(tmp_path, "-o", "t.j2", "t.ctmpl")
    note = "note: consul-template renders nothing before this key exists; here a missing key counts as empty"
    assert (done.returncode, done.stderr) == (0, f"t.ctmpl:1:9: {note}\n")


def test_a_template_is_written_tidily_and_hardened(tmp_path):
    source = "{{ range services }}\nupstream {{ .Name }} { }\n{{ end }}\n"
    (tmp_path / "t.ctmpl").write_text(source)
    done = run(tmp_path, "-tidy", "-harden", "-o", "t.j2", "t.ctmpl")
    expected = "{% for svc in services() %}\nupstream {{ svc.name | identifier }} { }\n{% endfor %}\n"
    assert (done.returncode, (tmp_path / "t.j2").read_text()) == (0, expected)
    assert done.stderr.splitlines() == [
        "t.ctmpl:1:1: note: -tidy: the tags on these lines leave no line of their own: 1, 3",
        "t.j2:2:13: -harden: added | identifier: a registered name is printed here",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"{{ if }}", "t.ctmpl:1:7: missing value in 'if'", id="syntax"),
        pytest.param(b"a\xff", "t.ctmpl:1: is not UTF-8: byte 0xff; save the file as UTF-8", id="bytes"),
        pytest.param(None, "t.ctmpl: cannot be read: no such file or directory", id="missing"),
    ],
)
def test_what_cannot_be_read_is_an_error_in_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "t.ctmpl").write_bytes(content)
    done = run(tmp_path, "t.ctmpl")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message + "\n")
