"""Write a verb's output to the file of ``-o`` or to the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from ctemplate.core.errors import ConfigError

STANDARD_OUTPUT = (None, "-")
"""The values of ``-o`` that write to standard output."""

OTHER_CONTENT = "with another content; nothing is written; use -force to replace it"


def write_output(text: str, path: str | None) -> None:
    """Write to the file of ``-o``, or to standard output, as for ``-``."""
    if path in STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    with _write_errors(path):
        Path(path).write_text(text, encoding="utf-8")


def write_new_output(text: str, path: str | None, *, may_replace: bool) -> None:
    """Write as ``write_output``; raises ConfigError if the file exists with another content.

    The file may be edited after it was written, so it is only overwritten if ``may_replace``.
    """
    if path not in STANDARD_OUTPUT and not may_replace:
        with _write_errors(path):
            if Path(path).is_file() and Path(path).read_bytes() not in {b"", text.encode()}:  # nothing, or the same
                raise ConfigError(path, f"exists already, {OTHER_CONTENT}")
    write_output(text, path)


@contextlib.contextmanager
def _write_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ConfigError("-o", f"{path} cannot be written: {(exc.strerror or str(exc)).lower()}") from exc
