"""Measuring one subject: its start, its quiet times, changes one by one and changes by the hundred."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.agent import Agent, running_agent
from bench.changes import Change, Kind, Size, mixed_changes, single_changes
from bench.figures import Figure, spread
from bench.process import cpu_seconds
from bench.programs import AT_ONCE, DEFAULT_WAIT, Program
from bench.rows import Row
from bench.subjects import NeverCameError, Rendering, SourceAlone, Subject

SETTLED = 3.0
IDLE = 20.0
BURST = 10.0
MIXED = 500
START_LIMIT = 20.0  # for a start that may well never be complete
PAUSE = 1.0  # seconds between changes that take long to find, so that each meets a quiet source
SHORT_PAUSE = 0.3  # between others
FEW = 100  # services up to which nothing takes long to find
LONG_TO_FIND = {Kind.REGISTER, Kind.DEREGISTER, Kind.MOVE}

Start = Callable[[Agent], Subject]


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of CPU: of what is measured, and of the agent meanwhile."""

    ours: float
    agents: float

    @classmethod
    def by(cls, subject: Subject) -> Spent:
        """Return what was spent so far."""
        return cls(subject.cpu, cpu_seconds(subject.agent.pid))

    def since(self, before: Spent, count: int = 1) -> Spent:
        """Return what was spent since, for each of so many."""
        return Spent((self.ours - before.ours) / count, (self.agents - before.agents) / count)


class Record:
    """What was measured of one subject; told on standard error as it comes."""

    def __init__(self, name: str) -> None:
        """Take the subject's name, its size included."""
        self.figures: dict[Row, Figure] = {}
        self.failure = ""
        self._name = name
        self._cpu: dict[Kind, Spent] = {}

    def note(self, row: Row, figure: Figure) -> None:
        """Take a figure of a row."""
        self.figures[row] = figure
        say(f"{self._name}: {row.value}: {figure}")

    def note_connections(self, subject: Subject) -> None:
        """Keep the highest count."""
        before = self.figures.get(Row.CONNECTIONS)
        count = subject.connections
        if before is None or count > before.amount:
            self.note(Row.CONNECTIONS, Figure(amount=count))

    def note_cpu(self, kind: Kind, spent: Spent) -> None:
        """Take the CPU time of one change of a kind."""
        self._cpu[kind] = spent
        if kind is Kind.TURN:
            self._note_spent(Row.TURN_CPU, Row.AGENT_TURN_CPU, [spent])
        elif self._cpu.keys() >= LONG_TO_FIND and Row.CHANGE_CPU not in self.figures:
            self._note_spent(Row.CHANGE_CPU, Row.AGENT_CHANGE_CPU, [self._cpu[one] for one in LONG_TO_FIND])

    def _note_spent(self, ours: Row, agents: Row, spent: Sequence[Spent]) -> None:
        self.note(ours, Figure(amount=statistics.mean(one.ours for one in spent) * 1000, unit="ms"))
        self.note(agents, Figure(amount=statistics.mean(one.agents for one in spent) * 1000, unit="ms"))


def say(text: str) -> None:
    """Tell how far the run is, apart from its tables."""
    print(text, file=sys.stderr, flush=True)


def measured(record: Record, start: Start, size: Size, count: int, limits: Mapping[str, object] | None) -> None:
    """Measure a subject that shows changes at once, against an agent of its own."""
    with running_agent(limits) as agent:
        size.fill(agent)
        with start(agent) as subject:
            subject.wait_complete()
            measure_quiet(record, subject)
            for changes in single_changes(size.services, count):
                measure_single(record, subject, changes, size)


def measured_program(
    record: Record, program: Program, size: Size, count: int, limits: Mapping[str, object] | None = None
) -> None:
    """Measure all of a program at one size; what did not come is told in the record."""
    try:
        with running_agent(limits) as agent:
            size.fill(agent)
            measure_starts(record, lambda: Rendering(agent, program, size.services), program.starts)
        measured(record, lambda agent: Rendering(agent, program, size.services, wait=AT_ONCE), size, count, limits)
        with running_agent(limits) as agent:
            size.fill(agent)
            with Rendering(agent, program, size.services, wait=DEFAULT_WAIT) as subject:
                subject.wait_complete()
                time.sleep(SETTLED)
                measure_burst(record, subject, mixed_changes(size.services, MIXED))
    except NeverCameError as exc:
        record.failure = str(exc)
        say(f"! {exc}")


