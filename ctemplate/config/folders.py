"""The default state folder, for operators who name none. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def state_folder(environ: Mapping[str, str], *, is_root: bool, home: Path) -> Path:
    """Return systemd's state folder, else the user's, else ``/var/lib/ctemplate`` for root."""
    if given := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(given)
    if given := environ.get("XDG_STATE_HOME", ""):
        return Path(given) / "ctemplate"
    return Path("/var/lib/ctemplate") if is_root else home / ".local" / "state" / "ctemplate"
