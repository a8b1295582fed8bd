"""Write a verb's output to the file of ``-o`` or to the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from ctemplate.core.errors import ConfigError


def write_output(text: str, path: str | None) -> None:
    """Write to the file of ``-o``, or to the terminal."""
    if path is None:
        sys.stdout.write(text)
        return
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigError("-o", f"{path} cannot be written: {(exc.strerror or str(exc)).lower()}") from exc
