"""Signals in the first moments of a process, sent by itself at exact moments of its start."""

import os
import signal
import subprocess
import sys

import pytest

LIMIT = 60.0  # seconds for a start, a stop, or both

STARTED = """
import os, signal, sys
number, moment, *sys.argv[1:] = sys.argv[1:]
pending = [getattr(signal, number)]
def hook(event, arguments):
    if pending and event in {"import", "open"} and str(arguments[0]).endswith(moment):
        os.kill(os.getpid(), pending.pop())
sys.addaudithook(hook)
from ctemplate.__main__ import enter_program
enter_program()
"""
MOMENTS = {
    "before the verb is known": "ctemplate.cli.arguments",
    "while the daemon is imported": "ctemplate.runtime.watchdog",
    "while the templates are read": "page.j2",
    "while the event loop starts": "ctemplate-lock",
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "page.j2").write_text("{{ services() | length }}\n")
    (tmp_path / "catalog.yaml").write_text("services:\n  web:\n    instances: [{address: 10.0.0.1, port: 80}]\n")
    return tmp_path


def started(folder, number, moment, *arguments):
    """Start ctemplate so that it sends itself a signal when it imports, or opens, what is named so."""
    given = ["-catalog", "catalog.yaml", "-template", "page.j2:page.txt", "-state-dir", "state", *arguments]
    return subprocess.Popen(
        [sys.executable, "-c", STARTED, number, moment, *given],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": str(folder)},
    )


def ended(process):
    try:
        out, err = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    return process.returncode, out + err


RELOADED, RELEASED = "configuration reloaded", "released by SIGUSR1: 0 holds"


@pytest.mark.parametrize(
    ("number", "moment", "consequence"),
    [
        *(pytest.param("SIGHUP", MOMENTS[moment], RELOADED, id=f"SIGHUP {moment}") for moment in MOMENTS),
        pytest.param("SIGUSR1", "ctemplate.cli.arguments", RELEASED, id="SIGUSR1 before the verb is known"),
        pytest.param("SIGUSR1", "ctemplate-lock", RELEASED, id="SIGUSR1 while the event loop starts"),
    ],
)
def test_a_signal_that_a_daemon_handles_is_handled_later(folder, number, consequence, moment):
    process = started(folder, number, moment)
    said = ""
    while consequence not in said and (line := process.stderr.readline()):
        said += line
    assert consequence in said, said
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0


@pytest.mark.parametrize(
    ("number", "moment"),
    [*(("SIGTERM", moment) for moment in MOMENTS.values()), ("SIGINT", "page.j2"), ("SIGQUIT", "page.j2")],
)
def test_a_daemon_that_is_stopped_while_it_starts_ends_with_status_0(folder, number, moment):
    status, said = ended(started(folder, number, moment))
    assert status == 0, said
    assert "Traceback" not in said


MEANINGLESS = (signal.SIGUSR2, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTSTP, signal.SIGCONT)


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_signals_without_a_meaning_end_no_daemon(folder, moment):
    process = started(folder, "SIGUSR2", moment)
    said = ""
    for awaited in ("applied", RELOADED):
        while awaited not in said and (line := process.stderr.readline()):
            said += line
        for number in (*MEANINGLESS, signal.SIGHUP):
            process.send_signal(number)
    process.send_signal(signal.SIGQUIT)
    assert ended(process)[0] == 0
    assert RELOADED in said, said


@pytest.mark.parametrize(
    ("number", "moment"), [("SIGTERM", "ctemplate.cli.arguments"), ("SIGTERM", "ctemplate-lock"), ("SIGINT", "page.j2")]
)
def test_a_run_that_is_interrupted_ends_with_status_130(folder, number, moment):
    status, said = ended(started(folder, number, moment, "-once"))
    assert (status, "Traceback" in said) == (130, False), said
    assert "ctemplate: interrupted" in said


@pytest.mark.parametrize("moment", ["ctemplate.cli.arguments", "page.j2"])
def test_a_single_run_goes_on_when_the_terminal_hangs_up(folder, moment):
    status, said = ended(started(folder, "SIGHUP", moment, "-once"))
    assert status == 0, said
    assert (folder / "page.txt").read_text() == "1\n"


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        ("SIGHUP", "ctemplate.cli.arguments"),
        ("SIGHUP", "page.j2"),
        ("SIGTERM", "page.j2"),
        ("SIGQUIT", "page.j2"),
    ],
)
def test_a_verb_without_a_daemon_is_interrupted(folder, number, moment):
    status, said = ended(started(folder, number, moment, "lint"))
    assert (status, "Traceback" in said) == (130, False), said
    assert "ctemplate: interrupted" in said


def test_a_signal_that_the_parent_has_ignored_stays_ignored(folder):
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = started(folder, "SIGINT", MOMENTS["while the templates are read"], "lint")
    finally:
        signal.signal(signal.SIGINT, previous)
    assert ended(process)[0] == 0
