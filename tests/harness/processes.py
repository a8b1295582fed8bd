"""A program under test: in its own process group, with its output in files, ended at the latest with pytest."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Self

from harness.forks import Fork
from harness.waiting import PATIENCE, T, tail, wait_for


class Process:
    """A program that can be started, signalled and watched, again and again with the same arguments."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        death_signal: str = "KILL",
    ):
        """Describe the program; nothing runs before `start`.

        Output is appended to `NAME.out` and `NAME.err` in the folder. `death_signal` is what the kernel sends when
        pytest dies; a program with children of its own wants TERM.
        """
        self.name = name
        self.argv = [str(part) for part in argv]
        self.cwd = cwd or folder
        self.env = env
        self.out_file = folder / f"{name}.out"
        self.err_file = folder / f"{name}.err"
        self.death_signal = death_signal
        self._popen: subprocess.Popen[bytes] | Fork | None = None
        self._leaves_group = True

    def start(self) -> Self:
        assert not self.is_running, f"{self.name} runs already"
        self.out_file.parent.mkdir(parents=True, exist_ok=True)
        with self.out_file.open("ab") as out, self.err_file.open("ab") as err:
            self._popen = self._started(out, err)
        self._leaves_group = True
        return self

    def _started(self, out: BinaryIO, err: BinaryIO) -> "subprocess.Popen[bytes] | Fork":
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", self.death_signal, *self.argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=self.env,
            cwd=self.cwd,
            process_group=0,
        )

    @property
    def pid(self) -> int:
        assert self._popen, f"{self.name} was not started"
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen is not None and self.returncode is None

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._ended(0) if self._popen else None
        return None

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return the exit status once the program has ended by itself."""
        assert self._popen, f"{self.name} was not started"
        timeout = max(timeout, PATIENCE)
        try:
            return self._ended(timeout)
        except subprocess.TimeoutExpired:
            message = f"{self.name} still runs after {timeout:g}s\n{tail(self.output())}"
            raise AssertionError(message) from None

    def _ended(self, timeout: float) -> int:
        """Return the exit status, or raise `subprocess.TimeoutExpired`.

        Once it has ended, and nothing of its process group is left, the kernel may give its number to another process.
        """
        assert self._popen
        was_running = self._popen.returncode is None
        status = self._popen.wait(timeout)
        if was_running:
            self._leaves_group = _is_group(self._popen.pid)
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone; nothing happens when it has ended."""
        if self.is_running:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def pause(self) -> None:
        """Stop the program, and wait until each of its threads has stopped."""
        self.signal(signal.SIGSTOP)
        wait_for(
            lambda: {_state(task) for task in Path(f"/proc/{self.pid}/task").iterdir()} <= set("TXZ"), PATIENCE, "stop"
        )

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the program and its process group at once, and reap it."""
        if self._popen:
            if self._leaves_group:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
            self._leaves_group = False

    def stop(self, timeout: float = PATIENCE) -> int | None:
        """Ask the program to end (SIGTERM), insist after the timeout, return its exit status; None if never started."""
        self.resume()
        self.terminate()
        if self._popen:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._ended(timeout)
        self.kill()
        return self.returncode

    def stdout(self) -> str:
        return _text(self.out_file)

    def stderr(self) -> str:
        return _text(self.err_file)

    def log(self) -> str:
        """What it told the operator: its standard error."""
        return self.stderr()

    def output(self) -> str:
        return self.stdout() + self.stderr()

    def wait_for(self, condition: Callable[[], T], timeout: float, what: str, *, exactly: bool = False) -> T:
        """Return the condition's first true value; fail at once when the program ends before."""

        def condition_while_running() -> T:
            was_running = self.is_running
            value = condition()
            if not value and not was_running:
                message = f"{self.name} ended with {self.returncode} before {what}\n{tail(self.output())}"
                raise AssertionError(message)
            return value

        return wait_for(condition_while_running, timeout, what, log=self.output, exactly=exactly)

    def wait_for_log(self, text: str, timeout: float = PATIENCE, *, times: int = 1) -> None:
        """Wait until standard error holds the text so many times."""
        self.wait_for(lambda: self.log().count(text) >= times, timeout, f"log line with {text!r} ({times}x)")


def _is_group(number: int) -> bool:
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


def _state(task: Path) -> str:
    """Return the state of a thread, X for one that is gone."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _text(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""


def left_behind(folder: Path, prefix: str) -> list[Path]:
    """Return the folders of that prefix that are still there, and the working folders of processes inside them."""
    working_folders = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            working_folders.append((process / "cwd").readlink())
        except OSError:
            continue  # gone meanwhile, or another user's
    inside = str(folder / prefix)
    return [*folder.glob(f"{prefix}*"), *(found for found in working_folders if str(found).startswith(inside))]
