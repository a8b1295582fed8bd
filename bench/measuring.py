"""Measuring one subject: its start, its quiet times, changes one by one and changes by the hundred."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from bench.agent import Agent, running_agent
from bench.changes import INSTANCES, Change, Kind, mixed_changes, single_changes
from bench.figures import Figure, spread
from bench.process import cpu_seconds
from bench.programs import AT_ONCE, DEFAULT_WAIT, Program
from bench.rows import Row
from bench.subjects import NeverCameError, Rendering, SourceAlone, Subject

SETTLED = 3.0
IDLE = 10.0
BURST = 10.0
MIXED = 500
START_LIMIT = 20.0  # for a start that may well never be complete
PAUSE = 1.0  # seconds between changes that take long to find, so that each meets a quiet source
SHORT_PAUSE = 0.3  # between others
FEW = 100  # services up to which nothing takes long to find
LONG_TO_FIND = {Kind.REGISTER, Kind.DEREGISTER, Kind.MOVE}

Start = Callable[[Agent], Subject]


class Record:
    """What was measured of one subject; told on standard error as it comes."""

    def __init__(self, name: str) -> None:
        """Take the subject's name, its size included."""
        self.figures: dict[Row, Figure] = {}
        self.failure = ""
        self._name = name
        self._cpu: dict[Kind, float] = {}

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

    def note_cpu(self, kind: Kind, seconds: float) -> None:
        """Take the CPU time of one change of a kind."""
        self._cpu[kind] = seconds * 1000
        if kind is Kind.TURN:
            self.note(Row.TURN_CPU, Figure(amount=self._cpu[kind], unit="ms"))
        elif self._cpu.keys() >= LONG_TO_FIND and Row.CHANGE_CPU not in self.figures:
            mean = statistics.mean(self._cpu[one] for one in LONG_TO_FIND)
            self.note(Row.CHANGE_CPU, Figure(amount=mean, unit="ms"))


def say(text: str) -> None:
    """Tell how far the run is, apart from its tables."""
    print(text, file=sys.stderr, flush=True)


def measured(record: Record, start: Start, services: int, count: int, limits: Mapping[str, object] | None) -> None:
    """Measure a subject that shows changes at once, against an agent of its own."""
    with running_agent(limits) as agent:
        agent.fill(services, INSTANCES)
        with start(agent) as subject:
            subject.wait_complete()
            measure_quiet(record, subject)
            for changes in single_changes(services, count):
                measure_single(record, subject, changes, services)


def measured_program(
    record: Record, program: Program, services: int, count: int, limits: Mapping[str, object] | None = None
) -> None:
    """Measure all of a program at one size; what did not come is told in the record."""
    try:
        with running_agent(limits) as agent:
            agent.fill(services, INSTANCES)
            measure_starts(record, lambda: Rendering(agent, program, services), program.starts)
        measured(record, lambda agent: Rendering(agent, program, services, wait=AT_ONCE), services, count, limits)
        with running_agent(limits) as agent:
            agent.fill(services, INSTANCES)
            with Rendering(agent, program, services, wait=DEFAULT_WAIT) as subject:
                subject.wait_complete()
                time.sleep(SETTLED)
                measure_burst(record, subject, mixed_changes(services, MIXED))
    except NeverCameError as exc:
        record.failure = str(exc)
        say(f"! {exc}")


def measured_source(record: Record, environment: Mapping[str, str], services: int, count: int) -> None:
    """Measure the Consul source without templates."""
    try:
        measured(record, lambda agent: SourceAlone(agent, "source", environment), services, count, None)
    except NeverCameError as exc:
        record.failure = str(exc)
        say(f"! {exc}")


def start_under_default_limits(program: Program, services: int) -> str:
    """Return how long a start takes on a default Consul, or that it is never complete."""
    with running_agent() as agent:
        agent.fill(services, INSTANCES)
        with Rendering(agent, program, services) as subject:
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
    ours, agents, began = subject.cpu, cpu_seconds(subject.agent.pid), time.monotonic()
    time.sleep(IDLE)
    spent = (time.monotonic() - began) / 100
    record.note(Row.IDLE, Figure(amount=(subject.cpu - ours) / spent, unit="%"))
    record.note(Row.AGENT_IDLE, Figure(amount=(cpu_seconds(subject.agent.pid) - agents) / spent, unit="%"))


def measure_single(record: Record, subject: Subject, changes: Sequence[Change], services: int) -> None:
    """Measure changes that come one by one, each after the one before was seen."""
    kind, before, latencies = changes[0].kind, subject.cpu, []
    pause = PAUSE if kind in LONG_TO_FIND and services > FEW else SHORT_PAUSE
    for change in changes:
        subject.expect(change)
        latencies += subject.latencies([change])
        time.sleep(pause)
    record.note(Row[kind.name], spread(latencies))
    record.note_cpu(kind, (subject.cpu - before) / len(changes))
    record.note_connections(subject)


def measure_burst(record: Record, subject: Subject, changes: Sequence[Change]) -> None:
    """Measure many changes in ten seconds.

    How soon they show can be told where no change overtakes another of the same instance.
    """
    last = {(change.number, change.instance): change for change in changes}
    ours, began = subject.cpu, time.monotonic()
    for step, change in enumerate(changes):
        if len(last) == len(changes):
            subject.expect(change)
        else:
            change.carry_out(subject.agent)
        time.sleep(max(0.0, began + (step + 1) * BURST / len(changes) - time.monotonic()))
    if len(last) == len(changes):
        record.note(Row.MIXED, spread(subject.latencies(changes)))
    time.sleep(SETTLED)
    record.note(Row.MIXED_CPU, Figure(amount=subject.cpu - ours, unit="s"))
    record.note(Row.MEMORY_AFTER, Figure(amount=subject.memory, unit="MB"))
    record.note_connections(subject)
