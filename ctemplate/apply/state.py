"""The state folder: private, one sub-folder per set of destinations, held by one process at a time.

::

    STATE_DIR/
        locks/HASH.lock                   one per real destination, flock held while a group is in use
        nginx.conf-HASH/                  0700, files 0600
            ledger.json                   what the program last accepted
            journal                       old files of the transaction in progress
            original/etc/nginx/…          the destination's file before ctemplate first wrote it, never deleted
            backups/000007/etc/nginx/…    generations of replaced files
            refused/000008/etc/nginx/…    candidates that were refused
            master.json                   the arguments of nginx's last master, for commands that name none
            restored.json                 that the files were restored, and stay so until released
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import stat
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import field
from functools import cached_property, partial
from pathlib import Path

from ctemplate.apply.group import Group, LiveChange
from ctemplate.apply.journal import Journal
from ctemplate.apply.ledger import Accepted, Ledger, LedgerPage, fingerprint, read_ledger
from ctemplate.apply.locks import DestinationLocks, StateLocks, is_locked, lock_beside
from ctemplate.apply.succession import Predecessor, migrate_state
from ctemplate.core.errors import StateError
from ctemplate.core.event_stream import emit
from ctemplate.core.host_events import StateUnusable
from ctemplate.core.values import dataclass
from ctemplate.system.file_watch import Signature, signature
from ctemplate.system.files import read_live, resolved, write_all
from ctemplate.system.ownership import weakness

log = logging.getLogger(__name__)

PRIVATE_FOLDER = 0o700
LEDGER = "ledger.json"
JOURNAL = "journal"
ORIGINAL = "original"
BACKUPS = "backups"
LOCKS = "locks"
STATE_DELETED = "was deleted while ctemplate runs"
STATE_MADE_AGAIN = "it is made again; the past states that were kept there are gone"


class Generations:
    """A bounded number of generations of files, newest last, each a small copy of the tree the files live in."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self._limit = limit
        self._paths: dict[Path, frozenset[Path]] = {}  # of each generation that this process wrote

    @property
    def generations(self) -> tuple[Path, ...]:
        """The kept generations' folders, oldest first."""
        return tuple(sorted(self.folder.iterdir())) if self.folder.is_dir() else ()

    def put(self, files: Mapping[Path, bytes]) -> Path | None:
        """Store a new generation and remove the oldest; return its folder.

        None: nothing to store, or the newest generation has it. An expiring generation with the same paths is
        overwritten, since creating and removing folders costs more than writing files.
        """
        if not files or self._limit < 1:
            return None
        kept = self.generations
        if kept and _holds(kept[-1], files):
            return None
        generation = self.folder / f"{int(kept[-1].name) + 1 if kept else 1:06d}"
        if len(kept) == self._limit > 1 and self._paths.get(kept[0]) == frozenset(files):
            kept[0].rename(generation)
        for path, content in files.items():
            _write_file(_inside(generation, path), content)
        for old in self.generations[: -self._limit]:
            shutil.rmtree(old, ignore_errors=True)
        self._paths = {path: paths for path, paths in self._paths.items() if path in kept}
        self._paths[generation] = frozenset(files)
        return generation


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """One group's part of the state folder, locked: its ledger, journal, backups and refused candidates.

    ``edits`` records which foreign changes were reported, by destination with a fingerprint of the content, and
    ``in_place`` which files cannot be renamed over, so that each is reported once. ``written`` are the real files that
    this process put in place, or put back, last, as they were then. ``locks`` are those beside the destinations.
    ``replaced`` has the last change that was committed, until a caller takes it. ``whole`` are destinations beside
    which nothing unfinished is left: the last transaction of this process ended with them in place. ``ensure`` makes
    the folder and its locks again where they were deleted; it raises StateError where that may not be.
    """

    group: Group
    folder: Path
    ensure: Callable[[], None]
    ledger: Ledger
    journal: Journal
    backups: Generations
    refused: Generations
    locks: DestinationLocks
    edits: dict[Path, str] = field(default_factory=dict)
    in_place: set[Path] = field(default_factory=set)
    written: dict[Path, Signature | None] = field(default_factory=dict)
    replaced: deque[LiveChange] = field(default_factory=lambda: deque(maxlen=1))
    whole: set[Path] = field(default_factory=set)

    @property
    def files(self) -> tuple[Path, ...]:
        """The absolute paths of all the group's files, those that stand for items of lists among them."""
        named = (target.destination.absolute() for target in self.group.targets if target.each is None)
        return (*named, *sorted(self.ledger.item_files))

    def keep_original(self, path: Path, content: bytes) -> Path | None:
        """Store permanently a file that ctemplate did not write; return where, None if one is stored already."""
        kept = _inside(self.folder / ORIGINAL, path)
        if kept.exists():
            return None
        _write_file(kept, content)
        return kept

    def wrote(self, destination: Path) -> bool:
        """Whether the file at the destination is the one that this process put there or put back, unchanged since.

        So is a missing one that it removed.
        """
        known = [
            self.written[path] for path in (destination, Path(os.path.realpath(destination))) if path in self.written
        ]
        return signature(destination) in known


