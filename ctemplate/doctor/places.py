"""Judge facts about folders: destinations, owners, free space, includes that match a candidate, state. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ctemplate.doctor.diagnosis import Diagnosis, error, ok, warning

LEAST_FREE_BYTES = 16 * 1024 * 1024
"""Bytes. With less space a candidate and the backups may not fit; a full disk keeps old files and takes no new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFacts:
    """A folder for files. ``existing`` is its nearest parent that exists; ``free_bytes`` is the space on its disk."""

    path: Path
    existing: Path
    is_folder: bool
    is_writable: bool
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationFacts:
    """One destination. ``kind`` says what exists there: a file, nothing, or something that cannot be replaced.

    ``owner_fault`` is the reason why the new file cannot get its owner, empty if it can. ``caught_by`` are nginx's
    includes, as ``file:line``, that would match a candidate beside the destination. ``holder`` is the process that
    writes it, ``is_held_by_ours`` whether that process uses the same state folder.
    """

    path: Path
    real: Path
    kind: str
    folder: FolderFacts
    owner_fault: str = ""
    caught_by: tuple[str, ...] = ()
    holder: str = ""
    is_held_by_ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFacts:
    """The state folder, whether all users may write to it, and why other users could replace it."""

    folder: FolderFacts
    is_open: bool = False
    weakness: str = ""


def judged_destination(facts: DestinationFacts) -> Iterator[Diagnosis]:
    """Yield the lines about a destination."""
    what = str(facts.path)
    link = f", a link to {facts.real}" if facts.real != facts.path else ""
    if facts.kind not in {"file", "nothing"}:
        yield error(what, f"is {facts.kind}", "give a path for a file")
    elif diagnosis := _unusable(facts.folder):
        yield diagnosis
    else:
        yield ok(what, f"can be {'replaced' if facts.kind == 'file' else 'written'}{link}")
    if facts.owner_fault:
        yield error(what, facts.owner_fault, "correct the owner, or run ctemplate as root")
    if facts.caught_by:
        fix = "narrow the pattern, such as to *.conf"
        yield error(what, f"its candidate would be included by {', '.join(facts.caught_by)}", fix)
    if facts.holder and facts.is_held_by_ours:
        yield ok(what, f"is written by the running ctemplate, {facts.holder}")
    elif facts.holder:
        yield warning(what, f"is held by another ctemplate, {facts.holder}", "a second one on it would not start")


def judged_state(facts: StateFacts) -> Iterator[Diagnosis]:
    """Yield the lines about the state folder."""
    what = f"state folder {facts.folder.path}"
    if facts.is_open:
        yield error(what, "is writable by everybody", "give it mode 0700")
    elif facts.weakness:
        fix = "remove that right, or choose another state folder"
        yield error(what, f"others could put something else there: {facts.weakness}", fix)
    elif diagnosis := _unusable(facts.folder, what):
        yield diagnosis
    else:
        is_there = facts.folder.existing == facts.folder.path
        yield ok(what, "can be used" if is_there else "does not exist yet and can be made")


def _unusable(facts: FolderFacts, what: str = "") -> Diagnosis | None:
    """Return why files cannot be written to a folder, or that they may not fit."""
    what = what or str(facts.path)
    if not facts.is_folder:
        return error(what, f"{facts.existing} is no folder", "give a path below a folder")
    if not facts.is_writable:
        return error(what, f"no right to write into {facts.existing}", "give the user of ctemplate write access to it")
    if facts.free_bytes < LEAST_FREE_BYTES:
        return error(what, f"{facts.free_bytes // 1024} KiB free on its disk", "make room")
    return None


def judged_selinux(mode: str) -> Iterator[Diagnosis]:
    """Yield a hint if SELinux enforces; ``mode`` is the kernel's mode, empty without SELinux."""
    if mode.strip() == "1":
        fix = "if nginx may not read a file, run restorecon on it and give its folder the type httpd_config_t"
        yield warning("SELinux", "enforcing: a new file gets the type of its folder", fix)
