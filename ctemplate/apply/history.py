"""What stood at a group's destinations before: the generations that were replaced, and the original files.

A generation holds the files that one change replaced. The group as it was before that change is more: each file is what
it was then: its text is in the first later generation that holds it; a file that none holds is as it is now.
Reads, never writes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ctemplate.apply.state import BACKUPS, ORIGINAL, group_folder
from ctemplate.core.each_file import EachFile, has_expression
from ctemplate.core.values import dataclass
from ctemplate.system.inputs import read_plain_file

ORIGINAL_LABEL = "original"
FILE_LIMIT_BYTES = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class PastState:
    """A group as it was before a change: ``label`` names it, ``at`` is when it was replaced, in wall-clock seconds.

    ``files`` are those that were others than now, as far as it is known.
    """

    label: str
    at: float
    files: Mapping[Path, bytes]

    def only(self, paths: Iterable[Path]) -> PastState:
        """Return the same of these files alone."""
        kept = {path: self.files[path] for path in paths if path in self.files}
        return PastState(label=self.label, at=self.at, files=kept)


def history(state_dir: Path, destinations: Iterable[Path]) -> tuple[PastState, ...]:
    """Return how a group was, the newest first and the original last; raises OSError for what cannot be read."""
    paths = tuple(path.absolute() for path in destinations)
    found = []
    files: dict[Path, bytes] = {}
    for generation in reversed(_generations(group_folder(state_dir, paths) / BACKUPS)):
        own = dict(_contents(generation, paths))
        files = {**files, **own}
        if own:
            found.append(PastState(label=generation.name, at=_moment(generation, own), files=files))
    originals = dict(_originals(state_dir, paths))
    if originals:
        at = min(moment for moment, _ in originals.values())
        contents = {path: content for path, (_, content) in originals.items()}
        found.append(PastState(label=ORIGINAL_LABEL, at=at, files=contents))
    return tuple(found)


def _generations(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _contents(generation: Path, paths: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    """Yield the files of a generation; of one that represents files of items, all of these."""
    named = (one for path in paths for one in (_item_files(generation, path) if has_expression(str(path)) else (path,)))
    for path in named:
        with contextlib.suppress(FileNotFoundError):
            yield path, read_plain_file(_inside(generation, path), limit_bytes=FILE_LIMIT_BYTES)


def _item_files(generation: Path, pattern: Path) -> Iterator[Path]:
    each = EachFile.of("", str(pattern))
    found = (Path("/") / file.relative_to(generation) for file in sorted(generation.rglob("*")) if file.is_file())
    return (path for path in found if each.may_make(path))


def _moment(generation: Path, paths: Iterable[Path]) -> float:
    return max(_inside(generation, path).stat().st_mtime for path in paths)


def _originals(state_dir: Path, paths: Iterable[Path]) -> Iterator[tuple[Path, tuple[float, bytes]]]:
    """Yield the oldest original of each path: a destination may have moved from one group to another."""
    for path in paths:
        kept = [folder / ORIGINAL for folder in state_dir.iterdir()] if state_dir.is_dir() else []
        known = [(place.stat().st_mtime, place) for folder in kept if (place := _inside(folder, path)).is_file()]
        if known:
            at, place = min(known)
            yield path, (at, read_plain_file(place, limit_bytes=FILE_LIMIT_BYTES))


def _inside(generation: Path, path: Path) -> Path:
    return generation / path.relative_to("/")
