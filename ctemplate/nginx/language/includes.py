"""The whole configuration as nginx reads it: a main file and everything that it includes.

Determines which files belong to it, and through which include. Must not know how nginx is started, or the meaning of
any other directive.
"""

import contextlib
import ctypes
import enum
import errno
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from ctemplate.core.values import dataclass
from ctemplate.nginx.language.directives import WITHOUT_INCLUDES
from ctemplate.nginx.language.lexer import Word
from ctemplate.nginx.language.parser import Directive, parse_config, walk, words
from ctemplate.system.inputs import MIB, read_plain_file, real_path

MAX_FILES = 100_000
"""Maximum number of files in one configuration, ten for each of ten thousand services; nginx itself has no limit."""

NGINX_FILE_LIMIT_BYTES = 64 * MIB
"""Maximum size of one file of the configuration; nginx itself has no limit."""

MAX_INCLUDE_DEPTH = 50
"""Maximum depth of includes; nginx itself has no limit and crashes on a circular include."""

_INCLUDE = re.compile(rb"include")
_KNOWN_SOURCES = 1000  # files with includes, as they were when last read
_GLOB = frozenset("*?[")  # nginx reads any other include as the name of one file
_LITERAL = _GLOB | {"\\"}  # none of these is in a name that matches only itself
_FNM_PERIOD = 4
_LC_CTYPE_AND_COLLATE = 0b1001
_libc = ctypes.CDLL(None)
_libc.newlocale.restype = _libc.uselocale.restype = ctypes.c_void_p
_libc.uselocale.argtypes = (ctypes.c_void_p,)
_BYTES = _libc.newlocale(_LC_CTYPE_AND_COLLATE, b"C", None)  # nginx never leaves the C locale: a character is a byte


class TreeError(Exception):
    """The configuration cannot be read or copied as nginx reads it; `where` is the place, `what` the reason."""

    def __init__(self, *, where: str, what: str) -> None:
        super().__init__(where, what)
        self.where = where
        self.what = what

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class TooLarge(TreeError):
    """The configuration exceeds one of our limits; nginx may be able to read it."""


class Role(enum.Enum):
    """The role of a file in a configuration."""

    MAIN = "main"
    FRAGMENT = "fragment"
    UNUSED = "unused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Include:
    """One include directive: its place, its argument, and the files that it includes, in nginx's order.

    `start` and `end` are the offsets of its argument; `pattern` is the absolute path: relative arguments always count
    from the main file's folder. `inside` is the name of the block that contains the directive.
    """

    file: Path
    line: int
    argument: str
    start: int
    end: int
    inside: bytes
    pattern: str
    files: tuple[Path, ...]

    @property
    def is_glob(self) -> bool:
        """Return whether nginx reads the pattern as a glob; in `geo` it always names one file."""
        return self.inside != b"geo" and not _GLOB.isdisjoint(self.pattern)

    @property
    def place(self) -> str:
        """Return `file:line`, for messages."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A configuration: the bytes of its files by absolute path, in the order of reading, and its includes.

    `replaced` are the candidates that were read instead of live files, by real path.
    """

    main: Path
    sources: Mapping[Path, bytes] = field(repr=False)
    includes: tuple[Include, ...]
    replaced: Mapping[Path, bytes] = field(repr=False)

    def role(self, path: Path) -> Role:
        """Return the role of a file in this configuration; symlinks are followed on both sides."""
        real = real_path(path)
        if real_path(self.main) == real:
            return Role.MAIN
        return Role.FRAGMENT if any(real_path(source) == real for source in self.sources) else Role.UNUSED

    def would_include(self, path: Path) -> tuple[Include, ...]:
        """Return the includes that match a file of this path, whether it exists or not."""
        real = real_path(path)
        return tuple(include for include in self.includes if _brings(include, real))


def load_tree(main: Path, *, replaced: Mapping[Path, bytes] = MappingProxyType({})) -> Tree:
    """Read the configuration that starts at an absolute path, as if `replaced` were already on disk.

    A file that is included more than once is read once. Raises TreeError for what nginx could not read, a circle of
    includes, or a size beyond the limits; NginxSyntaxError for a file with an include that nginx could not parse.
    """
    if not main.is_absolute():
        raise TreeError(where=str(main), what="the path of the main configuration must be absolute")
    reading = _TreeReading(settled(main), {real_path(path): source for path, source in replaced.items()})
    reading.read(reading.main, (), b"")
    return Tree(
        main=reading.main,
        sources=MappingProxyType(reading.sources),
        includes=tuple(reading.includes),
        replaced=MappingProxyType(reading.replaced),
    )


