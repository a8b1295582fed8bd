"""Read files that an operator named, whatever their type: without waiting forever, and with links resolved.

A pipe such as ``-catalog <(…)`` is read if its writer closes it before the time limit. Knows nothing of the files'
content. Blocks: a path that may be a pipe must be read outside the event loop.
"""

from __future__ import annotations

import codecs
import errno
import os
import select
import stat
import time
from pathlib import Path
from typing import BinaryIO

PIPE_SECONDS = 10.0  # for the whole output of a shell's pipe, ``<(…)``
NAMED_PIPE_SECONDS = 2.0  # for a named pipe; most likely the operator does not know that it exists
CHUNK_BYTES = 1024 * 1024
NULL_DEVICE = os.makedev(1, 3)
MIB = 1024 * 1024


class NotUtf8Error(ValueError):
    """Content that is no text, as a sentence; ``line`` and ``column`` are the place of its first wrong byte."""

    def __init__(self, content: bytes, exc: UnicodeDecodeError) -> None:
        """Take the whole content, and the error of decoding it."""
        super().__init__(f"is not UTF-8: byte {content[exc.start]:#04x}; save the file as UTF-8")
        self.line = content.count(b"\n", 0, exc.start) + 1
        self.column = exc.start - content.rfind(b"\n", 0, exc.start)


def text_in(content: bytes) -> str:
    """Return a file's text, without the mark that editors of Windows put at its start; raise NotUtf8Error."""
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise NotUtf8Error(content, exc) from exc


def read_input(path: Path, *, limit_bytes: int) -> bytes:
    """Return the content of a regular file or a pipe; ``/dev/null`` is empty.

    Raises OSError with a sentence: for a folder, a device or a socket, for more than ``limit_bytes``, and for a pipe
    that was not written and closed in time.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            return _read_file(descriptor, path, limit_bytes)
        if stat.S_ISFIFO(status.st_mode):
            seconds = PIPE_SECONDS if status.st_dev == _device_of_pipes() else NAMED_PIPE_SECONDS
            return _read_pipe(descriptor, path, limit_bytes, seconds)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == NULL_DEVICE:
            return b""
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise _unfit(path, f"is a {'socket' if stat.S_ISSOCK(status.st_mode) else 'device'}, not a file")
    finally:
        os.close(descriptor)


def read_plain_file(path: Path, *, limit_bytes: int) -> bytes:
    """Return the content of a regular file; ``/dev/null`` is empty. Never waits, as a pipe would require.

    Raises OSError with a sentence for everything else, and for more than ``limit_bytes``.
    """
    if stat.S_ISFIFO(path.stat().st_mode):
        raise _unfit(path, "is a pipe, not a file")
    return read_input(path, limit_bytes=limit_bytes)


def real_path(path: Path) -> Path:
    """Return the absolute path behind all links; for links that form a loop, return the link in the loop.

    ``Path.resolve`` raises RuntimeError for such links before Python 3.13.
    """
    return Path(os.path.realpath(path))


def _read_file(descriptor: int, path: Path, limit_bytes: int) -> bytes:
    size = os.fstat(descriptor).st_size
    if size > limit_bytes:
        raise _too_large(path, limit_bytes)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        content = _chunk(file, path, size + 1)
        while len(content) > size and len(content) <= limit_bytes:  # it grew, or reports no size
            size = len(content)
            content += _chunk(file, path, CHUNK_BYTES)
    if len(content) > limit_bytes:
        raise _too_large(path, limit_bytes)
    return content


def _chunk(file: BinaryIO, path: Path, size_bytes: int) -> bytes:
    """Return the next bytes; raises OSError for a file of the kernel's in which reading would wait."""
    chunk: bytes | None = file.read(size_bytes)
    if chunk is None:
        raise _unfit(path, "is a file of the kernel's that gives nothing without waiting")
    return chunk


def _device_of_pipes() -> int:
    """Return the device of all unnamed pipes."""
    reader, writer = os.pipe()
    try:
        return os.fstat(reader).st_dev
    finally:
        os.close(reader)
        os.close(writer)


def _read_pipe(descriptor: int, path: Path, limit_bytes: int, seconds: float) -> bytes:
    """Return everything that the pipe's writers write until the last one closes it; raises OSError if it is empty."""
    content, deadline = bytearray(), time.monotonic() + seconds
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while (rest := deadline - time.monotonic()) > 0 and poll.poll(rest * 1000):
        try:
            chunk = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            continue
        if not chunk and content:
            return bytes(content)
        if not chunk:
            raise _unfit(path, "is a pipe in which nothing is left to read")
        content += chunk
        if len(content) > limit_bytes:
            raise _too_large(path, limit_bytes)
    said = f"{len(content)} bytes, and no end" if content else "nothing"
    raise _unfit(path, f"is a pipe that gave {said} within {seconds:g}s")


def _too_large(path: Path, limit_bytes: int) -> OSError:
    return OSError(errno.EFBIG, f"has more than {limit_bytes // MIB} MiB", str(path))


def _unfit(path: Path, what: str) -> OSError:
    return OSError(errno.EINVAL, what, str(path))
