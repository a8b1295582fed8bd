"""The folder of the templates that ship with ctemplate."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = _PACKAGE / "templates"
SHIPPED = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "templates"
"""Inside the installed package, or beside it in a source checkout."""
