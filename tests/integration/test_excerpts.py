"""Errors in templates show the surrounding lines at a terminal, and nowhere else."""

import contextlib
import os
import re
import subprocess
import sys

import pytest
from harness import ROOT

TEMPLATE = "{% for svc in services() %}\nserver {{ svc.nmae }};\n{% endfor %}\n"
FINDING = "service has no field 'nmae'; did you mean 'name'?"
SENTENCE = f"{FINDING} (service 'web')"
SHOWN = [
    "      1 | {% for svc in services() %}",
    "    > 2 | server {{ svc.nmae }};",
    "      3 | {% endfor %}",
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "t.j2").write_text(TEMPLATE)
    (tmp_path / "catalog.json").write_text('{"services": {"web": {}}}')
    return tmp_path


def run(folder, *args, terminal):
    """Run ctemplate with its output and errors on a terminal or in a pipe; return the lines without their times."""
    environ = os.environ | {"PYTHONPATH": str(ROOT), "STATE_DIRECTORY": str(folder / "state")}
    command = [sys.executable, "-m", "ctemplate", *args]
    if not terminal:
        done = subprocess.run(
            command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
        )
        return lines(done.stdout)
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as reader:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=theirs, stderr=theirs)
        os.close(theirs)
        pieces = []
        with contextlib.suppress(OSError):  # Linux's word for the end of a terminal
            while piece := reader.read(65536):
                pieces.append(piece)
        process.wait(60)
    return lines(b"".join(pieces))


def lines(output):
    """What stays to be read: progress is cleared from its line."""
    shown = re.sub(r"[^\n]*\r\x1b\[K", "", output.decode())
    return [line.partition(" ERROR ")[2] or line for line in shown.splitlines()]


ONCE = ("-catalog", "catalog.json", "-template", "t.j2:out")


@pytest.mark.parametrize(
    ("args", "first", "rest"),
    [
        pytest.param((*ONCE, "-once"), f"t.j2:2: {SENTENCE}", [], id="once"),
        pytest.param((*ONCE, "-dry"), f"t.j2:2: {SENTENCE}", [], id="dry"),
        pytest.param(("lint", *ONCE), f"t.j2:2:15: CT105 {FINDING}", [], id="lint"),
    ],
)
def test_the_lines_around_an_error_are_shown_at_a_terminal_alone(folder, args, first, rest):
    assert run(folder, *args, terminal=True) == [first, *SHOWN, *rest]
    assert run(folder, *args, terminal=False) == [first, *rest]


def test_plan_shows_them_too(folder):
    found = run(folder, "plan", *ONCE, terminal=True)
    assert found[: 1 + len(SHOWN)] == [f"t.j2:2: {SENTENCE}", *SHOWN]


def test_a_template_that_cannot_be_loaded_is_shown(folder):
    (folder / "t.j2").write_text("\n\t{% if %}")
    message = "t.j2:2: expected an expression, got 'end of statement block'"
    assert run(folder, *ONCE, "-dry", terminal=True) == [message, "      1 |", "    > 2 |     {% if %}"]