def settled(path: Path) -> Path:
    """Return an absolute path without `..`, which leads where the kernel would go; other symlinks stay as named."""
    if ".." not in path.parts:
        return path
    found = Path("/")
    for part in path.parts[1:]:
        found = real_path(found).parent if part == ".." else found / part
    return found


class _TreeReading:
    """One pass over the configuration, depth first as in nginx."""

    def __init__(self, main: Path, replaced: dict[Path, bytes]) -> None:
        self.main = main
        self.replaced = replaced
        self.sources: dict[Path, bytes] = {}
        self.includes: list[Include] = []

    def read(self, path: Path, chain: tuple[Path, ...], inside: bytes) -> None:
        if path in chain:
            raise TreeError(where=str(chain[-1]), what=f"includes itself through {path}")
        if path in self.sources:
            return
        if len(chain) == MAX_INCLUDE_DEPTH or len(self.sources) == MAX_FILES:
            raise TooLarge(where=str(path), what=f"more than {MAX_INCLUDE_DEPTH} includes deep, or {MAX_FILES} files")
        self.sources[path] = source = self.source(path, chain)
        found = tuple(self.includes_of(path, source, inside))
        self.includes += found
        for include in found:
            for file in include.files:
                self.read(file, (*chain, path), include.inside)

    def source(self, path: Path, chain: tuple[Path, ...]) -> bytes:
        replacement = self.replaced.get(real_path(path))
        if replacement is not None:
            return replacement
        try:
            return read_plain_file(path, limit_bytes=NGINX_FILE_LIMIT_BYTES)
        except OSError as exc:
            by = f", included by {chain[-1]}" if chain else ""
            error = TooLarge if exc.errno == errno.EFBIG else TreeError
            raise error(where=str(path), what=f"cannot be read: {exc.strerror}{by}") from exc

    def includes_of(self, path: Path, source: bytes, inside: bytes) -> Iterator[Include]:
        if b"include" not in source:  # nginx allows no other spelling; most large files end here
            return
        for parent, line, word in _includes_in(source, str(path), inside):
            argument = os.fsdecode(word.value)
            pattern = str(self.main.parent / argument)
            yield Include(
                file=path,
                line=line,
                argument=argument,
                start=word.start,
                end=word.end,
                inside=parent,
                pattern=pattern,
                files=_expanded(pattern, parent, self.replaced),
            )


@lru_cache(maxsize=_KNOWN_SOURCES)
def _includes_in(source: bytes, where: str, inside: bytes) -> tuple[tuple[bytes, int, Word], ...]:
    """Return the includes of a file: the block around each, its line, and its argument."""
    directives = parse_config(source, where=where, inside=inside, sought=_INCLUDE)
    return tuple(
        (parent, directive.last_line, words(source, directive)[1])
        for _, parent, directive in walk(directives, inside=inside)
        if _is_include(parent, directive)
    )


def _is_include(parent: bytes, directive: Directive) -> bool:
    takes_includes = parent not in WITHOUT_INCLUDES
    return takes_includes and directive.name == b"include" and len(directive.args) == 1 and directive.block is None


def _brings(include: Include, real: Path) -> bool:
    return any(real_path(file) == real for file in _expanded(include.pattern, include.inside, (real,)))


def _expanded(pattern: str, inside: bytes, present: Collection[Path]) -> tuple[Path, ...]:
    """Return the files that an include matches, sorted as by glob(3); `present` are real paths regarded as existing."""
    if inside == b"geo" or _GLOB.isdisjoint(pattern):
        return (settled(Path(pattern)),)
    found = [Path("/")]
    for part in Path(pattern).parts[1:]:
        found = [path for folder in found for path in _step(folder, part, present)]
    return tuple(sorted(found, key=os.fsencode))


def _step(folder: Path, part: str, present: Collection[Path]) -> list[Path]:
    if part == "..":
        return [real_path(folder).parent]
    if _LITERAL.isdisjoint(part) and os.path.lexists(folder / part):
        return [folder / part]  # the usual step; no folder is listed for it
    real = real_path(folder)
    names = {path.name for path in present if path.parent == real}
    with contextlib.suppress(OSError):  # glob(3) skips folders that it cannot list
        names.update(entry.name for entry in folder.iterdir())
    return [folder / name for name in names if _matches(part, name)]


def _matches(part: str, name: str) -> bool:
    """Match one step of a path in the way of glob(3): only a dot matches a leading dot."""
    before = _libc.uselocale(_BYTES)  # of this thread only
    try:
        return bool(_libc.fnmatch(os.fsencode(part), os.fsencode(name), _FNM_PERIOD) == 0)
    finally:
        _libc.uselocale(before)
