"""The baseline of a group's last good rendering, kept in its part of the state folder.

Knows nothing of templates beyond the value that it keeps.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from ctemplate.apply import write_private
from ctemplate.core.values import dataclass
from ctemplate.template import Baseline

log = logging.getLogger(__name__)

NAME = "rendered.json"


@dataclass(slots=True, kw_only=True)
class LastRendered:
    """The file of one group; ``is_written`` is false for who only looks."""

    path: Path
    is_written: bool = True

    def load(self) -> Baseline | None:
        """Return what was kept, None where there is nothing, or nothing that can be read."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Baseline)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
            level = logging.WARNING if self.is_written else logging.DEBUG
            log.log(level, "%s: cannot be read: %s; the templates are judged as if they were new", self.path, exc)
            return None

    def save(self, baseline: Baseline) -> None:
        """Keep a baseline; a disk that refuses costs nothing but the memory of it."""
        if not self.is_written:
            return
        try:
            write_private(self.path, msgspec.json.encode(baseline), durable=False)
        except OSError as exc:
            log.warning("%s: cannot be written: %s; known to this process only", self.path, exc.strerror or exc)
