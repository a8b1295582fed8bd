"""The upstreams in files beside a group's, for a group whose configuration cannot be determined.

Its reload command is a script, or nginx runs in a container: then no main file says which files belong together, but
files of one folder usually do. Must not know templates.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from ctemplate.core.values import dataclass
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.language.parser import parse_config, walk
from ctemplate.nginx.language.scoped_names import Name
from ctemplate.system.inputs import MIB, read_plain_file, real_path

MAX_FILES_BESIDE = 200
"""Maximum number of files of a folder that are read; beyond that, none of the others counts."""

MAIN_NAME = "nginx.conf"
_UPSTREAM = re.compile(rb"upstream")
_KINDS = ("http", "stream")
_Mark = tuple[int, int, int]


@dataclass(slots=True)
class FilesBeside:
    """Reads the files beside others, each again only when it has changed."""

    _known: dict[Path, tuple[_Mark, frozenset[Name]]] = field(default_factory=dict)

    def upstreams(self, files: Sequence[Path], own: Collection[Path], around: Mapping[Path, bytes]) -> frozenset[Name]:
        """Return the upstreams in the files of the same folders with the same suffix, and in main files above them.

        The real paths in ``own`` do not count: their content is about to be replaced. The texts in ``around``, by real
        path, stand in the place of other files.
        """
        real = {path: real_path(path) for file in files for path in _candidates(file)}
        found = {path for path, there in real.items() if there not in own and there not in around}
        self._known = {path: known for path in found if (known := self._read(path)) is not None}
        folders = {(real_path(file).parent, file.suffix) for file in files}
        is_beside = set(real.values())
        texts = [around[path] for path in around if path in is_beside or (path.parent, path.suffix) in folders]
        return frozenset().union(*(names for _, names in self._known.values()), *map(_planned_upstreams, texts))

    def _read(self, path: Path) -> tuple[_Mark, frozenset[Name]] | None:
        try:
            status = path.stat()
            mark = (status.st_ino, status.st_size, status.st_mtime_ns)
            known = self._known.get(path)
            if known is not None and known[0] == mark:
                return known
            source = read_plain_file(path, limit_bytes=MIB)
            return mark, frozenset(_upstreams(source))
        except (OSError, NginxSyntaxError):
            return None


def _candidates(file: Path) -> list[Path]:
    """Return the files that may belong together with a file, in order of their names."""
    try:
        beside = sorted(path for path in file.parent.iterdir() if path.suffix == file.suffix)
    except OSError:
        return []
    named = [path for path in beside if not path.name.startswith(".")]
    return [*named[:MAX_FILES_BESIDE], *(folder / MAIN_NAME for folder in file.parents[:2])]


def _planned_upstreams(source: bytes) -> frozenset[Name]:
    try:
        return frozenset(_upstreams(source))
    except NginxSyntaxError:
        return frozenset()


def _upstreams(source: bytes) -> Iterator[Name]:
    """Yield the upstreams of a file that may stand in an http or a stream block."""
    for _, _, one in walk(parse_config(source, where="", sought=_UPSTREAM)):
        if one.name == b"upstream" and one.args and one.block is not None:
            yield from ((f"{kind} upstream", one.args[0].lower()) for kind in _KINDS)
