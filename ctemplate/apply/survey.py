"""Compare a group's outputs with the live files and the ledger: what differs, and whether a reload is due.

Reads, never writes.
"""

from __future__ import annotations

import grp
import os
import pwd
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ctemplate.apply.group import LiveChange, OnEdit
from ctemplate.apply.item_files import with_item_files
from ctemplate.apply.ledger import Accepted, Ledger, fingerprint
from ctemplate.apply.state import GroupState
from ctemplate.core.errors import SwapFailed
from ctemplate.core.event_stream import emit
from ctemplate.core.file_events import LiveFileEdited
from ctemplate.core.model import Output
from ctemplate.core.values import dataclass
from ctemplate.system.files import DEFAULT_MODE, Live, read_live, resolved

NO_ID = 2**32 - 1  # to the kernel this means "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One output and the live file at its destination; mode, uid and gid are the wanted ones.

    ``content`` is None for a file to be removed, ``digest`` its fingerprint, made once. ``is_left``: another program
    changed the live file, and the group leaves such files unchanged.
    """

    destination: Path
    content: bytes | None
    live: Live
    mode: int
    uid: int
    gid: int
    accepted: Accepted | None
    digest: str = ""
    is_item: bool = False
    is_left: bool = False
    has_backup: bool = False
    makes_folder: bool = True

    @property
    def path(self) -> Path:
        """The real file, behind symbolic links."""
        return Path(self.live.path)

    @property
    def has_new_content(self) -> bool:
        """Whether the live bytes differ from the output."""
        return self.live.content != self.content

    @property
    def has_new_attributes(self) -> bool:
        """Whether the live bytes are right, but mode or owner are not."""
        wanted = (self.mode, self.uid, self.gid)
        is_whole = self.content is not None and not self.has_new_content
        return is_whole and (self.live.mode, self.live.uid, self.live.gid) != wanted

    @property
    def is_accepted(self) -> bool:
        """Whether the ledger records this content; unrecorded content counts as accepted when it is live."""
        if self.accepted is None or self.content is None:
            return not self.has_new_content
        return self.accepted.sha256 == self.digest

    @property
    def is_edited(self) -> bool:
        """Whether another program changed the live file while its rendering stayed the same."""
        return self.accepted is not None and self.has_new_content and self.is_accepted

    @property
    def is_unknown(self) -> bool:
        """Whether the ledger does not say of the file what it should."""
        return (self.accepted is None) is (self.content is not None)

    def to_record(self) -> Accepted | None:
        """Return what the ledger says once this output is live; None for a file that is gone."""
        return (
            None
            if self.content is None
            else Accepted(
                sha256=self.digest,
                size=len(self.content),
                mode=self.mode,
                uid=self.uid,
                gid=self.gid,
                at=time.time(),
                is_item=self.is_item,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A group's files compared.

    A reload is due for new content, for one that is owed, and for live content that we never loaded into the program.
    """

    files: tuple[Compared, ...]
    is_reload_due: bool

    @property
    def rewrites(self) -> tuple[Compared, ...]:
        """The files that get new content."""
        return tuple(file for file in self.files if file.has_new_content and not file.is_left)

    @property
    def changes(self) -> tuple[Compared, ...]:
        """The files that change: those with new content, then those with a new mode or owner."""
        return (*self.rewrites, *(file for file in self.files if file.has_new_attributes))

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.changes or self.is_reload_due)

    @property
    def is_unknown(self) -> bool:
        """Whether the ledger has no record yet of one of the files, or one of a file that is gone."""
        return any(file.is_unknown for file in self.files)

    @property
    def has_items(self) -> bool:
        """Whether a changed file belongs to an item of a list: the record that it is ours must survive a kill."""
        return any(file.is_item for file in self.changes)

    @property
    def change(self) -> LiveChange:
        """The change that the program has to load once the files are in place."""
        return LiveChange(
            files=tuple(file.destination for file in self.files if file.content is not None),
            before={file.destination: file.live.content for file in self.rewrites},
            after={file.destination: file.content or b"" for file in self.rewrites},
        )

    @property
    def records(self) -> dict[str, Accepted | None]:
        """The ledger's records once all of this is live."""
        return {str(file.destination): file.to_record() for file in self.files if not file.is_left}

    @property
    def subject(self) -> str:
        """The group's live files, as the subject of a sentence about all of them."""
        return "the live file" if len(self.files) == 1 else "every live file"


def surveyed(outputs: tuple[Output, ...], state: GroupState) -> Survey:
    """Compare the outputs with the live files; raises SwapFailed when one cannot be read or its owner is unknown."""
    whole = with_item_files(outputs, state.ledger.page.files, state.edits)
    compared = tuple(_judged(_compared(output, state.ledger), state) for output in whole)
    is_new = any((file.has_new_content and not file.is_left) or not file.is_accepted for file in compared)
    return Survey(files=compared, is_reload_due=is_new or state.ledger.page.owes_reload)


def _compared(output: Output, ledger: Ledger) -> Compared:
    target, destination = output.target, output.target.destination.absolute()
    try:
        live = read_live(resolved(destination))
    except OSError as exc:
        raise SwapFailed(str(destination), f"cannot be read: {exc.strerror or exc}") from exc
    is_there = live.content is not None
    uid, gid = (live.uid, live.gid) if is_there else (os.geteuid(), os.getegid())
    return Compared(
        destination=destination,
        content=output.content,
        live=live,
        mode=target.mode if target.mode is not None else live.mode if is_there else DEFAULT_MODE,
        uid=uid if target.user is None else _id(destination, "user", target.user, _user_id),
        gid=gid if target.group is None else _id(destination, "group", target.group, _group_id),
        accepted=ledger.accepted(destination),
        digest="" if output.content is None else fingerprint(output.content),
        is_item=target.each is not None or output.content is None,
        has_backup=target.has_backup,
        makes_folder=target.makes_folder,
    )


def _user_id(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _group_id(name: str) -> int:
    return grp.getgrnam(name).gr_gid


def _id(destination: Path, kind: str, name: str, look_up: Callable[[str], int]) -> int:
    """Return the number of a user or a group given by name or number."""
    try:
        number = int(name) if name.isdecimal() else look_up(name)
    except (KeyError, ValueError):  # ValueError: a NUL character, too many digits
        number = NO_ID
    if number >= NO_ID:
        raise SwapFailed(str(destination), f"{kind} {name!r} does not exist; the live file is untouched")
    return number


def _judged(file: Compared, state: GroupState) -> Compared:
    """Report once that another program changed a file, and whether it is left as it is."""
    if not file.is_edited:
        state.edits.pop(file.destination, None)
        return file
    is_left = state.group.on_edit is OnEdit.REPORT
    seen = fingerprint(file.live.content) if file.live.content is not None else ""
    if state.edits.get(file.destination) != seen:
        state.edits[file.destination] = seen
        about = {"group": state.group.name, "subject": state.group.subject, "path": str(file.destination)}
        emit(LiveFileEdited(**about, is_removed=not seen, is_left=is_left))
    return replace(file, is_left=is_left)
