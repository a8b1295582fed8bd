"""A copy of the configuration with candidates in place of live files, which nginx checks without touching those.

The copy repeats the file system's structure from `/` down: each folder on the way to a candidate is a real folder with
symlinks to the original's entries; the candidate is a real file. So every path relative to the main file's folder means
the same as in the original, `..` included: includes, certificates, keys, password files. Paths relative to nginx's
prefix (logs, the pid file, `root`, `load_module`) do not change as long as the prefix stays. Absolute includes are
redirected into the copy. Must not know how nginx is started, or its messages.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ctemplate.core.values import dataclass
from ctemplate.nginx.language.includes import Include, Tree, TreeError, settled
from ctemplate.system.inputs import real_path

_GLOB = frozenset("*?[\\")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A finished copy. `main` is the file for `nginx -c`; the prefix (`-p`) must be the live one."""

    folder: Path
    main: Path

    def staged(self, path: Path) -> Path:
        """Return the path in the copy of an absolute original path."""
        return self.folder / path.relative_to("/")

    def original(self, path: Path) -> Path:
        """Return the original of a path in the copy; any other path unchanged."""
        return Path("/") / path.relative_to(self.folder) if path.is_relative_to(self.folder) else path

    def translate(self, text: str) -> str:
        """Return nginx's messages about the copy with the original paths."""
        return text.replace(f"{self.folder}/", "/")


def mirror(tree: Tree, folder: Path) -> Mirror:
    """Make a copy of a configuration, with the candidates it was read with, in an empty private folder.

    Folders get mode 0700, files 0600. Only candidates and files with an absolute include are written; the rest are
    symlinks. Raises TreeError where the copy could not mean the same as the original.
    """
    folder = real_path(folder)
    if not _GLOB.isdisjoint(str(folder)):
        raise TreeError(
            where=str(folder), what="a folder with any of * ? [ \\ in its name cannot hold a copy for nginx"
        )
    copy = Mirror(folder=folder, main=folder / tree.main.relative_to("/"))
    try:
        _lay_out(copy, _written(tree, copy), tree.main)
    except OSError as exc:
        raise TreeError(where=str(exc.filename), what=f"cannot be mirrored: {exc.strerror}") from exc
    return copy


def _written(tree: Tree, copy: Mirror) -> dict[Path, bytes]:
    """Return the files to write: candidates, and those with an include that would leave the copy."""
    leaving: dict[Path, list[Include]] = {}
    for include in filter(_leaves, tree.includes):
        leaving.setdefault(include.file, []).append(include)
    written = dict(tree.replaced)
    for path, source in tree.sources.items():
        if path in leaving or real_path(path) in tree.replaced:
            written[path] = _redirected(source, leaving.get(path, ()), copy)
    return written


def _leaves(include: Include) -> bool:
    """Return whether an include would leave the copy: from the root, or by a `..` after a symlink."""
    return include.argument.startswith("/") or ".." in include.argument.split("/")


def _redirected(source: bytes, includes: Iterable[Include], copy: Mirror) -> bytes:
    """Return a file's bytes with its includes redirected into the copy; every line keeps its number."""
    for include in sorted(includes, key=lambda include: include.start, reverse=True):
        target = os.fsencode(copy.staged(_without_parents(include)))
        if b"\n" in source[include.start : include.end] + target:
            raise TreeError(where=include.place, what="an include with a line feed in its path cannot be mirrored")
        escaped = target.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        source = source[: include.start] + b'"' + escaped + b'"' + source[include.end :]
    return source


def _without_parents(include: Include) -> Path:
    """Return an include's pattern without `..`; a glob before `..` has no single meaning."""
    parts = Path(include.pattern).parts
    last = max((place for place, part in enumerate(parts) if part == ".."), default=0)
    lead = Path(*parts[: last + 1])
    if last and include.is_glob and not _GLOB.isdisjoint(str(lead)):
        raise TreeError(where=include.place, what="an include with a glob before '..' cannot be mirrored")
    return settled(lead).joinpath(*parts[last + 1 :])


def _lay_out(copy: Mirror, written: Mapping[Path, bytes], main: Path) -> None:
    folders = {parent for path in (main, *written) for parent in path.parents}
    copy.folder.chmod(0o700)
    for original in sorted(folders):
        copy.staged(original).mkdir(mode=0o700, exist_ok=original == Path("/"))
        for entry in _entries(original):
            if entry not in folders and entry not in written:
                copy.staged(entry).symlink_to(entry)
    for path, source in written.items():
        descriptor = os.open(copy.staged(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(source)


def _entries(folder: Path) -> Iterator[Path]:
    if folder.is_dir():  # a candidate's folder may be new
        yield from folder.iterdir()
