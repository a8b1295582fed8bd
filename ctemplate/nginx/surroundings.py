"""Where the files of a group stand in the configuration that nginx reads, and which names the rest of it uses.

Reads the configuration on disk; whatever cannot be read counts as absent, since nginx itself will say so. Must not know
templates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from ctemplate.core.errors import ApplyError
from ctemplate.core.values import dataclass
from ctemplate.nginx.beside import FilesBeside
from ctemplate.nginx.command import NginxCommand
from ctemplate.nginx.included import IncludedFiles
from ctemplate.nginx.language.authority import Routes, file_variables, named_hosts, reach, routes, variable_of
from ctemplate.nginx.language.directives import VALUE_BLOCKS
from ctemplate.nginx.language.file_paths import NO_PATHS, PathVariables
from ctemplate.nginx.language.includes import Tree, TreeError, load_tree
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.language.parser import parse_config, walk
from ctemplate.nginx.language.scoped_names import Name
from ctemplate.nginx.language.unique_names import names
from ctemplate.nginx.lookup import LocatedNginx, Lookup
from ctemplate.nginx.settings import contexts
from ctemplate.system.inputs import real_path

_KNOWN_SOURCES = 1000
"""Files of a configuration whose facts are remembered, as they were when last read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigPlace:
    """The context of a file: the name of the block that includes it, and the names used by other files.

    ``files`` maps names to their files. ``hosts`` are those that the others' pass directives name, ``routed`` the
    variables in these, ``paths`` those in paths of files, and ``variable`` is the one that the block around the file
    gives a value to, where it is a ``map`` or its like. ``upstreams`` are those of files that may belong to the same
    configuration, of which some do not exist yet if it ``is_open``. Where it is not ``is_certain`` that a file is
    nginx's, its text decides. ``seen`` says which configuration was looked at.
    """

    inside: bytes = b""
    taken: frozenset[Name] = frozenset()
    hosts: frozenset[Name] = frozenset()
    routed: frozenset[bytes] = frozenset()
    paths: PathVariables = NO_PATHS
    variable: bytes = b""
    upstreams: frozenset[Name] = frozenset()
    is_open: bool = False
    is_certain: bool = True
    files: Mapping[Name, Path] = field(default_factory=dict, compare=False)
    seen: str = field(default="", compare=False)


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """The configuration around a group's files; ``nginx`` finds its nginx, None if it cannot be determined.

    Then the configuration of this host's nginx counts for the files that it reads, and the files beside them for all
    others. ``neighbours`` are the files of other groups. It is not certain that the ``uncertain`` files are nginx's at
    all. For files that are made for items, a name that no item has represents all. ``around`` returns texts, by real
    path, that stand in the place of other groups' files.
    """

    nginx: Lookup | None
    files: tuple[Path, ...]
    neighbours: tuple[Path, ...] = ()
    uncertain: frozenset[Path] = frozenset()
    around: Callable[[], Mapping[Path, bytes]] = dict
    _lookup: Lookup = field(init=False)
    _has_nginx: bool = field(default=True, init=False)
    _beside: FilesBeside = field(default_factory=FilesBeside, init=False)
    _included: IncludedFiles = field(default_factory=IncludedFiles, init=False)

    def __post_init__(self) -> None:
        self._lookup = self.nginx or Lookup(command=NginxCommand(program="nginx"))

    async def places(
        self, texts: Mapping[Path, bytes] | None = None, item_files: Collection[Path] = ()
    ) -> tuple[ConfigPlace, ...]:
        """Return the place of each file, as the configuration is now, or will be with ``texts`` as these files.

        ``item_files`` stand for items now; they are the group's own as well.
        """
        found = await self._located()
        conf = None if found is None else found.installation.conf
        if self.nginx is None or (found is not None and conf == found.foreign):
            return await asyncio.to_thread(self._guessed, conf, texts, item_files)
        if conf is None:
            return tuple(ConfigPlace(seen="nginx cannot be run, so none is seen") for _ in self.files)
        return await asyncio.to_thread(places, conf, self.files, texts, item_files, self.around())

    async def _located(self) -> LocatedNginx | None:
        """Return the nginx; None if it cannot be run, which is tried once if no command names it."""
        if not self._has_nginx:
            return None
        try:
            return await self._lookup.located()
        except ApplyError:
            self._has_nginx = self.nginx is not None
            return None

    def _guessed(
        self, conf: Path | None, texts: Mapping[Path, bytes] | None, item_files: Collection[Path]
    ) -> tuple[ConfigPlace, ...]:
        """Return the places of files of which no command says to which configuration they belong."""
        around = self.around()
        read = self._included.among(self.files, conf, around) if conf is not None else frozenset()
        found = places(conf, self.files, texts, item_files, around) if conf and read else ()
        known = dict(zip(self.files, found, strict=bool(found)))
        own = {real_path(file) for file in (*self.files, *item_files, *(texts or {}))}
        beside = self._beside.upstreams([file for file in self.files if file not in read], own, around)
        absent = {file.parent for file in self.neighbours if not file.exists() and real_path(file) not in around}
        why = "no nginx was found" if conf is None else f"{conf} does not read it"
        seen = f"of which only files beside it are seen: {why}"
        alone = {file: ConfigPlace(upstreams=beside, is_open=file.parent in absent, seen=seen) for file in self.files}
        both = ((file, known[file] if file in read else alone[file]) for file in self.files)
        return tuple(replace(place, is_certain=file not in self.uncertain) for file, place in both)