@dataclass(slots=True)
class _Place:
    """What a group has in the state folder; ``times_made`` counts how often that folder was made."""

    folder: Path
    reals: frozenset[str]
    locks: StateLocks
    ledger: Ledger
    times_made: int


class StateFolder:
    """The folder of `-state-dir`, created private where it is missing; an existing one keeps its mode.

    What ctemplate keeps in it is private in any case. Raises StateError when others could put something in its place,
    or in place of a folder above it. ``configuration`` names whose files are written; empty for nobody's.
    """

    def __init__(self, path: Path, configuration: str = "") -> None:
        self.path = path
        self.configuration = configuration
        self._times_made = self._times_reported = 0
        self._making = threading.Lock()
        self._make()

    def _make(self) -> int:
        """Create the folder where it is missing, and check it; return how many times this process created it."""
        with self._making, _as_state_error(self.path):
            _check_place(self.path)
            if not self.path.is_dir():
                self.path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
                self._times_made += 1
            _check_place(self.path)
            make_private(self.path / LOCKS)
            return self._times_made

    @contextlib.contextmanager
    def hold(self, group: Group) -> Iterator[GroupState]:
        """Lock the group's destinations and open its state; release both on leaving.

        Raises StateError when another process, or another group of this one, holds one of the destinations.
        """
        with contextlib.ExitStack() as locks, _as_state_error(self.path):
            reals = sorted({str(resolved(destination)) for destination in group.destinations})
            inside = locks.enter_context(contextlib.closing(StateLocks()))
            for real in reals:
                inside.take(lock_file(self.path, real), real)
            beside = locks.enter_context(contextlib.closing(DestinationLocks()))
            for real in reals:
                _lock_beside(beside, Path(real))
            state = self._open(group, frozenset(reals), inside, beside)
            locks_held = locks.pop_all()
        try:
            with locks_held:
                yield state
        finally:
            self.__dict__.pop("_predecessors", None)

    def _open(self, group: Group, reals: frozenset[str], inside: StateLocks, beside: DestinationLocks) -> GroupState:
        folder = self.path / _folder_name(sorted(reals))
        make_private(folder)
        known = self._predecessors.get(folder)  # reading it again would repeat its warnings
        ledger = known.ledger if known else Ledger(folder / LEDGER)
        state = GroupState(
            group=group,
            folder=folder,
            ensure=partial(self._ensure, _Place(folder, reals, inside, ledger, self._times_made)),
            ledger=ledger,
            journal=Journal(folder / JOURNAL),
            backups=Generations(folder / BACKUPS, group.backups),
            refused=Generations(folder / "refused", group.refused),
            locks=beside,
        )
        migrate_state(
            state.ledger,
            state.journal,
            predecessors=tuple(other for path, other in self._predecessors.items() if path != folder),
            destinations=frozenset(str(destination) for destination in group.destinations),
            reals=reals,
            may_make=group.may_make,
        )
        state.ledger.claim(self.configuration)
        return state

    def _ensure(self, place: _Place) -> None:
        """Make a group's folder and locks again where they were deleted, and write its ledger; raises StateError."""
        if place.folder.is_dir() and place.locks.stand:
            return
        times_made = self._make()
        with _as_state_error(self.path):
            for real in sorted(place.reals):
                place.locks.take(lock_file(self.path, real), real)
            make_private(place.folder)
        place.ledger.write_again()
        with self._making:
            is_reported = place.times_made < times_made == self._times_reported
            gone = self.path if place.times_made < times_made else place.folder
            self._times_reported = place.times_made = times_made
        if not is_reported:
            emit(StateUnusable(path=str(gone), reason=STATE_DELETED, consequence=STATE_MADE_AGAIN))

    @cached_property
    def _predecessors(self) -> Mapping[Path, Predecessor]:
        """The state of earlier sets of destinations, by sub-folder; no two of these have a destination in common."""
        return {folder: Predecessor(Ledger(folder / LEDGER), Journal(folder / JOURNAL)) for folder in self.folders}

    @property
    def folders(self) -> tuple[Path, ...]:
        """The sub-folders of all sets of destinations that this state folder was ever used for."""
        return tuple(sorted(folder for folder in self.path.iterdir() if _is_ours(folder)))


