import re
from pathlib import Path

import pytest
from refusals import refusals

from ctemplate.convert import convert
from ctemplate.convert.functions import ADVICE, FUNCTIONS

DOCS = (Path(__file__).parents[2] / "docs" / "convert.md").read_text()
INSTEAD = "join the parts with ~"


def fences(language):
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)


def rows(heading):
    """The rows of the table below a heading, without its head."""
    (section,) = re.findall(rf"^### {heading}\n(.*?)(?=^##|\Z)", DOCS, re.MULTILINE | re.DOTALL)
    found = [re.split(r"(?<!\\)\|", line)[1:3] for line in section.splitlines() if line.startswith("|")][2:]
    return [tuple(cell.strip().replace("\\|", "|") for cell in row) for row in found]


@pytest.mark.parametrize(("source", "expected"), list(zip(fences("go"), fences("jinja"), strict=True)))
def test_the_documented_examples_are_what_comes_out(source, expected):
    assert convert(source, "t").text == expected


def test_every_function_that_is_refused_is_documented_with_its_way_out():
    told = {name: advice for names, advice in rows("Functions") for name in re.findall(r"`(\w+)`", names)}
    assert told == ADVICE


def test_every_refusal_is_documented_with_its_way_out():
    expected = {(what, INSTEAD if advice == "…" else advice) for what, advice in refusals("NotConverted")}
    assert set(rows("Uses")) == {row for row in expected if row[0] != "the function …"}


def test_every_mistake_that_consul_template_refuses_is_documented():
    (section,) = re.findall(r"^### Mistakes\n(.*?)(?=^##|\Z)", DOCS, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"^- (.*)", section, re.MULTILINE)) == {what for (what,) in refusals("NeverRenders")}


def test_every_function_that_is_converted_is_documented():
    (section,) = re.findall(r"^## What is converted\n(.*?)(?=^## )", DOCS, re.MULTILINE | re.DOTALL)
    older = {"key_exists", "key_or_default", "toYAML", "toTOML"}  # old names, and what is refused by its layout
    told = set(re.findall(r"`(\w+)`", section))
    assert set(FUNCTIONS) - older - told == set()
