"""Find the pid file and the logs of a configuration, and redirect them for a test.

Pure except for testing whether a log can be opened. Must not know how nginx is started, tested or reloaded.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass
from ctemplate.nginx.command import Installation
from ctemplate.nginx.language.directives import CACHE_FOLDERS, LOGS
from ctemplate.nginx.language.includes import Tree
from ctemplate.nginx.language.parser import Directive, parse_config, walk, words
from ctemplate.system.inputs import real_path

NO_FILE = ("stderr", "off", "syslog:", "memory:")
_LED = lazy_pattern(rb"_path|access_log|error_log")
_NOTHING = re.compile(rb"(?!)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The files of a configuration's master. Logs that are no files (stderr, syslog) are left out."""

    pid_file: Path
    error_logs: tuple[Path, ...]
    size_bytes: int


def settings(tree: Tree, installation: Installation) -> Settings:
    """Return the pid file and error logs that a configuration names, or nginx's defaults."""
    directives = [*parse_config(installation.command.globals.encode(), where="-g"), *main_directives(tree)]
    named = {
        name: [os.fsdecode(d.args[0]) for d in directives if d.name == name and d.args]
        for name in (b"pid", b"error_log")
    }
    logs = named[b"error_log"] or [installation.default_error_log]
    return Settings(
        pid_file=installation.resolved(named[b"pid"][0]) if named[b"pid"] else installation.default_pid_file,
        error_logs=tuple(installation.resolved(log) for log in logs if is_file(log)),
        size_bytes=sum(map(len, tree.sources.values())),
    )


def is_file(log: str) -> bool:
    """Whether a log's first argument names one file that nginx opens at start."""
    return not log.startswith(NO_FILE) and "$" not in log


def main_directives(tree: Tree) -> Iterator[Directive]:
    """Yield the directives outside all blocks, in all files."""
    for path, inside in contexts(tree).items():
        if not inside and (b"pid" in tree.sources[path] or b"error_log" in tree.sources[path]):
            yield from parse_config(tree.sources[path], where=str(path), sought=_NOTHING)


def contexts(tree: Tree) -> dict[Path, bytes]:
    """Return the name of the block that includes each file, empty for the main level."""
    found = {tree.main: b""}
    for include in tree.includes:
        for file in include.files:
            inherited = found.get(include.file, b"")
            found.setdefault(file, include.inside or inherited)
    return {path: found.get(path, b"") for path in tree.sources}


@dataclass(frozen=True, slots=True, kw_only=True)
class Detour:
    """Changed files, by real path, and `-g` directives, with which a test does not touch pid file and logs."""

    replaced: Mapping[Path, bytes]
    directives: str


def redirect_side_effects(tree: Tree, installation: Installation, folder: Path) -> Detour:
    """Redirect the pid file, the main error log, and every log that a test would create or could not open to a folder.

    The same goes for folders for temporary files and caches that a test would create. Every line keeps its number. A
    path in a missing folder stays, so that nginx reports it.
    """
    redirects = _Redirects(installation=installation, folder=folder)
    directives = installation.command.globals.encode()
    changed = redirects.redirected(directives, b"", where="-g")
    replaced: dict[Path, bytes] = {}
    for path, inside in contexts(tree).items():
        source = tree.sources[path]
        if any(name in source for name in (b"pid", b"http", b"_path", *LOGS)):
            redirected = redirects.redirected(source, inside, where=str(path))
            replaced |= {real_path(path): redirected} if redirected != source else {}
    if not redirects.has_pid:
        main = replaced.get(real_path(tree.main), tree.sources[tree.main])
        replaced[real_path(tree.main)] = b"pid %b; " % quoted_path(folder / "pid") + main
    return Detour(replaced=replaced, directives=os.fsdecode(changed))


@dataclass(slots=True, kw_only=True)
class _Redirects:
    """The new path of each log and folder: a separate one each, as nginx compares the options of equal paths."""

    installation: Installation
    folder: Path
    has_pid: bool = False
    others: dict[Path, Path] = field(default_factory=dict)

    def redirected(self, source: bytes, inside: bytes, *, where: str) -> bytes:
        pieces, done = [], 0
        directives = parse_config(source, where=where, inside=inside, sought=_LED)
        for depth, parent, directive in walk(directives, inside=inside):
            is_main = depth == 0 and not inside
            for start, end, text in self.change(source, directive, parent, is_main=is_main):
                pieces += [source[done:start], text]
                done = end
        return b"".join([*pieces, source[done:]])

    def change(
        self, source: bytes, directive: Directive, parent: bytes, *, is_main: bool
    ) -> Iterator[tuple[int, int, bytes]]:
        """Yield the replacements for one directive: two offsets and the new bytes between them."""
        if directive.name == b"http" and is_main and directive.block is not None:
            log = self.installation.default_access_log
            if _is_unsafe(log):
                yield directive.end, directive.end, b" access_log %b;" % quoted_path(self.other(log))
        if not directive.args or directive.block is not None or parent in (b"map", b"types", b"geo"):
            return
        if directive.name == b"pid" and is_main:
            self.has_pid = True
            yield self.argument(source, directive, self.folder / "pid")
        elif directive.name in LOGS and is_file(name := os.fsdecode(directive.args[0])):
            log = self.installation.resolved(name)
            if _is_unsafe(log) or (is_main and _has_folder(log)):
                yield self.argument(source, directive, self.other(log))
        elif CACHE_FOLDERS.fullmatch(directive.name):
            folder = self.installation.resolved(os.fsdecode(directive.args[0]))
            if _has_folder(folder) and not exists(folder):
                yield self.argument(source, directive, self.other(folder))

    def argument(self, source: bytes, directive: Directive, path: Path) -> tuple[int, int, bytes]:
        word = words(source, directive)[1]
        return word.start, word.end, quoted_path(path) + b"\n" * source.count(b"\n", word.start, word.end)

    def other(self, path: Path) -> Path:
        return self.others.setdefault(path, self.folder / f"log-{len(self.others)}")


def _is_unsafe(log: Path) -> bool:
    """Whether opening a log would create it, or is not permitted."""
    return _has_folder(log) and not os.access(log, os.W_OK)


def exists(path: Path) -> bool:
    """Whether a path exists, as far as we are allowed to know."""
    try:
        return path.exists()
    except PermissionError:
        return True


def _has_folder(log: Path) -> bool:
    """Whether a log's folder exists, as far as we are allowed to know."""
    try:
        return stat.S_ISDIR(log.parent.stat().st_mode)
    except PermissionError:
        return True
    except OSError:
        return False


def quoted_path(path: Path) -> bytes:
    """Return a path as an argument in nginx's language."""
    return b'"' + os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
