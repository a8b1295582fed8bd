"""The named moments of a transaction, for whoever wants to watch one go by."""

from __future__ import annotations

import enum
from collections.abc import Callable


class Step(enum.Enum):
    """What has just been done; `transaction` tells what is true on disk then."""

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
    """Let a step go by."""
