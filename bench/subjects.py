"""What is measured: a process that follows the agent, and the moments at which it showed each change."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from bench.agent import ROOT, Agent
from bench.changes import Change
from bench.process import connections, cpu_seconds, resident_mb

LIMIT = 120.0  # seconds for anything that is waited for
GLANCE = 0.0005  # seconds between two looks at a file

TEMPLATE = """\
{% for svc in services(tag="http") %}
upstream {{ svc.name }} {
{% for i in service(svc.name) %}
    server {{ i.address }}:{{ i.port }};
{% endfor %}
}
{% endfor %}
"""


class Subject:
    """A process under measurement; used as a context, it runs within."""

    name = ""

    def __init__(self, agent: Agent, services: int) -> None:
        self.agent = agent
        self._services = services
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
        self.started = time.monotonic()
        self.process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, text=True, cwd=ROOT)
        threading.Thread(target=self.follow, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self.process.terminate()
        self.process.wait()

    def wait_complete(self) -> float:
        """Return the seconds from the start until everything was there."""
        self._wait(lambda: self._complete_at > 0)
        return self._complete_at - self.started

    def expect(self, change: Change) -> None:
        """Carry out a change and look out for it from now on."""
        with self._news:
            self._expected[change] = time.monotonic()
        change.carry_out(self.agent)

    def latencies(self, changes: Iterable[Change]) -> list[float]:
        """Wait until all the changes were seen; return the seconds that each took."""
        wanted = list(changes)
        self._wait(lambda: all(change in self._seen for change in wanted))
        return [self._seen[change] - self._expected[change] for change in wanted]

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self._news:
            if not self._news.wait_for(condition, LIMIT):
                raise RuntimeError(f"{self.name}: nothing came within {LIMIT:.0f}s")

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

    name = "source alone"

    def command(self) -> list[str]:
        """Return what to run."""
        return [sys.executable, "-m", "bench.source", self.agent.address]

    def follow(self) -> None:
        """Note which answers changed."""
        for line in self.process.stdout or ():
            moment, missing, *names = line.split()
            changed = set(names)
            seen = [change for change in self._pending() if change.service in changed]
            self._note(float(moment), seen, is_complete=missing == "0" and "services" not in changed)


class Ctemplate(Subject):
    """The whole program with one template: a change is seen when the file shows it."""

    name = "ctemplate -wait 0"
    debounce = "0"

    def __init__(self, agent: Agent, services: int) -> None:
        super().__init__(agent, services)
        self._folder = tempfile.TemporaryDirectory()
        self._template = Path(self._folder.name, "bench.j2")
        self._file = Path(self._folder.name, "bench.conf")
        self._template.write_text(TEMPLATE)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._folder.cleanup()

    def command(self) -> list[str]:
        """Return what to run."""
        state = str(Path(self._folder.name, "state"))
        options = [
            "-consul-addr",
            self.agent.address,
            "-wait",
            self.debounce,
            "-state-dir",
            state,
            "-log-level",
            "warning",
        ]
        return [sys.executable, "-m", "ctemplate", "-template", f"{self._template}:{self._file}", *options]

    def follow(self) -> None:
        """Note what each version of the file shows."""
        version, upstreams = None, (self._services + 1) // 2
        while not self._is_over:
            time.sleep(GLANCE)
            try:
                status = self._file.stat()
                moment = time.monotonic()
                if version == (status.st_ino, status.st_mtime_ns):
                    continue
                text = self._file.read_text()
            except OSError:
                continue
            version = (status.st_ino, status.st_mtime_ns)
            lines = {line.strip() for line in text.splitlines()}
            seen = [change for change in self._pending() if (change.line in lines) == change.is_there]
            self._note(moment, seen, is_complete=text.count("upstream ") == upstreams)


class PatientCtemplate(Ctemplate):
    """The whole program with its default debounce."""

    name = "ctemplate -wait 100ms:2s"
    debounce = "100ms:2s"