def places(
    conf: Path,
    files: Sequence[Path],
    texts: Mapping[Path, bytes] | None = None,
    item_files: Collection[Path] = (),
    around: Mapping[Path, bytes] = MappingProxyType({}),
) -> tuple[ConfigPlace, ...]:
    """Return the place of each file in the configuration that starts at ``conf``, with ``texts`` as these files.

    The files in ``item_files``, and those of which there are ``texts``, take no names from them either. The texts in
    ``around`` stand in the place of other files.
    """
    try:
        absent = {file: b"" for file in files if not file.exists()}
        tree = load_tree(conf, replaced={**absent, **around, **(texts or {})})
        own = {real_path(file) for file in (*files, *item_files, *(texts or {}))}
        blocks = contexts(tree)
        found = {path: _facts_of(tree, path, blocks[path]) for path in tree.sources if real_path(path) not in own}
    except (TreeError, NginxSyntaxError, OSError):
        return tuple(ConfigPlace(seen=f"{conf} cannot be read") for _ in files)
    taken = {name: path for path, (used, _) in found.items() for name in used}
    others = tuple(leading for _, leading in found.values())
    outside = ConfigPlace(
        taken=frozenset(taken),
        files=taken,
        seen=str(conf),
        hosts=named_hosts(others),
        routed=reach(others)[0],
        paths=file_variables(others),
    )
    return tuple(_place(tree, file, blocks, outside) for file in files)


def _place(tree: Tree, file: Path, blocks: Mapping[Path, bytes], around: ConfigPlace) -> ConfigPlace:
    """Return the surroundings of a file, with the block that includes it, or would if the file were there."""
    inside = next((include.inside or blocks[include.file] for include in tree.would_include(file)), b"")
    return replace(around, inside=inside, variable=_variable(tree, file, inside))


def _facts_of(tree: Tree, path: Path, inside: bytes) -> tuple[frozenset[Name], Routes]:
    return _facts(tree.sources[path], str(path), inside, _variable(tree, path, inside))


@lru_cache(maxsize=_KNOWN_SOURCES)
def _facts(source: bytes, where: str, inside: bytes, variable: bytes) -> tuple[frozenset[Name], Routes]:
    """Return the names that a file uses, and where its directives send requests."""
    found = parse_config(source, where=where, inside=inside)
    return names(found, inside=inside), routes(found, inside=inside, variable=variable)


def _variable(tree: Tree, path: Path, inside: bytes) -> bytes:
    """Return the variable that the block around an included file gives a value to; empty for most files."""
    for include in tree.would_include(path) if inside in VALUE_BLOCKS else ():
        source = tree.sources[include.file]
        for _, _, block in walk(parse_config(source, where=str(include.file))):
            if block.name == include.inside and any(one.last_line == include.line for one in block.block or ()):
                return variable_of(block)
    return b""
