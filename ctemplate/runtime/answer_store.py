"""The last good answers on disk: a restart checks its first answers against them, and renders them if Consul is down.

One private file in the state folder, replaced as a whole. The caller decides when to write it. It names the
configuration files of the process: when their destinations change, and so the name of the file, the newest one counts.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar, Union

import msgspec

from ctemplate.core.errors import reason_of
from ctemplate.core.event_stream import emit
from ctemplate.core.host_events import StateUnusable
from ctemplate.core.model import Answer, ServerSet
from ctemplate.guard import Cause, Hold, Memory
from ctemplate.queries import KINDS, kind_of
from ctemplate.system.files import make_folder, write_private
from ctemplate.system.ownership import open_private

ANSWERS_VERSION = 1
ANSWERS = "answers-*.json"
FORMER_CAUSES = {  # by what earlier releases called them
    "UNSEEN": Cause.CONNECTION_GAP,
    "UNMOVED": Cause.INDEX_UNCHANGED,
    "ANOTHER": Cause.DIFFERENT_CLUSTER,
    "FLIPPED": Cause.MASS_FAILURE,
}
ANSWERS_LIMIT_BYTES = 128 * 1024 * 1024  # a hundred thousand instances
ANSWERS_FOLDER_MODE = 0o700

Sections = dict[str, msgspec.Raw]

AskedQuery = TypeVar("AskedQuery")
E = TypeVar("E")


class KeptHold(msgspec.Struct, Generic[E], frozen=True, kw_only=True, omit_defaults=True):
    """A hold; ``until`` is None where it has no end of its own. Moments are on the wall clock."""

    entries: tuple[E, ...]
    cause: str
    since: float
    until: float | None = None
    index: int = 0
    session: float = 0.0
    was_filtered: bool = False


class KeptAnswer(msgspec.Struct, Generic[AskedQuery, E], frozen=True, kw_only=True, omit_defaults=True):
    """An answer as it came, and what is held beside it."""

    query: AskedQuery
    value: tuple[E, ...]
    index: int = 0
    seen_at: float = 0.0
    filtered: bool = False
    session: float = 0.0
    holds: tuple[KeptHold[E], ...] = ()


class AnswerPage(msgspec.Struct, frozen=True, kw_only=True):
    """The file without its sections of answers; there is one section for each type of entry.

    ``written_at`` is on the wall clock; the time limits of holds are counted from then. ``configuration`` names the
    configuration files of the process; it is empty where there are none.
    """

    version: int
    configuration: str = ""
    written_at: float | None = None
    rolls: tuple[ServerSet, ...] = ()


class Version(msgspec.Struct, frozen=True):
    """The version, which every version of the file has, and whose answers these are."""

    version: int = 0
    configuration: str = ""


def _sections() -> dict[str, Any]:
    """Return the type of each section: its answers are to queries of any kind that is stored there."""
    entries: dict[str, type] = {}
    questions: dict[str, tuple[type, ...]] = {}
    for query, kind in KINDS.items():
        if kind.stored is not None:
            entries[kind.stored.section] = kind.stored.entry
            questions[kind.stored.section] = (*questions.get(kind.stored.section, ()), query)
    return {
        section: tuple[KeptAnswer[Union[questions[section]], entry], ...]  # type: ignore[valid-type]  # noqa: UP007
        for section, entry in entries.items()
    }


ANSWER_SECTIONS = _sections()


def writer_name(destinations: Iterable[Path]) -> str:
    """Return a short name for the process that writes these destinations; the locks on them admit one process."""
    reals = "\0".join(sorted(os.path.realpath(destination) for destination in destinations))
    return hashlib.sha256(os.fsencode(reals)).hexdigest()[:16]


def memory_path(state_dir: Path, destinations: Iterable[Path]) -> Path:
    """Return the file of the process that writes these destinations."""
    return state_dir / ANSWERS.replace("*", writer_name(destinations))


def newest_answers(path: Path, configuration: str) -> Path:
    """Return the newest file of this configuration; ``path`` is that of its present destinations. Blocks on the disk.

    Older ones do not count: what left since they were written would come back as last good answers.
    """
    mine = {path: _changed_at(path)} | {other: _changed_at(other) for other in _others(path, configuration)}
    return max(mine, key=lambda each: (mine[each], each == path))


def forget_others(path: Path, configuration: str) -> None:
    """Remove the files of this configuration's earlier destinations, once a newer one stands at ``path``."""
    for other in _others(path, configuration):
        with contextlib.suppress(OSError):
            other.unlink()


def _others(path: Path, configuration: str) -> tuple[Path, ...]:
    """Return the files beside ``path`` that the same configuration wrote for other destinations."""
    return tuple(other for other in path.parent.glob(ANSWERS) if other != path and _is_of(other, configuration))


def _is_of(path: Path, configuration: str) -> bool:
    try:
        _, _, content = _read_private(path)
        return bool(configuration) and msgspec.json.decode(content, type=Version).configuration == configuration
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return False


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return -math.inf


def save_answers(
    path: Path,
    memories: Iterable[Memory | ServerSet],
    *,
    wall: float,
    configuration: str = "",
    is_repeated: bool = False,
) -> bool:
    """Replace the file; return whether that worked, with a warning where it did not. Blocks on the disk.

    ``wall`` is the wall clock's now. ``is_repeated``: the last attempt failed, so that no other warning is due.
    """
    failed = functools.partial(StateUnusable, path=str(path), is_repeated=is_repeated)
    content = encoded_answers(memories, wall=wall, configuration=configuration)
    if len(content) > ANSWERS_LIMIT_BYTES:
        what = f"would have {len(content)} bytes, more than {ANSWERS_LIMIT_BYTES}"
        emit(failed(reason=what, consequence="it is not written"))
        return False
    try:
        make_folder(path.parent, ANSWERS_FOLDER_MODE)
        write_private(path, content)
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        then = "a restart will not know the last good answers"
        emit(failed(reason=f"cannot be written: {reason}", consequence=then))
        return False
    return True


