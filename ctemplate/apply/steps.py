"""The named steps of a transaction, for observers."""

from __future__ import annotations

import enum
from collections.abc import Callable


class Step(enum.Enum):
    """A step that has just been done; `transaction` lists what is true on disk then."""

    SURVEYED = "surveyed"
    STAGED = "staged"
    CHECKED = "checked"
    JOURNALED = "journaled"
    SWAPPING = "swapping"
    SWAPPED = "swapped"
    RELOADED = "reloaded"
    RECORDED = "recorded"
    RESTORING = "restoring"
    RESTORED = "restored"


Observe = Callable[[Step], None]


def unobserved(_step: Step) -> None:
    """Ignore a step."""
