"""Keys of the KV store in one file: a tree of them, and as many single ones: `python -m bench --only keys`.

A change is a key that is written; it shows when the file has its value.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from bench.agent import RAISED, Agent, running_agent
from bench.figures import Figure, spread, table
from bench.measuring import say
from bench.programs import AT_ONCE, Ctemplate, Program
from bench.subjects import GLANCE, LIMIT, NeverCameError, Subject

TREE_KEYS = 5000
SINGLE_KEYS = 500
WRITTEN_AT_ONCE = 60  # keys of one transaction; Consul takes 64 operations
SETTLED = 1.0
IDLE = 10.0
FOLDER = "bench"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """How many keys a file is made of, and whether it asks for their folder or for each."""

    keys: int
    is_tree: bool

    def __str__(self) -> str:
        return f"{self.keys:,} keys in a tree" if self.is_tree else f"{self.keys:,} single keys"

    def template(self, program: Program) -> str:
        """Return a template that writes a line for each key."""
        if isinstance(program, Ctemplate):
            tree = f'{{% for pair in tree("{FOLDER}") %}}\n{{{{ pair.key }}}} {{{{ pair.value }}}};\n{{% endfor %}}\n'
            single = f'k{{number}} {{{{{{{{ key("{FOLDER}/k{{number}}") }}}}}}}};\n'
        else:
            tree = f'{{{{ range tree "{FOLDER}" }}}}{{{{ .Key }}}} {{{{ .Value }}}};\n{{{{ end }}}}'
            single = f'k{{number}} {{{{{{{{ key "{FOLDER}/k{{number}}" }}}}}}}};\n'
        return tree if self.is_tree else "".join(single.format(number=number) for number in range(self.keys))

    def fill(self, agent: Agent) -> None:
        """Write all keys, each with its number as value."""
        operations = [
            {"KV": {"Verb": "set", "Key": f"{FOLDER}/k{number}", "Value": base64.b64encode(b"%d" % number).decode()}}
            for number in range(self.keys)
        ]
        for start in range(0, self.keys, WRITTEN_AT_ONCE):
            agent.api("PUT", "/v1/txn", operations[start : start + WRITTEN_AT_ONCE])


SCENES = (Scene(keys=TREE_KEYS, is_tree=True), Scene(keys=SINGLE_KEYS, is_tree=False))


class KeyFile(Subject):
    """A program that writes one file of many keys."""

    def __init__(self, agent: Agent, program: Program, scene: Scene) -> None:
        super().__init__(agent, program.name, program.environment)
        self._program = program
        self._scene = scene

    def command(self) -> list[str]:
        """Write the template; return what to run."""
        source, self._file = self.folder / f"keys{self._program.suffix}", self.folder / "keys.conf"
        source.write_text(self._scene.template(self._program))
        return self._program.command(
            self.agent.address, [(source, self._file)], wait=AT_ONCE, state=self.folder / "state"
        )

    def follow(self) -> None:
        """Note when the file has a line for each key."""
        while not self._is_over and self.text().count(";") < self._scene.keys:
            time.sleep(GLANCE * 10)
        self._note(time.monotonic(), (), is_complete=not self._is_over)

    def text(self) -> str:
        """Return what the file says, nothing while there is none."""
        with suppress(FileNotFoundError):
            return self._file.read_text()
        return ""

    def written(self, number: int, value: int) -> float:
        """Write a key; return the seconds until the file has its value. Raises NeverCameError."""
        line, began = f"k{number} {value};", time.monotonic()
        self.agent.api("PUT", f"/v1/kv/{FOLDER}/k{number}", value)
        while line not in self.text():
            if time.monotonic() - began > LIMIT:
                raise NeverCameError(f"{self.name}: key {number} never showed")
            time.sleep(GLANCE)
        return time.monotonic() - began


def measured_keys(
    program: Program, scene: Scene, changes: int, limits: Mapping[str, object] | None
) -> dict[str, Figure]:
    """Measure a program against an agent of its own."""
    figures: dict[str, Figure] = {}
    with running_agent(limits) as agent:
        scene.fill(agent)
        with KeyFile(agent, program, scene) as subject:
            figures["start to complete file"] = Figure(amount=subject.wait_complete(), unit="s")
            figures["CPU of the start"] = Figure(amount=subject.cpu, unit="s")
            time.sleep(SETTLED)
            figures["resident memory"] = Figure(amount=subject.memory, unit="MB")
            figures["connections"] = Figure(amount=subject.connections)
            cpu, latencies = subject.cpu, []
            for number in range(changes):
                latencies.append(subject.written(number, TREE_KEYS + number))
                time.sleep(SETTLED / 4)
            figures["a key written → file"] = spread(latencies)
            figures["CPU per written key"] = Figure(amount=(subject.cpu - cpu) / changes * 1000, unit="ms")
            cpu = subject.cpu
            time.sleep(IDLE)
            figures["idle CPU"] = Figure(amount=(subject.cpu - cpu) / IDLE * 100, unit="%")
    for what, figure in figures.items():
        say(f"{scene}, {program.name}: {what}: {figure}")
    return figures


def measure_keys(program: Program, other: Program | None, changes: int) -> bool:
    """Measure programs in turn and print a table for each scene; return whether ctemplate showed everything.

    Consul's limits are its own for ctemplate; the other needs a connection per key.
    """
    is_fine = True
    for scene in SCENES:
        columns: dict[str, dict[str, Figure]] = {}
        for one, limits in [(program, None), *([(other, RAISED)] if other else [])]:
            try:
                columns[one.name] = measured_keys(one, scene, changes, limits)
            except NeverCameError as exc:
                say(f"! {exc}")
        ours = columns.get(program.name, {})
        is_fine &= bool(ours)
        heads, rows = ["", program.name], [[what, str(figure)] for what, figure in ours.items()]
        if other:
            heads += [f"{other.name}, limits raised", "ratio"]
            theirs = columns.get(other.name, {})
            for row in rows:
                figure = theirs.get(row[0])
                row += [str(figure or "not reached"), ours[row[0]].ratio(figure) if figure else ""]
        print(f"\n### {scene}\n\n{table(heads, rows)}", flush=True)
    return is_fine