def written_before(folder: Path) -> frozenset[Path]:
    """Return the destinations recorded in a state folder; none where it is missing or unreadable."""
    return frozenset(Path(destination).absolute() for page in _pages(folder) for destination in page.files)


def former_files(folder: Path, configuration: str, current: Collection[Path]) -> tuple[Path, ...]:
    """Return the files that stand as processes with this configuration wrote them, and that nobody writes now.

    ``current`` are the files that the configuration has now. A file that another program changed, or that another
    process holds, is not ours any more. Reads only; unreadable ledgers were reported when the groups' state was opened.
    """
    if not configuration:
        return ()
    ours = {place for path in current for place in (path.absolute(), resolved(path))}
    known = {
        Path(path): record
        for page in _pages(folder, is_reported=False)
        if page.configuration == configuration
        for path, record in page.files.items()
    }
    return tuple(sorted(path for path, record in known.items() if _is_left(path, record, ours)))


def _is_left(path: Path, record: Accepted, ours: Collection[Path]) -> bool:
    try:
        real = resolved(path)
        if path in ours or real in ours:
            return False
        content = read_live(real).content
        return content is not None and fingerprint(content) == record.sha256 and not is_locked(real)
    except OSError:
        return False


def _pages(folder: Path, *, is_reported: bool = True) -> list[LedgerPage]:
    """Return all ledgers of a state folder; none where it is missing or unreadable."""
    try:
        return [read_ledger(path, is_reported=is_reported) for path in sorted(folder.glob(f"*/{LEDGER}"))]
    except OSError:
        return []


def item_records(folder: Path, group: Group) -> Mapping[Path, Accepted]:
    """Return what a state folder knows of the files that stand for items of the group's lists; reads only."""
    known = ((Path(path), record) for page in _pages(folder) for path, record in page.files.items() if record.is_item)
    return {path: record for path, record in known if group.may_make(path)}


def group_folder(folder: Path, destinations: Iterable[Path]) -> Path:
    """Return the sub-folder of a state folder for the group with these destinations."""
    return folder / _folder_name(sorted({str(resolved(destination)) for destination in destinations}))


def lock_file(folder: Path, real: str) -> Path:
    """Return the file in a state folder whose lock guards a real destination."""
    return folder / LOCKS / f"{_short_hash(real)}.lock"


@contextlib.contextmanager
def _as_state_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        is_file = isinstance(exc, FileExistsError | NotADirectoryError)
        what = "is no folder" if is_file else str(exc.strerror or exc).lower()
        raise StateError(exc.filename or str(path), f"cannot be used: {what}") from exc


def _check_place(path: Path) -> None:
    """Raise StateError when others could put something else in place of the state folder or one above it."""
    place = path.absolute()
    found = weakness(place)
    if found is None:
        return
    where, what = found
    if where == place and place.is_dir() and place.lstat().st_uid == os.geteuid():
        raise StateError(str(path), f"{what}; give it mode 0700")
    raise StateError(str(where), f"{what}, who could put something else into {path}; choose another state folder")


def _lock_beside(locks: DestinationLocks, real: Path) -> None:
    """Lock a destination; a lock that cannot be made now is retried before anything is written."""
    try:
        locks.take(real)
    except OSError as exc:
        log.debug("%s: not locked yet: %s", lock_beside(real), exc.strerror)


def make_private(folder: Path) -> None:
    """Create a folder that only our user can access; one that another user owns is refused."""
    with contextlib.suppress(FileExistsError):  # the existing one is checked next
        folder.mkdir(mode=PRIVATE_FOLDER)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise StateError(str(folder), "is not a folder that belongs to this user")
    if stat.S_IMODE(status.st_mode) != PRIVATE_FOLDER:
        folder.chmod(PRIVATE_FOLDER)


def _is_ours(folder: Path) -> bool:
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and folder.name != LOCKS


def _short_hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]


def _folder_name(reals: list[str]) -> str:
    readable = "".join(char if char.isalnum() or char in "._-" else "_" for char in Path(reals[0]).name)
    return f"{readable[:80]}-{_short_hash(chr(0).join(reals))}"


def _inside(generation: Path, path: Path) -> Path:
    return generation / path.relative_to("/")


def _holds(generation: Path, files: Mapping[Path, bytes]) -> bool:
    """Whether a generation has these files with this content, and no others."""
    try:
        same = all(_inside(generation, path).read_bytes() == content for path, content in files.items())
    except FileNotFoundError:
        return False
    return same and sum(1 for path in generation.rglob("*") if path.is_file()) == len(files)


def _write_file(path: Path, content: bytes) -> None:
    if not path.parent.is_dir():
        for parent in reversed(path.parents):
            if not parent.exists():
                parent.mkdir(mode=PRIVATE_FOLDER)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, content)
    finally:
        os.close(descriptor)
