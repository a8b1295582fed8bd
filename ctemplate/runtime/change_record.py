"""What a change of a group's files was: how many lines and servers came and went, a diff without secrets, and why.

Costs little for files of any size; knows nothing of who shows it.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from ctemplate.apply import LiveChange
from ctemplate.core.errors import printable
from ctemplate.core.model import Answer, Instance, OwnedEntry
from ctemplate.core.values import dataclass
from ctemplate.nginx.language.semantic_diff import Backend, BackendChange
from ctemplate.sinks.masks import masked_lines
from ctemplate.sinks.plan import reasons, secrets_of
from ctemplate.sinks.secrets import hidden_secrets

COMPARED_LINES = 3000  # that differ, to be laid side by side; of more the lines that came and went are listed
DIFF_LINES = 200  # of one change
DIFF_WIDTH = 300  # characters of a line
CAUSES_NAMED = 20
CONTEXT_LINES = 3
_PRIVATE_KEY = b"PRIVATE KEY"
_SERVER = re.compile(r"\s*server\s+([^\s;{]+)([^;{]*);")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRecord:
    """A change in figures and lines; ``diff`` and ``causes`` are bounded and hold no secrets."""

    lines_added: int
    lines_removed: int
    servers_added: int
    servers_removed: int
    diff: tuple[str, ...]
    causes: tuple[str, ...]

    @property
    def figures(self) -> dict[str, int]:
        """The numbers, by name."""
        names = ("lines_added", "lines_removed", "servers_added", "servers_removed")
        return {name: getattr(self, name) for name in names}


def change_record(change: LiveChange, answers: Collection[Answer]) -> ChangeRecord:
    """Return what a change was; ``answers`` are those that the new files were rendered from."""
    others = (answer for answer in answers if answer.value and type(answer.value[0]) is not Instance)
    owned = [answer for answer in others if isinstance(answer.value[0], OwnedEntry)]
    diff, hidden = list[str](), secrets_of(owned)
    added: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    for path, content in change.after.items():
        old, new, skipped = _differing(change.before.get(path) or b"", content, hidden)
        before, after, offset = _trimmed(_lines(old, hidden), _lines(new, hidden))
        gone, come = Counter(before), Counter(after)
        added += come - gone
        removed += gone - come
        if len(diff) < DIFF_LINES:
            diff += _file_diff(path, before, after, skipped + offset)
    shown = masked_lines((line[:DIFF_WIDTH] for line in _bounded_diff(diff)), owned)
    came, went = set(_servers(added)), set(_servers(removed))
    return ChangeRecord(
        lines_added=added.total(),
        lines_removed=removed.total(),
        servers_added=len(came - went),
        servers_removed=len(went - came),
        diff=tuple(printable(line.replace("\t", "    "), DIFF_WIDTH + 100) for line in shown),
        causes=tuple(_causes(came, went, answers)),
    )


def _differing(before: bytes, after: bytes, secrets: tuple[str, ...]) -> tuple[bytes, bytes, int]:
    """Cut most equal lines off at both ends; return the rest and the number of lines cut in front.

    Contents with secrets stay whole: where a secret begins and ends is found in the whole text.
    """
    if secrets or _PRIVATE_KEY in before or _PRIVATE_KEY in after:
        return before, after, 0
    front = _earlier(after, _equal(before, after))
    limit = min(len(before), len(after)) - front
    back = _equal_behind(before, after, limit)
    end = _later(after, len(after) - back)
    return before[front : len(before) - len(after) + end], after[front:end], after.count(b"\n", 0, front)


def _equal(one: bytes, other: bytes) -> int:
    """Return how many bytes are equal at the front, by halves, since comparing is fast and looking at each is not."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def _equal_behind(one: bytes, other: bytes, limit: int) -> int:
    """Return how many bytes are equal at the end, up to a limit."""
    low, high, ends = 0, limit, (len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        same = one[ends[0] - middle : ends[0] - low] == other[ends[1] - middle : ends[1] - low]
        low, high = (middle, high) if same else (low, middle - 1)
    return low


def _earlier(content: bytes, at: int) -> int:
    """Return where the lines of context in front of a place begin."""
    for _ in range(CONTEXT_LINES + 1):
        at = content.rfind(b"\n", 0, max(at, 0))
    return at + 1


def _later(content: bytes, at: int) -> int:
    """Return where the lines of context behind a place end."""
    for _ in range(CONTEXT_LINES + 1):
        found = content.find(b"\n", at)
        if found < 0:
            return len(content)
        at = found + 1
    return at


def _lines(content: bytes, secrets: tuple[str, ...]) -> list[str]:
    text = content.decode(errors="replace")
    if secrets or _PRIVATE_KEY in content:
        text = hidden_secrets(text, secrets)
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _trimmed(before: list[str], after: list[str]) -> tuple[list[str], list[str], int]:
    """Cut equal lines off at both ends, all but some context; return the rest and the number of those cut in front."""
    limit = min(len(before), len(after))
    front = next((at for at in range(limit) if before[at] != after[at]), limit)
    back = next((at for at in range(limit - front) if before[-1 - at] != after[-1 - at]), limit - front)
    front, back = max(front - CONTEXT_LINES, 0), max(back - CONTEXT_LINES, 0)
    return before[front : len(before) - back], after[front : len(after) - back], front


def _file_diff(path: Path, before: list[str], after: list[str], offset: int) -> Iterator[str]:
    yield f"--- {path}"
    yield f"+++ {path}"
    if len(before) + len(after) > COMPARED_LINES:
        yield f"@@ too many lines differ to be shown in their order, from line {offset + 1} on @@"
        gone, come = Counter(before), Counter(after)
        yield from (f"-{line}" for line in list((gone - come).elements())[: DIFF_LINES // 2])
        yield from (f"+{line}" for line in list((come - gone).elements())[: DIFF_LINES // 2])
        return
    hunks = difflib.unified_diff(before, after, lineterm="", n=CONTEXT_LINES)
    yield from (_moved(line, offset) for number, line in enumerate(hunks) if number > 1)


def _moved(line: str, offset: int) -> str:
    """Return a line of a diff; the head of a hunk with the numbers of the whole file."""
    if not line.startswith("@@"):
        return line
    return re.sub(r"(?<=[-+])\d+", lambda found: str(int(found[0]) + offset), line)


def _bounded_diff(diff: list[str]) -> list[str]:
    if len(diff) <= DIFF_LINES:
        return diff
    return [*diff[:DIFF_LINES], f"… and {len(diff) - DIFF_LINES} more lines"]


def _servers(lines: Counter[str]) -> Iterator[str]:
    """Yield the addresses of the lines that name a server of an upstream."""
    for line in lines:
        if found := _SERVER.match(line):
            yield found[1]


def _causes(came: set[str], went: set[str], answers: Collection[Answer]) -> Iterator[str]:
    """Say of each address that changed what is known of it."""
    changes = [
        BackendChange(
            upstream="",
            address=address,
            old=Backend() if address in went else None,
            new=Backend() if address in came else None,
        )
        for address in sorted(came | went)
    ]
    sentences = list(reasons(changes[:CAUSES_NAMED], answers))
    yield from (sentence.strip() for sentence in sentences)
    if len(changes) > CAUSES_NAMED:
        yield f"and {len(changes) - CAUSES_NAMED} more"
