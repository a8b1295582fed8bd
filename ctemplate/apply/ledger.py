"""The ledger: what a group's program last accepted, durable, apart from what is on disk.

One JSON file, replaced as a whole. A destination's record names the content that ctemplate wrote there; ``owes_reload``
means that no program was proven yet to run it. ``proven`` are the processes proven to run it, since the files that a
program has loaded are gone when its process ends. ``placed`` is when files were last put in place. ``serial`` counts
journaled transactions: writing the ledger with a transaction's serial ends the transaction, committed or rolled back.
``configuration`` names the configuration files of the process that wrote the group last: a later process with the same
ones knows by it which files it no longer writes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ctemplate.core.errors import reason_of
from ctemplate.core.event_stream import emit
from ctemplate.core.host_events import StateUnusable
from ctemplate.system.files import write_private
from ctemplate.system.ownership import read_private
from ctemplate.system.uptime import Moment, RunningProcess, now

UNKNOWN_LEDGER = "the files that it names count as unknown; its group, if there still is one, is reloaded once"
LEDGER_VERSION = 1
PROVEN_AT_MOST = 4  # an executable that is upgraded runs in two processes, and may switch between them


class Accepted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The content, mode and owner that a destination was given; ``at`` is wall-clock seconds.

    ``is_item``: it was made for an item of a list, and goes when that goes.
    """

    sha256: str
    size: int
    mode: int
    uid: int
    gid: int
    at: float
    is_item: bool = False


class LedgerPage(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger's content; ``result`` is the outcome of the last transaction in one word."""

    version: int = LEDGER_VERSION
    serial: int = 0
    owes_reload: bool = False
    result: str = ""
    at: float = 0.0
    files: Mapping[str, Accepted] = {}
    proven: tuple[RunningProcess, ...] = ()
    placed: Moment | None = None
    configuration: str = ""


def fingerprint(content: bytes) -> str:
    """Return the content's SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_ledger(path: Path, *, is_reported: bool = True) -> LedgerPage:
    """Read a ledger; a missing one is empty.

    An unreadable one may have owed a reload: it is returned as empty and owing one, with a warning, unless the process
    has reported it already.
    """
    try:
        page = msgspec.json.decode(read_private(path), type=LedgerPage)
    except FileNotFoundError:
        return LedgerPage()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
        what = f"cannot be read: {reason_of(exc)}"
    else:
        if page.version == LEDGER_VERSION:
            return page
        what = f"has version {page.version}, not {LEDGER_VERSION}"
    if is_reported:
        emit(StateUnusable(path=str(path), reason=what, consequence=UNKNOWN_LEDGER))
    return LedgerPage(owes_reload=True)


class Ledger:
    """One group's ledger. One owner; every change is on disk when the call returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._page = read_ledger(path)

    @property
    def page(self) -> LedgerPage:
        """The ledger's present content."""
        return self._page

    def accepted(self, destination: Path) -> Accepted | None:
        """Return what the destination was last given, if anything."""
        return self._page.files.get(str(destination))

    @property
    def item_files(self) -> frozenset[Path]:
        """The files that stand by our hand for items of lists."""
        return frozenset(Path(path) for path, record in self._page.files.items() if record.is_item)

    def settle(
        self,
        result: str,
        *,
        owes_reload: bool,
        records: Mapping[str, Accepted | None] | None = None,
        serial: int | None = None,
        durable: bool = True,
        proven: RunningProcess | None = None,
        is_placed: bool = False,
    ) -> None:
        """Write down how a transaction ended and which files it left (others keep their record; None: it is gone).

        ``proven`` is a process proven to run them; there is none while a reload is owed. ``is_placed``: files were just
        put in place. ``serial`` is the transaction's, by default the next one. A write error is logged, and the process
        continues with the state in memory.
        """
        known: dict[str, Accepted | None] = {**self._page.files, **(records or {})}
        self._page = LedgerPage(
            serial=self._page.serial + 1 if serial is None else serial,
            owes_reload=owes_reload,
            result=result,
            at=time.time(),
            files={path: record for path, record in known.items() if record is not None},
            proven=() if owes_reload else self._proven(proven, records or {}),
            placed=now() if is_placed else self._page.placed,
            configuration=self._page.configuration,
        )
        self._write(durable=durable)

    def _proven(
        self, process: RunningProcess | None, records: Mapping[str, Accepted | None]
    ) -> tuple[RunningProcess, ...]:
        """Return the processes that run the files: this one, and the earlier ones unless a file has changed."""
        known = ((self._page.files.get(path), record) for path, record in records.items())
        is_new = any(before is not None and (not now or before.sha256 != now.sha256) for before, now in known)
        before = () if is_new else tuple(each for each in self._page.proven if each != process)
        return (*before, *((process,) if process else ()))[-PROVEN_AT_MOST:]

    def forget(self, destinations: frozenset[str]) -> None:
        """Drop the records of destinations that another ledger has taken over; remove a ledger that is empty then."""
        rest = {path: record for path, record in self._page.files.items() if path not in destinations}
        self._page = msgspec.structs.replace(self._page, files=rest)
        if rest:
            self._write(durable=True)
        else:
            self.path.unlink(missing_ok=True)

    def claim(self, configuration: str) -> None:
        """Note whose files these are; an empty name leaves the former one."""
        if not configuration or configuration == self._page.configuration:
            return
        self._page = msgspec.structs.replace(self._page, configuration=configuration)
        if self._page.files:
            self._write(durable=False)

    def write_again(self) -> None:
        """Write the content in memory to the file, which was deleted; a write error is logged."""
        self._write(durable=True)

    def _write(self, *, durable: bool) -> None:
        try:
            write_private(self.path, msgspec.json.format(msgspec.json.encode(self._page)), durable=durable)
        except OSError as exc:
            what, then = f"cannot be written: {exc.strerror or exc}", "known to this process only"
            emit(StateUnusable(path=str(self.path), reason=what, consequence=then, is_error=True))
