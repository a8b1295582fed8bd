"""A guide of docs/ as its reader runs it: block after block in one shell, with what stands below each in the output."""

import itertools
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.waiting import PATIENCE, wait_for

REPEATABLE = ("curl ", "for ", "consul members", "consul catalog", "ctemplate status", "nginx -t")
VARYING = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+Z)?", "TIME"),
    (r"\b(\d+m)?\d+(\.\d+)?s\b|\b\d+m\b", "SECONDS"),
    (r"\bprocess \d+", "process N"),
    (r"\bindex \d+", "index N"),
    (r"^ +\d+ web-", "N web-"),
    (r"\bconf-[0-9a-f]{16}\b", "conf-HASH"),
    (r"\b\d{6}\b", "NUMBER"),
    (r" +", " "),
)
"""What differs from run to run: times, process ids, counts of requests, names of folders, columns."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Commands of a guide, and the lines that it shows below them."""

    commands: str
    shown: tuple[str, ...] = ()


def steps(page: Path, sections: Sequence[int]) -> Iterator[Step]:
    """Yield the steps of the numbered sections of a page."""
    for number, text in re.findall(r"^## (\d+)\. [^\n]*\n(.*?)(?=^## |\Z)", page.read_text(), re.DOTALL | re.MULTILINE):
        if int(number) not in sections:
            continue
        blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for at, (language, commands) in enumerate(blocks):
            if language == "":
                after = blocks[at + 1] if at + 1 < len(blocks) and blocks[at + 1][0] == "text" else ("", "")
                yield Step(commands=commands, shown=tuple(line for line in after[1].splitlines() if line.strip()))


class Reader:
    """Runs steps in one shell, whose command line is given, until it is closed."""

    def __init__(self, command: Sequence[str], output: Path):
        self._output = output
        with output.open("wb") as file:
            self._shell = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT)
        self._count = 0
        self._replaced: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_fault: object) -> None:
        self._shell.kill()
        self._shell.communicate()

    def follow(self, step: Step) -> None:
        """Run a step's commands, again the last ones that only look, until everything is there that the guide shows."""
        begun = self._output.stat().st_size
        commands = step.commands
        for before, now in self._replaced.items():
            commands = commands.replace(before, now)
        self._run(commands)
        only_look = list(itertools.takewhile(lambda line: line.startswith(REPEATABLE), reversed(commands.splitlines())))

        def is_all_there() -> bool:
            there = {_plain(line) for line in self._since(begun).splitlines()}
            missing = [line for line in step.shown if _plain(line) not in there]
            if missing and only_look:
                self._run("\n".join(reversed(only_look)))
            return not missing

        wait_for(is_all_there, PATIENCE, f"{step.shown}\nafter {commands}", log=lambda: self._since(begun))
        self._learn_number(step, self._since(begun))

    def _since(self, begun: int) -> str:
        """Return the output from a size of the file on; its bytes, since a character may be several."""
        return self._output.read_bytes()[begun:].decode(errors="replace")

    def _run(self, commands: str) -> None:
        self._count += 1
        mark = f"<<<{self._count}>>>"
        assert self._shell.stdin
        self._shell.stdin.write(f"{commands}\necho '{mark}'\n".encode())
        self._shell.stdin.flush()
        wait_for(
            lambda: mark in self._output.read_text(), PATIENCE * 5, f"end of {commands}", log=self._output.read_text
        )

    def _learn_number(self, step: Step, output: str) -> None:
        """Take the first number of a list of earlier states for that of the guide."""
        shown, found = (
            re.search(r"^ +(\d{6})  replaced", text, re.MULTILINE) for text in ("\n".join(step.shown), output)
        )
        if shown and found:
            self._replaced[shown[1]] = found[1]


def _plain(line: str) -> str:
    for pattern, word in VARYING:
        line = re.sub(pattern, word, line)
    return line.replace(f" {socket.gethostname()} ", " vm ").replace(f" on {socket.gethostname()}:", " on vm:").strip()
