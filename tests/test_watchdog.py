"""The watchdog, in a separate process: its actions end the process or need a loop that is stuck."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from harness import wait_for

from ctemplate.runtime.watchdog import FORCED_STATUS

WAIT = 60.0  # seconds at most for what takes two or three

STARTED = """
import asyncio, logging, signal, sys, threading, time
from ctemplate.runtime import daemon, exec_mode, watchdog
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
said = []
class Hearer(logging.Handler):
    def emit(self, record): said.append(record)
logging.getLogger().addHandler(Hearer())
def hang(): threading.Event().wait()
def spin():
    while True: pass
"""


def script(body):
    source = STARTED + textwrap.dedent(body)
    return subprocess.Popen([sys.executable, "-c", source], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ended(process):
    """Return exit status and standard error of a process that ends by itself."""
    try:
        _, said = process.communicate(timeout=WAIT)
    finally:
        process.kill()
    return process.returncode, said


def test_a_blocked_loop_is_reported_once_with_its_length():
    status, said = ended(
        script("""
        async def main():
            with watchdog.Watchdog():
                await asyncio.sleep(0.5)
                while not said:
                    time.sleep(0.1)
                while not said[1:]:
                    await asyncio.sleep(0.1)
        asyncio.run(main())
        """)
    )
    lines = said.splitlines()
    assert (status, len(lines)) == (0, 2), said
    assert lines[0].startswith("WARNING the event loop has been blocked for 2s, in ")
    assert lines[0].endswith("(main); changes wait")
    assert lines[1].startswith("INFO the event loop runs again after ")


def test_a_loop_that_turns_is_not_blamed():
    status, said = ended(
        script("""
        async def main():
            with watchdog.Watchdog():
                for _ in range(30):
                    time.sleep(0.1)
                    await asyncio.sleep(0)
        asyncio.run(main())
        """)
    )
    assert (status, said) == (0, "")


HUNG = {
    "a thread hangs": "await asyncio.to_thread(hang)",
    "the loop spins": "spin()",
    "the loop waits for a system call": "open_fifo()",
    "a task does not let itself be cancelled": "await stubborn()",
}


@pytest.mark.parametrize("what", HUNG)
def test_a_signal_to_stop_ends_the_process_within_its_limit(what, tmp_path):
    process = script(f"""
    import os
    os.mkfifo({str(tmp_path / "fifo")!r})
    def open_fifo(): open({str(tmp_path / "fifo")!r})
    async def stubborn():
        while True:
            try: await asyncio.sleep(3600)
            except asyncio.CancelledError: pass
    daemon.EXIT_LIMIT = 1.5
    class Holding(daemon.Daemon):
        def __post_init__(self): self._exec = exec_mode.ExecHost(dict(), tuple, lambda: None)
    async def main():
        with Holding(assembler=None, assembly=None)._watched(is_patient=False):
            print("ready", flush=True)
            {HUNG[what]}
    asyncio.run(main())
    """)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # until it hangs; where it does not yet, the signal ends it all the same
    process.send_signal(signal.SIGTERM)
    status, said = ended(process)
    assert status == FORCED_STATUS
    assert "not ended 1.5s after the signal: exiting at once" in said


RUNNING = {
    "the loop spins": "await asyncio.sleep(0.1); spin()",
    "a thread hangs beside it": "await asyncio.to_thread(hang)",
}


@pytest.mark.parametrize("what", RUNNING)
def test_the_end_by_force_leaves_no_program_behind(what, tmp_path):
    pids = tmp_path / "pids"
    command = f"sleep 3600 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"
    process = script(f"""
    from pathlib import Path
    from ctemplate.system.programs import run_program
    async def main():
        with watchdog.Watchdog() as dog:
            running = asyncio.create_task(run_program({command!r}, timeout=3600))
            while not Path({str(pids)!r}).exists():
                await asyncio.sleep(0.05)
            dog.end_within(1.0)
            {RUNNING[what]}
    asyncio.run(main())
    """)
    assert ended(process)[0] == FORCED_STATUS
    for pid in pids.read_text().split():
        wait_for(lambda pid=pid: not is_running(pid), WAIT, f"the end of process {pid}")


def is_running(pid):
    """Whether a process exists that has not ended; one that no process has waited for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_sleep_that_a_step_of_the_clock_cuts_short_raises_no_alarm():
    status, said = ended(
        script("""
        import select
        pause, whole = time.sleep, select.select
        def short(*given): return whole(*given[:3], given[3] / 100)  # as where a step of the clock ends it
        async def main():
            with watchdog.Watchdog():
                await asyncio.sleep(0.1)
                select.select = short
                pause(0.5)
                select.select = whole
        asyncio.run(main())
        """)
    )
    assert (status, said) == (0, "")
