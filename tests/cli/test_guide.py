"""`-help` lists every option under its heading, every environment variable that is read and every exit status."""

import re
from pathlib import Path

import click
import pytest

from ctemplate import cli
from ctemplate.cli.guide import EPILOG
from ctemplate.cli.options import SETTINGS
from ctemplate.cli.plan import PENDING_STATUS
from ctemplate.cli.program import CONTEXT, cli as program
from ctemplate.config.layers import ENVIRONMENT

ROOT = Path(__file__).parents[2]
STATUSES = {0, PENDING_STATUS} | {value for name, value in vars(cli).items() if name.endswith("_STATUS")}


def test_help_lists_every_setting_under_its_heading():
    text = click.Context(program, info_name="ctemplate", **CONTEXT).get_help()
    sections = dict(re.findall(r"^(\S.*):\n((?: .*\n|\n)+)", text, re.MULTILINE))
    missing = [each for each in SETTINGS if not re.search(rf"^  {each.flag}\b", sections[each.heading], re.MULTILINE)]
    assert missing == []


def test_help_names_every_variable_of_consul_that_is_read():
    assert [name for name in ENVIRONMENT if not re.search(rf"\b{name}\b", EPILOG)] == []


def test_help_lists_the_exit_statuses():
    listed = EPILOG.partition("Exit codes:")[2].partition("Environment:")[0]
    assert {int(number) for number in re.findall(r"^  (\d+) ", listed, re.MULTILINE)} == STATUSES


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_page_lists_the_exit_statuses(name):
    rows = re.findall(r"^\| (\d+) \|", (ROOT / name).read_text(), re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(STATUSES)
