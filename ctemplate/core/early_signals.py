"""Signals before a process can handle them: from its first line until the daemon's own handlers are in place.

A signal that means something to a daemon must not end it in its first moments, and one that ends it must not look like
a crash. Imports nothing that takes time. Must not know what a signal means.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

HELD = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals whose default action would end a process that handles or ignores them later."""

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

_noted: list[signal.Signals] = []
_replaced: set[signal.Signals] = set()
"""The signals that this process was not started to ignore; empty in a process that is not ours, such as a test's."""


def hold_signals() -> None:
    """Note signals and do nothing else, until it is known what runs; a signal that the parent had ignored stays so."""
    _replaced.update(number for number in (*HELD, *ENDING) if signal.getsignal(number) is not signal.SIG_IGN)
    _handle((*HELD, *ENDING), _note)


def let_signals_interrupt(*also: signal.Signals) -> None:
    """Let what ends a process, and signals named here, raise KeyboardInterrupt; at once if one of them was noted."""
    numbers = (*ENDING, *also)
    _handle(numbers, _interrupt)
    if not set(numbers).isdisjoint(_noted):
        raise KeyboardInterrupt


def noted_signals() -> tuple[signal.Signals, ...]:
    """Return the signals noted since the last call, in their order; the caller acts on them."""
    noted = tuple(_noted)
    _noted.clear()
    return noted


def handle_late_signals(limit: Callable[[], None]) -> None:
    """Keep signals from ending a daemon while it ends by itself; those that end it call ``limit``."""
    _handle(HELD, _note)
    _handle(ENDING, lambda *_: limit())


def ignore_late_signals() -> None:
    """Keep signals that a daemon handled from changing the exit status while the interpreter ends."""
    for number in _replaced.intersection(HELD):
        signal.signal(number, signal.SIG_IGN)


def _handle(numbers: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], object]) -> None:
    for number in _replaced.intersection(numbers):
        signal.signal(number, handler)


def _note(number: int, _: FrameType | None) -> None:
    _noted.append(signal.Signals(number))


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Interrupt what runs; the note counts where the exception is lost, as in a destructor."""
    _note(number, frame)
    raise KeyboardInterrupt
