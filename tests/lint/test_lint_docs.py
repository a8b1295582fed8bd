"""docs/lint.md documents every code, and its wrong examples have the finding while its right ones have not."""

import re
import tomllib
from pathlib import Path

import pytest

from ctemplate.config.layers import Layer
from ctemplate.lint import CODES, LintInput, lint, written

DOCS = (Path(__file__).parents[2] / "docs/lint.md").read_text()
BESIDE = {"domain.j2": "server_name {{ var.domain | default('localhost') }};", "empty.j2": ""}


def examples(code):
    section = DOCS.partition(f"\n## {code}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def found(folder, language, text):
    """Return the codes found in an example: a template, or a configuration with templates beside it."""
    for name, content in BESIDE.items():
        (folder / name).write_text(content)
    nothing = Layer(where="environment", values={})
    if language == "toml":
        (folder / "ctemplate.toml").write_text(text)
        tomllib.loads(text)
        made = written([folder / "ctemplate.toml"], environment=nothing, flags=nothing, environ={})
    else:
        (folder / "t.j2").write_text(text)
        made = LintInput(layers=(Layer(where="-template", values={"template": [{"source": str(folder / "t.j2")}]}),))
    return {finding.code for finding in lint(made, {})}


def test_every_code_is_in_the_table():
    table = dict(re.findall(r"^\| \[(CT\d+)\]\(#ct\d+\) \| (.*) \|$", DOCS, re.MULTILINE))
    assert table == CODES


@pytest.mark.parametrize("code", CODES)
def test_the_first_example_has_the_fault_and_the_second_has_none(code, tmp_path):
    bad, good = examples(code)
    assert (found(tmp_path, *bad), found(tmp_path, *good)) == ({code}, set())


def test_the_silenced_example_is_silent(tmp_path):
    (silenced,) = [
        text for text in re.findall(r"^```jinja\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL) if "ignore" in text
    ]
    loop = "{% for svc in services() %}\n" + silenced + "{% endfor %}"
    assert found(tmp_path, "jinja", loop) == set()
    assert found(tmp_path, "jinja", loop.replace("CT403", "CT401")) == {"CT403"}
