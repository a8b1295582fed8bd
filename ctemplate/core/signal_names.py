"""Signals in the operator's form: ``SIGHUP``, ``HUP``, or ``none``. Pure."""

from __future__ import annotations

import signal

NO_SIGNAL = "none"
NOTHING_SENT = frozenset({"", "NONE", "SIGNULL"})
"""Words of other programs for no signal."""


class SignalName(str):
    """The name of a signal of this system, in capitals, or ``none``."""

    __slots__ = ()

    @property
    def number(self) -> signal.Signals | None:
        """Return the signal; None for no signal."""
        return None if self == NO_SIGNAL else signal.Signals[self]


def parse_signal(value: object) -> SignalName:
    """Return the signal with this name; raises ValueError with a sentence for the operator."""
    word = value.strip().upper() if isinstance(value, str) else ""
    if word in NOTHING_SENT and isinstance(value, str):
        return SignalName(NO_SIGNAL)
    for name in (word, f"SIG{word}"):
        if name in signal.Signals.__members__:
            return SignalName(name)
    raise ValueError(f"must be the name of a signal like SIGHUP, or none, got {value!r}")
