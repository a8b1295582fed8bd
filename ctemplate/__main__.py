"""The way into the program: ``ctemplate`` and ``python -m ctemplate``."""

from __future__ import annotations

import gc
import pkgutil

from ctemplate.core.early_signals import hold_signals


def enter_program() -> None:
    """Run the command line; signals are held before the first import that takes time.

    The collector of garbage is off until the command line is imported: all modules stay.
    """
    hold_signals()
    gc.disable()
    pkgutil.resolve_name("ctemplate.cli:main")()


if __name__ == "__main__":
    enter_program()