def measured_source(record: Record, environment: Mapping[str, str], size: Size, count: int) -> None:
    """Measure the Consul source without templates."""
    try:
        measured(record, lambda agent: SourceAlone(agent, "source", environment), size, count, None)
    except NeverCameError as exc:
        record.failure = str(exc)
        say(f"! {exc}")


def start_under_default_limits(program: Program, size: Size) -> str:
    """Return how long a start takes on a default Consul, or that it is never complete."""
    with running_agent() as agent:
        size.fill(agent)
        with Rendering(agent, program, size.services) as subject:
            try:
                return str(Figure(amount=subject.wait_complete(START_LIMIT), unit="s"))
            except NeverCameError as exc:
                say(f"! {exc}")
                why = "" if subject.process.is_running else ", ended by itself"
                return f"never rendered within {START_LIMIT:.0f} s{why}"


def measure_starts(record: Record, start: Callable[[], Subject], times: int) -> None:
    """Measure what it takes until everything is there.

    No more than three times on a default Consul, which holds the connections of each for a minute.
    """
    seconds, cpu = [], []
    for _ in range(times):
        with start() as subject:
            seconds.append(subject.wait_complete())
            cpu.append(subject.cpu)
            record.note_connections(subject)
    record.note(Row.START, Figure(amount=statistics.median(seconds), unit="s"))
    record.note(Row.START_CPU, Figure(amount=statistics.median(cpu), unit="s"))


def measure_quiet(record: Record, subject: Subject) -> None:
    """Measure what is held, and what quiet times cost."""
    time.sleep(SETTLED)
    record.note(Row.MEMORY, Figure(amount=subject.memory, unit="MB"))
    record.note_connections(subject)
    before, began = Spent.by(subject), time.monotonic()
    time.sleep(IDLE)
    spent, hundredth = Spent.by(subject).since(before), (time.monotonic() - began) / 100
    record.note(Row.IDLE, Figure(amount=spent.ours / hundredth, unit="%"))
    record.note(Row.AGENT_IDLE, Figure(amount=spent.agents / hundredth, unit="%"))


def measure_single(record: Record, subject: Subject, changes: Sequence[Change], size: Size) -> None:
    """Measure changes that come one by one, each after the one before was seen."""
    kind, before, latencies = changes[0].kind, Spent.by(subject), []
    pause = PAUSE if kind in LONG_TO_FIND and size.services > FEW else SHORT_PAUSE
    for change in changes:
        subject.expect(change)
        latencies += subject.latencies([change])
        time.sleep(pause)
    record.note(Row[kind.name], spread(latencies))
    record.note_cpu(kind, Spent.by(subject).since(before, len(changes)))
    record.note_connections(subject)


def measure_burst(record: Record, subject: Subject, changes: Sequence[Change]) -> None:
    """Measure many changes in ten seconds.

    How soon they show can be told where no change overtakes another of the same instance.
    """
    last = {(change.number, change.instance): change for change in changes}
    before, began = Spent.by(subject), time.monotonic()
    for step, change in enumerate(changes):
        if len(last) == len(changes):
            subject.expect(change)
        else:
            change.carry_out(subject.agent)
        time.sleep(max(0.0, began + (step + 1) * BURST / len(changes) - time.monotonic()))
    if len(last) == len(changes):
        record.note(Row.MIXED, spread(subject.latencies(changes)))
    time.sleep(SETTLED)
    spent = Spent.by(subject).since(before)
    record.note(Row.MIXED_CPU, Figure(amount=spent.ours, unit="s"))
    record.note(Row.AGENT_MIXED_CPU, Figure(amount=spent.agents, unit="s"))
    record.note(Row.MEMORY_AFTER, Figure(amount=subject.memory, unit="MB"))
    record.note_connections(subject)
