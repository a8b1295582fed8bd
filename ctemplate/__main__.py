"""The way into the program: ``ctemplate`` and ``python -m ctemplate``."""

from __future__ import annotations

import pkgutil

from ctemplate.core.early_signals import hold_signals


def enter_program() -> None:
    """Run the command line; signals are held before the first import that takes time."""
    hold_signals()
    pkgutil.resolve_name("ctemplate.cli:main")()


if __name__ == "__main__":
    enter_program()
