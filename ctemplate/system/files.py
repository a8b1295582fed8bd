"""Files on disk: read the live file, stage a candidate beside it, and replace it so that no reader sees half a file.

Raises plain OSErrors; the caller knows which destination to name. Must not know groups or programs.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from ctemplate.system.ownership import check_links

DEFAULT_MODE = 0o644
FOLDER_MODE = 0o755
LONGEST_NAME = 255  # bytes
CANDIDATE = ".ctemplate"
TOKEN_BYTES = 4
TOKEN = secrets.token_hex(TOKEN_BYTES)  # of this process: containers that share a folder may share a process id as well
_CANDIDATE_END = re.compile(rf"{re.escape(CANDIDATE)}(?:-[0-9a-f]{{{2 * TOKEN_BYTES}}})?\Z")
NO_RENAME = frozenset({errno.EBUSY, errno.EXDEV})  # a bind-mounted file; a mount between folder and file
NOT_COPIED = frozenset({errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA, errno.ENOENT, errno.ERANGE})


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The file at a path: ``content`` is None, and the other fields have no meaning, if there is none."""

    path: str
    content: bytes | None = None
    mode: int = DEFAULT_MODE
    uid: int = -1
    gid: int = -1
    mtime_ns: int = 0


def resolved(destination: Path) -> Path:
    """Return the real path behind a destination, following symbolic links, dangling ones too.

    Raises OSError: ELOOP if they form a loop, EPERM for a link that another user could have put there.
    """
    check_links(destination.absolute())
    real = Path(os.path.realpath(destination))
    if real.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(destination))
    return real


def read_live(path: Path) -> Live:
    """Read the file and its attributes; a folder, a device or a pipe is an error."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return Live(path=str(path))
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return Live(
        path=str(path),
        content=path.read_bytes(),
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
    )


def candidate_path(path: Path) -> Path:
    """Return the one name that this process gives to candidates for the path: hidden from ``*`` and ``*.conf``."""
    return path.with_name(hidden_name(path, f"{CANDIDATE}-{TOKEN}"))


def leftovers(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the candidates that exist beside the paths, from any process; each folder is read once."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(hidden_name(path, ""))
    for folder, known in names.items():
        with contextlib.suppress(OSError):
            found = sorted(entry.name for entry in os.scandir(folder) if CANDIDATE in entry.name)
            yield from (folder / name for name in found if _CANDIDATE_END.sub("", name) in known)


def hidden_name(path: Path, suffix: str) -> str:
    """Return the name of a hidden file beside the path; a name that is too long is replaced by its hash."""
    longest = LONGEST_NAME - len(f".{CANDIDATE}-") - 2 * TOKEN_BYTES
    is_long = len(os.fsencode(path.name)) > longest
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest() if is_long else path.name
    return f".{name}{suffix}"


def stage(path: Path, content: bytes, *, mode: int, uid: int, gid: int) -> Path:
    """Write a durable candidate beside the path, with final owner, extended attributes and mode; return its path.

    No other user can read it before it has its final mode. A leftover of the same name is replaced.
    """
    make_folder(path.parent)
    candidate = candidate_path(path)
    candidate.unlink(missing_ok=True)
    descriptor = os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, content)
        set_owner(descriptor, uid, gid)
        copy_attributes(path, descriptor)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    except BaseException:
        candidate.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return candidate


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of the content at the descriptor's position."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def set_owner(descriptor: int, uid: int, gid: int) -> None:
    """Set the open file's owner, unless it is right already."""
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (uid, gid):
        os.fchown(descriptor, uid, gid)


def copy_attributes(source: Path, descriptor: int) -> None:
    """Copy extended attributes, including SELinux labels and ACLs, as far as system and rights allow."""
    try:
        names = os.listxattr(source)
    except OSError:
        return
    for name in names:
        try:
            os.setxattr(descriptor, name, os.getxattr(source, name))
        except OSError as exc:
            if exc.errno not in NOT_COPIED:
                raise


def overwrite(path: Path, content: bytes, *, mode: int, uid: int, gid: int) -> None:
    """Write into the existing file, if a rename is impossible. Not atomic: only use under a journal."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        write_all(descriptor, content)
        os.ftruncate(descriptor, len(content))
        set_owner(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_attributes(path: Path, *, mode: int, uid: int, gid: int) -> None:
    """Set mode and owner of a file that keeps its content."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        set_owner(descriptor, uid, gid)
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def stands(old: Live) -> bool:
    """Return whether the file is unchanged: content, mode and owner, or absence."""
    now = read_live(Path(old.path))
    if old.content is None or now.content is None:
        return old.content is now.content
    return (now.content, now.mode, now.uid, now.gid) == (old.content, old.mode, old.uid, old.gid)


def restore(old: Live) -> None:
    """Bring the file back to its earlier state, or remove it if it was absent; an unchanged file is not touched."""
    if stands(old):
        return
    path = Path(old.path)
    if old.content is None:
        path.unlink()
    elif read_live(path).content == old.content:
        set_attributes(path, mode=old.mode, uid=old.uid, gid=old.gid)
    else:
        _put_back(path, old.content, old)
    sync_folder(path.parent)


def _put_back(path: Path, content: bytes, old: Live) -> None:
    """Put the old content back by a rename; without space or without renames, write into the existing file."""
    try:
        candidate = stage(path, content, mode=old.mode, uid=old.uid, gid=old.gid)
        try:
            candidate.replace(path)
        finally:
            candidate.unlink(missing_ok=True)
    except OSError:
        overwrite(path, content, mode=old.mode, uid=old.uid, gid=old.gid)
    os.utime(path, ns=(old.mtime_ns, old.mtime_ns))


def make_folder(folder: Path, mode: int = FOLDER_MODE) -> None:
    """Create the folder and its missing parents durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Sync the folder, so that the names in it are durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a private file (0600) as a whole, so that it is never seen half written."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, content)
        if durable:
            os.fsync(descriptor)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    fresh.replace(path)
    if durable:
        sync_folder(path.parent)
