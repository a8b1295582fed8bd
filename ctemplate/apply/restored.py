"""The record that a group was restored: its files stay unchanged, also across restarts, until they are released.

One small file in the group's part of the state folder.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ctemplate.core.errors import reason_of
from ctemplate.core.event_stream import emit
from ctemplate.core.host_events import StateUnusable
from ctemplate.system.files import write_private
from ctemplate.system.ownership import read_private

RESTORED = "restored.json"
UNKNOWN_LABEL = "unknown"


class Restoration(msgspec.Struct, frozen=True, kw_only=True):
    """Which past state was restored and when, in wall-clock seconds; ``templates`` identify the templates of then."""

    label: str
    at: float
    templates: str

    def holds(self, templates: str) -> bool:
        """Return whether these templates leave the files restored; other ones than those of then end it."""
        return not templates or templates == self.templates or self.label == UNKNOWN_LABEL


def read_restoration(folder: Path) -> Restoration | None:
    """Return what a group was restored to, None where it was not; one that cannot be read counts, and is named."""
    path = folder / RESTORED
    try:
        return msgspec.json.decode(read_private(path), type=Restoration)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
        then = "the group's files stay as they are until released"
        emit(StateUnusable(path=str(path), reason=f"cannot be read: {reason_of(exc)}", consequence=then))
        return Restoration(label=UNKNOWN_LABEL, at=0.0, templates="")


def write_restoration(folder: Path, restoration: Restoration | None) -> None:
    """Write down that a group was restored, or with None that it is no longer; raises OSError."""
    path = folder / RESTORED
    if restoration is None:
        path.unlink(missing_ok=True)
    else:
        write_private(path, msgspec.json.format(msgspec.json.encode(restoration)))
