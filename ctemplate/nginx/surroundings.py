"""Where the files of a group stand in the configuration that nginx reads, and which names the rest of it uses.

Reads the configuration on disk; whatever cannot be read counts as absent, since nginx itself will say so. Must not know
templates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ctemplate.errors import ApplyError
from ctemplate.nginx.command import Installation, NginxCommand
from ctemplate.nginx.names import Name, names
from ctemplate.nginx.syntax import NginxSyntaxError, parse
from ctemplate.nginx.tree import Tree, TreeError, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one file stands: the name of the block that includes it, and the names taken by files of others.

    ``files`` tells which file takes a name.
    """

    inside: bytes = b""
    taken: frozenset[Name] = frozenset()
    files: Mapping[Name, Path] = field(default_factory=dict, compare=False)


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """The configuration around a group's files; ``command`` names the nginx, None where nobody can tell which."""

    command: NginxCommand | None
    files: tuple[Path, ...]
    _installation: Installation | None = field(default=None, init=False)

    async def places(self, texts: Mapping[Path, bytes] | None = None) -> tuple[Place, ...]:
        """Return the place of each file, as the configuration is now, or will be with ``texts`` as these files."""
        if self.command is None:
            return tuple(Place() for _ in self.files)
        try:
            if self._installation is None:
                self._installation = await Installation.find(self.command)
        except ApplyError:
            return tuple(Place() for _ in self.files)
        return await asyncio.to_thread(places, self._installation.conf, self.files, texts)


def places(conf: Path, files: Sequence[Path], texts: Mapping[Path, bytes] | None = None) -> tuple[Place, ...]:
    """Return the place of each file in the configuration that starts at ``conf``, with ``texts`` as these files."""
    try:
        absent = {file: b"" for file in files if not file.exists()}
        tree = load(conf, replaced={**absent, **{path.resolve(): text for path, text in (texts or {}).items()}})
        own = {file.resolve() for file in files}
        others = {path: source for path, source in tree.sources.items() if path.resolve() not in own}
        taken = {name: path for path, source in others.items() for name in _names(tree, path, source)}
    except (TreeError, NginxSyntaxError, OSError):
        return tuple(Place() for _ in files)
    names_taken = frozenset(taken)
    return tuple(Place(inside=next(_blocks(tree, file), b""), taken=names_taken, files=taken) for file in files)


def _names(tree: Tree, path: Path, source: bytes) -> frozenset[Name]:
    inside = next(_blocks(tree, path), b"")
    return names(parse(source, where=str(path), inside=inside), inside=inside)


def _blocks(tree: Tree, path: Path) -> Iterator[bytes]:
    """Yield the block around each include of the file; an include at the top of an included file passes its own on."""
    for include in tree.would_include(path):
        yield include.inside or (b"" if include.file == tree.main else next(_blocks(tree, include.file), b""))
