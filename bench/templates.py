"""Two hundred files of one daemon, each over fifty of a thousand services: `python -m bench --only templates`.

Each service is in ten of the files. A change has to show in those ten, and no other file may be touched.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.agent import RAISED, Agent, running_agent, service_name
from bench.changes import INSTANCES, Change, single_changes
from bench.figures import Figure, spread, table
from bench.measuring import say
from bench.programs import AT_ONCE, Program
from bench.subjects import GLANCE, NeverCameError, Subject

SERVICES = 1000
FILES = 200
QUERIES = 50  # of each file
STEP = SERVICES // FILES  # from the first service of a file to that of the next
SETTLED = 1.0  # seconds after a change in which a file that it does not concern could be touched
IDLE = 10.0
KINDS = {"TURN": "a check turns → all its files", "REGISTER": "instance registered → all its files"}

Stamp = tuple[int, int]  # what changes when anybody replaces or writes a file


def numbers_of(file: int) -> list[int]:
    """Return the services of a file."""
    return [(file * STEP + place) % SERVICES for place in range(QUERIES)]


def files_of(number: int) -> list[int]:
    """Return the files of a service."""
    return [file for file in range(FILES) if (number - file * STEP) % SERVICES < QUERIES]


class ManyFiles(Subject):
    """A program with many templates: a change is seen when every file that concerns it shows it."""

    def __init__(self, agent: Agent, program: Program) -> None:
        super().__init__(agent, program.name, program.environment)
        self._program = program
        self._files: list[Path] = []

    def command(self) -> list[str]:
        """Write the templates; return what to run."""
        sources, targets = self.folder / "templates", self.folder / "files"
        sources.mkdir()
        targets.mkdir()
        self._files = [targets / f"{file:03}.conf" for file in range(FILES)]
        pairs = [(sources / f"{target.stem}{self._program.suffix}", target) for target in self._files]
        for file, (source, _) in enumerate(pairs):
            source.write_text(self._program.servers([service_name(number) for number in numbers_of(file)]))
        return self._program.command(self.agent.address, pairs, wait=AT_ONCE, state=self.folder / "state")

    def follow(self) -> None:
        """Note when all files are complete, then which changes show."""
        incomplete = set(self._files)
        while incomplete and not self._is_over:
            time.sleep(GLANCE * 10)
            incomplete = {file for file in incomplete if len(lines_of(file)) < QUERIES * INSTANCES}
        self._note(time.monotonic(), (), is_complete=not incomplete)
        while not self._is_over:
            time.sleep(GLANCE)
            seen = [change for change in self._pending() if self._shows(change)]
            if seen:
                self._note(time.monotonic(), seen, is_complete=True)

    def _shows(self, change: Change) -> bool:
        files = (self._files[file] for file in files_of(change.number))
        return all((change.line in lines_of(file)) == change.is_there for file in files)

    def stamps(self) -> list[Stamp]:
        """Return each file's stamp."""
        return [(status.st_ino, status.st_mtime_ns) for status in (file.stat() for file in self._files)]


def lines_of(file: Path) -> list[str]:
    """Return the lines of a file that name an instance; none while there is no file."""
    with suppress(FileNotFoundError):
        return [line for line in file.read_text().splitlines() if line.startswith("server ")]
    return []


@dataclass(kw_only=True)
class Counts:
    """What the files' stamps tell: how many were rewritten for a change, and how many without need."""

    rewritten: list[int] = field(default_factory=list)
    touched: int = 0

    def add(self, change: Change, before: Sequence[Stamp], after: Sequence[Stamp]) -> None:
        """Compare the stamps before and after a change."""
        changed = {file for file in range(FILES) if before[file] != after[file]}
        concerned = set(files_of(change.number))
        self.rewritten.append(len(changed & concerned))
        self.touched += len(changed - concerned)


def measured(program: Program, changes: int, limits: Mapping[str, object] | None) -> dict[str, Figure]:
    """Measure a program against an agent of its own."""
    figures: dict[str, Figure] = {}
    with running_agent(limits) as agent:
        agent.fill(SERVICES, INSTANCES)
        with ManyFiles(agent, program) as subject:
            figures[f"start to {FILES} complete files"] = Figure(amount=subject.wait_complete(), unit="s")
            figures["CPU of the start"] = Figure(amount=subject.cpu, unit="s")
            time.sleep(SETTLED)
            figures["resident memory"] = Figure(amount=subject.memory, unit="MB")
            connections = subject.connections
            cpu = subject.cpu
            time.sleep(IDLE)
            figures["idle CPU"] = Figure(amount=(subject.cpu - cpu) / IDLE * 100, unit="%")
            figures |= measured_changes(subject, changes)
            figures["connections"] = Figure(amount=max(connections, subject.connections))
    for what, figure in figures.items():
        say(f"{FILES} files, {program.name}: {what}: {figure}")
    return figures


def measured_changes(subject: ManyFiles, count: int) -> dict[str, Figure]:
    """Measure changes one by one, and which files each rewrites."""
    figures, counts = {}, Counts()
    for changes in single_changes(SERVICES, count):
        kind = changes[0].kind
        if kind.name in KINDS:
            latencies, cpu = [], subject.cpu
            for change in changes:
                before = subject.stamps()
                subject.expect(change)
                latencies += subject.latencies([change])
                time.sleep(SETTLED)
                counts.add(change, before, subject.stamps())
            figures[KINDS[kind.name]] = spread(latencies)
            spent = (subject.cpu - cpu) / len(changes) * 1000
            figures[f"{kind.value}: CPU of each"] = Figure(amount=spent, unit="ms")
    concerned = len(files_of(0))
    figures[f"files rewritten per change, of {concerned} that use the service"] = Figure(
        amount=statistics.mean(counts.rewritten)
    )
    figures["other files touched, in all"] = Figure(amount=counts.touched)
    return figures


def measure(program: Program, other: Program | None, changes: int) -> bool:
    """Measure programs in turn and print a table; return whether ctemplate showed everything.

    Consul's limits are its own for ctemplate; the other needs a connection per service.
    """
    columns: dict[str, dict[str, Figure]] = {}
    for one, limits in [(program, None), *([(other, RAISED)] if other else [])]:
        try:
            columns[one.name] = measured(one, changes, limits)
        except NeverCameError as exc:
            say(f"! {exc}")
    ours = columns.get(program.name, {})
    theirs = columns.get(other.name, {}) if other else {}
    rows = [[what, str(figure)] for what, figure in ours.items()]
    heads = ["", program.name]
    if other:
        heads += [f"{other.name}, limits raised", "ratio"]
        for row in rows:
            figure = theirs.get(row[0])
            row += [str(figure or "not reached"), ours[row[0]].ratio(figure) if figure else ""]
    print(
        f"\n### {FILES} templates of {QUERIES} queries each, {SERVICES:,} services\n\n{table(heads, rows)}", flush=True
    )
    return bool(ours)