def load_answers(path: Path, *, wall: float | None = None) -> tuple[Memory | ServerSet, ...]:
    """Return what the file holds; nothing where it is missing or, with a warning, unusable. Blocks on the disk.

    With ``wall``, the wall clock's now, holds have not aged since the file was written, however the clock was set.
    """
    try:
        size, changed_at, content = _read_private(path)
    except FileNotFoundError:
        return ()
    except OSError as exc:
        return _unusable(path, f"cannot be read: {reason_of(exc)}")
    if size > ANSWERS_LIMIT_BYTES:
        return _unusable(path, f"has {size} bytes, more than {ANSWERS_LIMIT_BYTES}")
    try:
        version = msgspec.json.decode(content, type=Version).version
        if version != ANSWERS_VERSION:
            return _unusable(path, f"is of version {version}, not {ANSWERS_VERSION}")
        return decoded_answers(content, wall=wall, changed_at=changed_at)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        return _unusable(path, f"is damaged: {exc}")


def encoded_answers(memories: Iterable[Memory | ServerSet], *, wall: float, configuration: str = "") -> bytes:
    """Return answers in their stored form; ``wall`` is the wall clock's now."""
    return _encoded(tuple(memories), wall, configuration)


def decoded_answers(
    content: bytes, *, wall: float | None = None, changed_at: float = 0.0
) -> tuple[Memory | ServerSet, ...]:
    """Return the answers in bytes that were kept; raises MsgspecError, ValueError or RecursionError. See load_answers.

    ``changed_at`` is when bytes were written that do not say so themselves.
    """
    page, sections = msgspec.json.decode(content, type=AnswerPage), msgspec.json.decode(content, type=Sections)
    paused = 0.0 if wall is None else wall - _written_at(page, changed_at)
    kept = (
        each
        for section, answers in ANSWER_SECTIONS.items()
        if section in sections
        for each in msgspec.json.decode(sections[section], type=answers)
    )
    return (*(_memory(each, paused) for each in kept), *page.rolls)


def written_at(path: Path) -> float:
    """Return when the answers of a usable file were written, on the wall clock; raises OSError. Blocks on the disk."""
    _, changed_at, content = _read_private(path)
    return _written_at(msgspec.json.decode(content, type=AnswerPage), changed_at)


def _written_at(page: AnswerPage, changed_at: float) -> float:
    return changed_at if page.written_at is None else page.written_at


def _read_private(path: Path) -> tuple[int, float, bytes]:
    """Return a private file's size, time of change and, unless it is too much, its content."""
    with open_private(path) as file:
        status = os.fstat(file.fileno())
        return status.st_size, status.st_mtime, file.read() if status.st_size <= ANSWERS_LIMIT_BYTES else b""


def _unusable(path: Path, what: str) -> tuple[Memory | ServerSet, ...]:
    emit(StateUnusable(path=str(path), reason=what, consequence="starting without the last good answers"))
    return ()


def _encoded(memories: tuple[Memory | ServerSet, ...], wall: float, configuration: str) -> bytes:
    sections: dict[str, list[KeptAnswer]] = {section: [] for section in ANSWER_SECTIONS}  # type: ignore[type-arg]
    for memory in memories:
        if isinstance(memory, Memory):
            stored = kind_of(memory.answer.query).stored
            if stored is None:
                raise TypeError(f"{memory.answer.query} is not stored")
            sections[stored.section].append(_kept(memory))
    page = AnswerPage(
        version=ANSWERS_VERSION,
        configuration=configuration,
        written_at=wall,
        rolls=tuple(memory for memory in memories if isinstance(memory, ServerSet)),
    )
    return msgspec.json.encode(msgspec.to_builtins(page) | sections)


def _kept(memory: Memory) -> KeptAnswer:  # type: ignore[type-arg]  # either kind
    answer = memory.answer
    return KeptAnswer(
        query=answer.query,
        value=answer.value,
        index=answer.index,
        seen_at=answer.seen_at,
        filtered=answer.filtered,
        session=answer.session,
        holds=tuple(
            KeptHold(
                entries=hold.entries,
                cause=hold.cause.name,
                since=hold.since,
                until=None if math.isinf(hold.until) else hold.until,
                index=hold.index,
                session=hold.session,
                was_filtered=hold.was_filtered,
            )
            for hold in memory.holds
        ),
    )


def _memory(kept: KeptAnswer, paused: float) -> Memory:  # type: ignore[type-arg]  # either kind
    answer = Answer(
        query=kept.query,
        value=kept.value,
        index=kept.index,
        seen_at=kept.seen_at,
        filtered=kept.filtered,
        session=kept.session,
    )
    holds = tuple(
        Hold(
            query=kept.query,
            entries=hold.entries,
            cause=_cause(hold.cause),
            since=hold.since + paused,
            until=math.inf if hold.until is None else hold.until + paused,
            index=hold.index,
            session=hold.session,
            was_filtered=hold.was_filtered,
        )
        for hold in kept.holds
    )
    return Memory(answer=answer, holds=holds)


def _cause(name: str) -> Cause:
    cause = FORMER_CAUSES.get(name) or Cause.__members__.get(name)
    if cause is None:
        raise ValueError(f"unknown cause {name!r}")
    return cause
