"""Which files a configuration reads, found anew only when something of it on disk has changed.

Must not know templates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from types import MappingProxyType

from ctemplate.core.values import dataclass
from ctemplate.nginx.language.includes import Role, Tree, TreeError, load_tree
from ctemplate.nginx.language.lexer import NginxSyntaxError

_Mark = tuple[int, int, int] | None
_Asked = tuple[Path, tuple[Path, ...], Mapping[Path, bytes]]


@dataclass(slots=True)
class IncludedFiles:
    """The last result, with marks of all files and folders that it depends on."""

    _asked: _Asked | None = None
    _found: frozenset[Path] = frozenset()
    _marks: dict[Path, _Mark] = field(default_factory=dict)

    def among(
        self, files: Sequence[Path], conf: Path, around: Mapping[Path, bytes] = MappingProxyType({})
    ) -> frozenset[Path]:
        """Return those files that the configuration reads, or would read if they existed; none if it is unreadable.

        The texts in ``around`` stand in the place of other files.
        """
        asked = (conf, tuple(files), around)
        if self._marks and asked == self._asked and all(_mark(path) == mark for path, mark in self._marks.items()):
            return self._found
        self._asked, self._found, self._marks = asked, frozenset(), {}
        try:
            tree = load_tree(conf, replaced=around)
        except (TreeError, NginxSyntaxError):
            return self._found
        self._found = frozenset(
            file for file in files if tree.role(file) is not Role.UNUSED or tree.would_include(file)
        )
        self._marks = {path: _mark(path) for path in _sources(tree)}
        return self._found


def _sources(tree: Tree) -> Iterator[Path]:
    """Yield the files of a configuration, and all folders on the way to what its includes may match."""
    yield from tree.sources
    for include in tree.includes:
        yield from Path(include.pattern).parents
        yield from (folder for file in include.files for folder in file.parents)


def _mark(path: Path) -> _Mark:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns)
