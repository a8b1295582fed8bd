"""A process imports what its verb needs, and nothing else."""

import inspect
import os
import subprocess
import sys

import click
import pytest

from ctemplate.cli import cli
from ctemplate.cli.program import VERB_FUNCTIONS, work
from ctemplate.lint import REPORT_FORMATS

PROBE = """
import sys
from ctemplate.cli import main
sys.argv = ["ctemplate", *sys.argv[1:]]
try:
    main()
except SystemExit as exc:
    print(*sorted(sys.modules), file=sys.stderr)
    raise
"""
WORKING = {
    "asyncio",
    "concurrent.futures",
    "httptools",
    "httpx",
    "jinja2",
    "logging",
    "ssl",
    "tomllib",
    "watchfiles",
    "yaml",
}
LIGHT = ("ctemplate.cli", "ctemplate.config", "ctemplate.core")


def imported(*arguments, status=0):
    """Return the modules that a process with these arguments has imported at its end."""
    command = [sys.executable, "-c", PROBE, *arguments]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # imports by itself
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert found.returncode == status, found.stderr
    return set(found.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments",
    [["-version"], ["-help"], *([verb, "-help"] for verb in sorted(cli.commands))],
    ids=" ".join,
)
def test_a_question_about_the_program_imports_nothing_that_works(arguments):
    modules = imported(*arguments)
    ours = {name for name in modules if name.startswith("ctemplate.")}
    assert modules & WORKING == set()
    assert {name for name in ours if not name.startswith(LIGHT)} == set()


def test_a_mistake_on_the_command_line_imports_nothing_that_works():
    assert imported("-no-such-option", status=2) & WORKING == set()


OTHER_VERBS = ("ctemplate.convert", "ctemplate.doctor", "ctemplate.lint", "ctemplate.cli.plan", "ctemplate.cli.capture")
SELDOM = (
    "ctemplate.cli.verbs",
    *("ctemplate.runtime.status_service", "ctemplate.status.http_server"),
    "ctemplate.config.hcl_lexer",
    "httpx",
    "ifaddr",
    "prometheus_client",
    "re2",
    "statistics",
    "tomli_w",
    "tomllib",
    "html",
)
UNNEEDED = {
    "-once with Consul": (
        ["-consul-addr", "127.0.0.1:1", "-timeout", "1ms", "-once", "-state-dir", "{0}/state"],
        (*OTHER_VERBS, *SELDOM, "multiprocessing", "watchfiles", "yaml"),
        3,  # nobody answers
    ),
    "-dry with a catalog": (
        ["-catalog", "{0}/catalog.yaml", "-dry"],
        (*OTHER_VERBS, *SELDOM),
        0,
    ),
    "the daemon with a catalog": (
        ["-catalog", "{0}/catalog.yaml", "-state-dir", "{0}/state", "-exec", "true"],  # it ends with its program
        (*OTHER_VERBS, *SELDOM),
        0,
    ),
}
"""For each way to run ctemplate the options, what it must not import, and the exit status."""


@pytest.mark.parametrize(("options", "unneeded", "status"), UNNEEDED.values(), ids=UNNEEDED)
def test_a_run_imports_what_it_needs(tmp_path, options, unneeded, status):
    (tmp_path / "a.j2").write_text('{% for i in service("web") %}{% endfor %}x')
    (tmp_path / "catalog.yaml").write_text("services: {}\n")
    template = f"{tmp_path}/a.j2:{tmp_path}/a"
    modules = imported("-template", template, *(each.format(tmp_path) for each in options), status=status)
    below = tuple(f"{name}." for name in unneeded)
    assert {name for name in modules if name in unneeded or name.startswith(below)} == set()


def test_convert_imports_no_daemon(tmp_path):
    (tmp_path / "a.ctmpl").write_text("x")
    modules = imported("convert", str(tmp_path / "a.ctmpl"))
    assert {name for name in modules if name.startswith(("ctemplate.runtime", "ctemplate.lint", "jinja2"))} == set()


@pytest.mark.parametrize(("options", "is_imported"), [((), False), (("-status-addr", "unix:{}/status"), True)])
def test_a_daemon_imports_metrics_only_where_it_serves_them(tmp_path, options, is_imported):
    (tmp_path / "a.j2").write_text("x")
    (tmp_path / "catalog.yaml").write_text("services: {}\n")
    is_ready = f"[ -S {tmp_path}/status ]" if is_imported else "true"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nfor _ in $(seq 600); do {is_ready} && exit; sleep 0.1; done\n")
    program.chmod(0o755)
    modules = imported(
        *("-catalog", str(tmp_path / "catalog.yaml"), "-state-dir", str(tmp_path / "state")),
        *("-template", f"{tmp_path}/a.j2:{tmp_path}/a", "-exec", str(program)),  # the daemon ends with its program
        *(option.format(tmp_path) for option in options),
    )
    assert ("prometheus_client" in modules) is is_imported


COLLECTIONS = """
import gc, sys
from ctemplate.__main__ import enter_program
def collections():
    return sum(each["collections"] for each in gc.get_stats())
before = collections()
sys.argv = ["ctemplate", "-version"]
try:
    enter_program()
except SystemExit:
    print(collections() - before, gc.isenabled())
"""


def test_the_collector_of_garbage_does_not_run_during_imports():
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-c", COLLECTIONS]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    assert found.stdout.splitlines()[-1] == "0 True"


def test_every_verb_has_its_work():
    assert VERB_FUNCTIONS.keys() == {"", *cli.commands}
    for verb in VERB_FUNCTIONS:
        assert inspect.isfunction(work(verb)), verb


def test_lint_offers_every_format_of_its_report():
    choices = [option.type.choices for option in cli.commands["lint"].params if isinstance(option.type, click.Choice)]
    assert list(map(tuple, choices)) == [REPORT_FORMATS]


def test_a_start_in_a_removed_folder_says_so(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    line = 'cd "$0" && rmdir "$0" && exec "$@"'
    command = [sys.executable, "-m", "ctemplate", "-dry", "-catalog", "/dev/null", "-template", "../t.j2"]
    found = subprocess.run(
        ["/bin/sh", "-c", line, gone, *command], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert found.stderr == "ctemplate: the current folder does not exist any more; change to another one\n"
    assert found.returncode == 2
