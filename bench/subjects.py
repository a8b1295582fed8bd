"""What is measured: a process that follows the agent, and the moments at which it showed each change."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from harness import Process

from bench.agent import Agent
from bench.changes import INSTANCES, Change
from bench.process import connections, cpu_seconds, resident_mb
from bench.programs import AT_ONCE, Program

LIMIT = 120.0  # seconds for anything that is waited for
GLANCE = 0.0005  # seconds between two looks at a file
LIVENESS = 0.5  # seconds between two looks whether the process still runs


class NeverCameError(Exception):
    """What was waited for did not come in time, or cannot come any more."""


class Subject:
    """A process under measurement; used as a context, it runs within."""

    def __init__(self, agent: Agent, name: str, environment: Mapping[str, str]) -> None:
        self.agent = agent
        self.name = name
        self.started = 0.0
        self._environment = environment
        self._expected: dict[Change, float] = {}
        self._seen: dict[Change, float] = {}
        self._news = threading.Condition()
        self._complete_at = 0.0
        self._is_over = False

    @abstractmethod
    def command(self) -> list[str]:
        """Return what to run."""

    @abstractmethod
    def follow(self) -> None:
        """Note what the process shows, until it is over."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-subject-")
        self.folder = Path(self._folder.name)
        self.process = Process("subject", self.command(), self.folder, env=self._environment)
        self.started = time.monotonic()
        self.process.start()
        self._follower = threading.Thread(target=self.follow, name="follower", daemon=True)
        self._follower.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self.process.stop()
        self._follower.join()
        self._folder.cleanup()

    def wait_complete(self, limit: float = LIMIT) -> float:
        """Return the seconds from the start until everything was there; raises NeverCameError."""
        self._wait(lambda: self._complete_at > 0, limit)
        return self._complete_at - self.started

    def expect(self, change: Change) -> None:
        """Carry out a change and look out for it from now on."""
        with self._news:
            self._expected[change] = time.monotonic()
        change.carry_out(self.agent)

    def latencies(self, changes: Iterable[Change]) -> list[float]:
        """Wait until all the changes were seen; return the seconds that each took; raises NeverCameError."""
        wanted = list(changes)
        self._wait(lambda: all(change in self._seen for change in wanted), LIMIT)
        return [self._seen[change] - self._expected[change] for change in wanted]

    def _wait(self, condition: Callable[[], bool], limit: float) -> None:
        deadline = time.monotonic() + limit
        with self._news:
            while not self._news.wait_for(condition, LIVENESS):
                if not self.process.is_running:
                    raise NeverCameError(f"{self.name} ended by itself: {self.process.output()[-2000:]}")
                if time.monotonic() >= deadline:
                    raise NeverCameError(f"{self.name}: nothing within {limit:.0f} s {self.process.output()[-2000:]}")

    def _note(self, moment: float, seen: Iterable[Change], *, is_complete: bool) -> None:
        with self._news:
            for change in seen:
                self._seen.setdefault(change, moment)
            if is_complete and not self._complete_at:
                self._complete_at = moment
            self._news.notify_all()

    def _pending(self) -> list[Change]:
        with self._news:
            return [change for change in self._expected if change not in self._seen]

    @property
    def cpu(self) -> float:
        """CPU seconds used so far."""
        return cpu_seconds(self.process.pid)

    @property
    def memory(self) -> float:
        """Resident megabytes."""
        return resident_mb(self.process.pid)

    @property
    def connections(self) -> int:
        """Connections to the agent; the one of the measurement itself is not counted."""
        return connections(self.agent.port) - 1


class SourceAlone(Subject):
    """The Consul source without templates: a change is seen when its answer is in the catalog."""

    def command(self) -> list[str]:
        """Return what to run."""
        return [sys.executable, "-m", "bench.source", self.agent.address]

    def follow(self) -> None:
        """Note which answers changed."""
        for line in self._lines():
            moment, missing, *names = line.split()
            changed = set(names)
            seen = [change for change in self._pending() if change.service in changed]
            self._note(float(moment), seen, is_complete=missing == "0" and "services" not in changed)

    def _lines(self) -> Iterator[str]:
        line = ""
        with self.process.out_file.open() as output:
            while not self._is_over:
                line += output.readline()
                if line.endswith("\n"):
                    yield line
                    line = ""
                else:
                    time.sleep(GLANCE)


class Rendering(Subject):
    """A whole program with one template: a change is seen when the file shows it.

    Template and file are in different folders, as they are where programs are used.
    """

    def __init__(self, agent: Agent, program: Program, services: int, *, wait: str = AT_ONCE) -> None:
        super().__init__(agent, program.name, program.environment)
        self._program = program
        self._upstreams = (services + 1) // 2
        self._wait_option = wait

    def command(self) -> list[str]:
        """Write the template; return what to run."""
        template = self.folder / "templates" / f"bench{self._program.suffix}"
        self._file = self.folder / "files" / "bench.conf"
        template.parent.mkdir()
        self._file.parent.mkdir()
        template.write_text(self._program.upstreams)
        paths, state = (template, self._file), self.folder / "state"
        return self._program.command(self.agent.address, [paths], wait=self._wait_option, state=state)

    def follow(self) -> None:
        """Note what each version of the file shows."""
        version = None
        while not self._is_over:
            time.sleep(GLANCE)
            with suppress(OSError):
                status = self._file.stat()
                moment = time.monotonic()
                if version != (status.st_ino, status.st_mtime_ns):
                    lines = [line.strip() for line in self._file.read_text().splitlines()]
                    version = (status.st_ino, status.st_mtime_ns)
                    self._compare(moment, lines)

    def _compare(self, moment: float, lines: Sequence[str]) -> None:
        shown = set(lines)
        seen = [change for change in self._pending() if (change.line in shown) == change.is_there]
        servers = sum(1 for line in lines if line.startswith("server "))
        upstreams = sum(1 for line in lines if line.startswith("upstream "))
        is_complete = upstreams == self._upstreams and servers == self._upstreams * INSTANCES
        self._note(moment, seen, is_complete=is_complete)
