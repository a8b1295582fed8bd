"""The control socket of a running ctemplate: it lies in the state folder, where only its owner can reach it.

Its name comes from the destinations. The process that holds their locks serves it and replaces a dead one's socket.

One request and one reply, each a line of JSON. What a release means is the guard's to decide.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ctemplate.apply.state import make_private
from ctemplate.catalog import Catalog
from ctemplate.core.defects import Defects
from ctemplate.core.errors import StateError
from ctemplate.core.event_stream import emit
from ctemplate.core.events import Released
from ctemplate.core.host_events import ReleaseUnavailable
from ctemplate.core.model import Query
from ctemplate.guard import Hold
from ctemplate.queries import kind_of
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.runtime.restoring import RESTORE_TIMEOUT, RestoreReply, RestoreRequest, restored_by
from ctemplate.status.report import Report, ReportNow
from ctemplate.system.files import make_folder

# Python 3.13 removes a socket by the path given here, which by then leads nowhere, and logs that as an error.
OWN_CLEANUP: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}

CONTROL_FOLDER = "control"  # the folder of the sockets, in the state folder
CONTROL_FOLDER_MODE = 0o700
PRIVATE_SOCKET = 0o600
SOCKET_LOOK_INTERVAL = 2.0  # seconds between looks at whether the socket is still at its path
CONTROL_TIMEOUT = 5.0  # seconds for a request or a reply
REQUEST_LIMIT_BYTES = 16 * 1024 * 1024


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Release the holds on one service, or all of them; or, with ``status``, only report; or ``restore`` files."""

    release: str | None = None
    status: bool = False
    restore: RestoreRequest | None = None


class ControlReply(msgspec.Struct, frozen=True, kw_only=True):
    """What was released, such as ``service(web): 3``, and the names of services of which more is held."""

    released: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


async def serve(
    path: Path, catalog: Catalog, report: ReportNow, workers: Callable[[], Iterable[GroupWorker]] = tuple
) -> None:
    """Serve requests until cancelled; where the socket cannot be made, log that and return. A deleted one is replaced.

    ``workers`` returns the current group workers, which may use last good data.
    """
    defects = Defects()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError), contextlib.closing(writer):
            async with asyncio.timeout(CONTROL_TIMEOUT):
                request = msgspec.json.decode(await reader.readline(), type=Request)
            try:
                reply = await _reply(request, catalog, report, tuple(workers()), state_dir=path.parent.parent)
            except Exception as exc:  # noqa: BLE001 - a defect, of any kind; who asked sees the line end
                defects.report(f"{path}: a request", exc)
                return
            async with asyncio.timeout(CONTROL_TIMEOUT):
                writer.write(msgspec.json.encode(reply) + b"\n")
                await writer.drain()

    while (server := await _listening(path, answer)) is not None:
        try:
            async with server:
                await server.start_serving()
                await _deleted(path)
        finally:
            _remove(path)


async def _listening(path: Path, answer: Callable[..., Awaitable[None]]) -> asyncio.Server | None:
    """Return a server on a new socket that does not serve yet; log why where none can be made."""
    try:
        make_folder(path.parent.parent, CONTROL_FOLDER_MODE)
        make_private(path.parent)
        _remove_stale(path)
        with _short_path(path) as short:
            server = await asyncio.start_unix_server(answer, short, start_serving=False, **OWN_CLEANUP)
            os.chmod(short, PRIVATE_SOCKET)  # noqa: PTH101 - nothing of a disk, which a Path would be taken for
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        emit(ReleaseUnavailable(reason=f"{path.parent}: no socket can be made: {reason}"))
        return None
    except StateError as exc:
        emit(ReleaseUnavailable(reason=str(exc), is_error=True))
        return None
    return server


async def _deleted(path: Path) -> None:
    """Wait until the socket is gone, but its state folder is there: the next change makes a deleted one again."""
    while os.path.lexists(path) or not os.path.isdir(path.parent.parent):  # noqa: ASYNC110, ASYNC240, PTH112 - a deletion has no event
        await asyncio.sleep(SOCKET_LOOK_INTERVAL)


