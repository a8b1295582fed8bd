"""The reference of the command line is complete and current, and its examples are accepted."""

import re
import shlex

import click
import pytest
from test_reference import loaded

from ctemplate.cli.arguments import arranged
from ctemplate.cli.program import cli

page = loaded("command_line")
EXAMPLES = [example for found in page.examples().values() for example in found]


def test_every_verb_has_examples_and_exit_codes():
    assert page.missing() == []


def test_the_page_is_what_the_declarations_make_of_it():
    assert page.PAGE.read_text() == page.page(), "run make reference"


def test_every_option_that_help_shows_is_on_the_page():
    text = page.PAGE.read_text()
    shown = {option.opts[0] for command in page.commands().values() for option in page.options(command)}
    assert [flag for flag in sorted(shown) if not re.search(rf"^\| `{flag}\b", text, re.MULTILINE)] == []


def test_every_variable_that_a_verb_reads_is_explained():
    words = page.tomllib.loads(page.WORDS.read_text())
    assert words["variables"].keys() == words["read_by"].keys()
    assert set().union(*words["read_by"].values()) <= set(page.commands())


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_accepted(example):
    program, *words = shlex.split(example)
    assert program == "ctemplate"
    arguments = arranged(words, cli)
    command = cli.commands.get(arguments[0], cli)
    context = command.make_context(program, arguments[command is not cli :], resilient_parsing=False)
    assert isinstance(context, click.Context)
