"""The file with the daemon's process id."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ctemplate.core.errors import ConfigError
from ctemplate.system.ownership import check_links


@contextlib.contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Write the process id to the file while entered; the caller holds the locks, so the file is no other process's."""
    if path is None:
        yield
        return
    try:
        check_links(Path(path).absolute())
        Path(path).write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as exc:
        raise ConfigError("-pid-file", f"{path} cannot be written: {(exc.strerror or str(exc)).lower()}") from exc
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            Path(path).unlink()
