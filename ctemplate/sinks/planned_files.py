"""The planned files of groups in a run that replaces nothing: groups may need each other's files.

A daemon applies such groups one after the other; here the files of an accepted group stand in the place of the live
ones for all other groups. Must not know what files contain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from pathlib import Path

from ctemplate.config.groups import STDOUT
from ctemplate.core.model import Output
from ctemplate.core.values import dataclass
from ctemplate.system.inputs import real_path


@dataclass(slots=True, kw_only=True)
class PlannedFiles:
    """The accepted files of each group, by the group's name; those of ``held`` groups would not be applied."""

    held: frozenset[str] = frozenset()
    _of: dict[str, dict[Path, bytes]] = field(default_factory=dict, init=False)

    def accept(self, group: str, outputs: Iterable[Output]) -> None:
        """Let a group's outputs stand in the place of its live files; a file to remove counts as empty."""
        if group in self.held:
            return
        there = ((one.target.destination, one.content or b"") for one in outputs)
        self._of[group] = {real_path(path): content for path, content in there if path != STDOUT}

    def around(self, group: str) -> dict[Path, bytes]:
        """Return the accepted files of all other groups, by real path."""
        return {path: content for name, own in self._of.items() if name != group for path, content in own.items()}