async def _reply(
    request: Request, catalog: Catalog, report: ReportNow, workers: tuple[GroupWorker, ...], *, state_dir: Path
) -> ControlReply | RestoreReply | Report:
    if request.restore is not None:
        return await restored_by(workers, request.restore, state_dir=state_dir)
    return await report() if request.status else release_held(request.release, catalog, workers)


def _remove_stale(path: Path) -> None:
    """Remove the socket of a dead process: asyncio reports one that it cannot remove as an address in use."""
    if path.is_socket():
        path.unlink()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # the folder may be gone, or be something else by now
        path.unlink()


def release_held(
    service: str | None, catalog: Catalog, workers: tuple[GroupWorker, ...], *, by: str = "request"
) -> ControlReply:
    """Release what is held of a service, or of all, and report it; ``service`` may be a file that was restored."""
    unverified, holds = catalog.unverified_queries, catalog.release(service)
    seeing = sorted(map(str, unverified - catalog.unverified_queries))
    kept = sorted({name for worker in workers for name in worker.release(service)})
    unrestored = [subject for worker in workers for subject in worker.unrestore(service)]
    holds_ended = len(holds) + len(seeing) + len(kept) + len(unrestored)
    if holds_ended:
        emit(Released(by=by, service=service or "", holds=holds_ended))
    words = [f"{hold.query}: {len(hold.entries)}" for hold in holds]
    words += [f"{query}: its empty first answer" for query in seeing]
    words += [f"service({name}): its last good data" for name in kept]
    words += [f"{subject}: as it was restored" for subject in unrestored]
    still_kept = (name for worker in workers for name in worker.pipeline.services_kept if name not in kept)
    held = releasable_names(catalog.holds, catalog.unverified_queries, still_kept)
    return ControlReply(released=tuple(sorted(words)), held=held)


def releasable_names(
    holds: Iterable[Hold], unverified_queries: Iterable[Query], kept: Iterable[str]
) -> tuple[str, ...]:
    """Return the names of the services that a release can name."""
    names = set(kept)
    names.update(entry.name for hold in holds for entry in hold.entries)
    names.update(name for query in unverified_queries if (name := kind_of(query).service_name(query)) is not None)
    return tuple(sorted(names))


def answering(folder: Path) -> list[Path]:
    """Return the sockets in a folder that a process serves; sockets of dead processes stay where they are."""
    return [path for path in sorted(folder.glob("*.sock")) if _is_answered(path)]


def _is_answered(path: Path) -> bool:
    try:
        with _connected(path):
            return True
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True  # the later request then reports why it was refused


def ask(path: Path, request: Request) -> ControlReply | None:
    """Send a request to release; return the reply, None where no process serves it. Raises OSError and MsgspecError."""
    line = _exchanged(path, request)
    return None if line is None else msgspec.json.decode(line, type=ControlReply)


def ask_status(path: Path) -> Report | None:
    """Return the report of the process at a socket, None where there is none. Raises OSError and MsgspecError."""
    line = _exchanged(path, Request(status=True))
    return None if line is None else msgspec.json.decode(line, type=Report)


def ask_restore(path: Path, request: RestoreRequest) -> RestoreReply | None:
    """Ask the process behind a socket to restore files; return the result, None if no process listens.

    Raises OSError and MsgspecError.
    """
    line = _exchanged(path, Request(restore=request), patience=RESTORE_TIMEOUT)
    return None if line is None else msgspec.json.decode(line, type=RestoreReply)


def _exchanged(path: Path, request: Request, *, patience: float = CONTROL_TIMEOUT) -> bytes | None:
    try:
        with _connected(path) as line:
            line.settimeout(patience)
            line.sendall(msgspec.json.encode(request) + b"\n")
            with line.makefile("rb") as stream:
                return stream.readline(REQUEST_LIMIT_BYTES)
    except (ConnectionRefusedError, FileNotFoundError):
        return None


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as line, _short_path(path) as short:
        line.settimeout(CONTROL_TIMEOUT)
        line.connect(short)
        yield line


@contextlib.contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """Yield a path to the socket of at most 107 bytes, the system's limit, however long its folder's path is."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
