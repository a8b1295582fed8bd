"""Understand what `nginx -t` says: which messages refuse, which warn, and which words must not be repeated.

Pure. Must not know where candidates lie or how nginx was started.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass

REFUSING = frozenset({"emerg", "alert", "crit"})
HIDDEN = '"…"'
_MESSAGE = lazy_pattern(
    r"(?:nginx: |\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )\[(?P<level>[a-z]+)\] (?:\d+#\d+: )?(?:\*\d+ )?(?P<text>.*)", re.DOTALL
)
_CLOSING = lazy_pattern(r"nginx: (?:the )?configuration file .* (?:syntax is ok|test is successful|test failed)$")
_PLACE = lazy_pattern(r" in (?P<file>/.*):(?P<line>\d+)$", re.DOTALL)
_TELLING = lazy_pattern(
    r'(?:[^"]*(?:\(\)|\b(?:certificate|certificate key|zone)) "[^"\s]+"'  # what was opened or allocated
    r'|host not found in (?:resolver|upstream) "[\w.:-]+"'  # a name that does not resolve
    r'|[^"]*(?<!directive )"[a-z0-9_]+"(?= directive\b))*'  # a directive that nginx knows
)
_QUOTED = lazy_pattern(r'".*"', re.DOTALL)
_QUOTED_TO_THE_END = lazy_pattern(r'".*', re.DOTALL)
_UNCUT = 1500  # nginx cuts a message at 2,048 bytes, and with it the place that says whose content it repeats
_FORBIDDEN = lazy_pattern(r"\b(?:Permission denied|Operation not permitted|Read-only file system)\b")
_FORBIDDEN_BIND = lazy_pattern(r"bind\(\) to .* failed \((?:1|13|30): ")  # EPERM, EACCES, EROFS
_UNPRIVILEGED = 'the "user" directive makes sense only if the master process runs with super-user privileges'


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxMessage:
    """One message of nginx: its level, its words, and the place in a configuration file at their end, if any."""

    level: str
    text: str
    file: Path | None = None
    line: int | None = None

    @property
    def refuses(self) -> bool:
        """Whether nginx would not run with this, whatever its exit status."""
        return self.level in REFUSING

    def __str__(self) -> str:
        place = f" in {self.file}:{self.line}" if self.file else ""
        return f"nginx: [{self.level}] {self.text}{place}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxVerdict:
    """The result of a test: its exit status, nginx's lines that refuse and those that warn, safe to show."""

    status: int
    refusals: tuple[str, ...]
    warnings: tuple[str, ...]
    has_rights: bool = True

    @property
    def lacks_rights(self) -> bool:
        """Whether all that refuses is a right that we lack and nginx's master has: to read a file, for one."""
        return not self.has_rights and bool(self.refusals) and all(_FORBIDDEN.search(line) for line in self.refusals)

    @property
    def is_refused(self) -> bool:
        """Whether nginx would not run the configuration."""
        return bool(self.status or self.refusals)


def nginx_verdict(
    status: int,
    lines: Iterable[str],
    *,
    ours: Collection[Path],
    translate: Callable[[str], str] = str,
    has_rights: bool = True,
) -> NginxVerdict:
    """Judge a test by its exit status and all its output; `ours` are the live paths of the candidates.

    Quoted content of any other file is hidden: nginx repeats parts of it, which may be a secret. That a test
    without nginx's rights may not bind a port is nothing against the configuration, which was read to its end by then.
    """
    found = [safe(message, ours) for message in messages(translate(line) for line in lines)]
    if not has_rights:
        found = [message for message in found if not message.text.startswith(_UNPRIVILEGED)]
        allowed = [message for message in found if not _FORBIDDEN_BIND.match(message.text)]
        is_bind_alone = len(allowed) < len(found) and not any(message.refuses for message in allowed)
        found, status = allowed, 0 if is_bind_alone else status
    refusals = tuple(str(message) for message in found if message.refuses)
    warnings = tuple(str(message) for message in found if not message.refuses and message.level != "notice")
    return NginxVerdict(status=status, refusals=refusals, warnings=warnings, has_rights=has_rights)


def messages(lines: Iterable[str]) -> Iterator[NginxMessage]:
    """Yield messages; a line that starts none belongs to the one before, whose quoted content held a line feed."""
    pending: list[str] = []
    for line in lines:
        if _MESSAGE.match(line) or _CLOSING.match(line):
            yield from _message(pending)
            pending = []
        if not _CLOSING.match(line):
            pending.append(line)
    yield from _message(pending)


def _message(lines: list[str]) -> Iterator[NginxMessage]:
    """Yield the message of these lines; words that follow no message, of the loader for one, refuse by themselves."""
    if not lines:
        return
    text = "\n".join(lines)
    match = _MESSAGE.match(text)
    level, text = (match["level"], match["text"]) if match else ("emerg", text)
    place = _PLACE.search(text)
    if place is None:
        yield NginxMessage(level=level, text=text)
    else:
        yield NginxMessage(level=level, text=text[: place.start()], file=Path(place["file"]), line=int(place["line"]))


def safe(message: NginxMessage, ours: Collection[Path]) -> NginxMessage:
    """Hide quoted content unless it comes from a candidate; names of directives, opened files and zones stay."""
    if message.file in ours or (message.file is None and len(message.text) < _UNCUT):
        return message
    prefix = _TELLING.match(message.text)
    shown = prefix.end() if prefix else 0
    content = _QUOTED if message.file else _QUOTED_TO_THE_END
    text = message.text[:shown] + content.sub(HIDDEN, message.text[shown:])
    return NginxMessage(level=message.level, text=text, file=message.file, line=message.line)
