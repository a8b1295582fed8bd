"""Which files of a group the configuration does not read, so that no check of it says anything about them.

A file is read through an include, or by a directive that names it, such as a list of passwords or a page. Must not know
how candidates are checked.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from ctemplate.nginx.command import Installation
from ctemplate.nginx.language.includes import Role, Tree, TreeError, load_tree
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.language.parser import parse_config, walk
from ctemplate.system.inputs import real_path

_FOLDERS = frozenset({b"root", b"alias"})


def unread_files(tree: Tree, installation: Installation, files: Iterable[Path]) -> tuple[Path, ...]:
    """Return the files that a configuration neither includes nor names in a directive; a file may not exist yet."""
    absent = [file for file in files if tree.role(file) is Role.UNUSED and not tree.would_include(file)]
    if not absent:
        return ()
    named = tuple(_named(tree, installation, {file.name for file in absent}))
    return tuple(file for file in absent if not any(_reads(path, real_path(file)) for path in named))


def unread_live_files(installation: Installation, files: Iterable[Path]) -> tuple[Path, ...]:
    """Return the files that the live configuration does not read; none where it cannot be read."""
    try:
        return unread_files(load_tree(installation.conf), installation, files)
    except (TreeError, NginxSyntaxError):
        return ()


def _reads(named: tuple[Path, bool], file: Path) -> bool:
    path, is_folder = named
    return path == file or (is_folder and file.suffix != ".conf" and file.is_relative_to(path))


def _named(tree: Tree, installation: Installation, names: Collection[str]) -> Iterator[tuple[Path, bool]]:
    """Yield the paths in directives that may mean a file of these names, and whether they are folders.

    Relative paths count from the main file's folder for some directives, from the prefix for others.
    """
    folders = (tree.main.parent, installation.prefix)
    for path, source in tree.sources.items():
        try:
            directives = parse_config(source, where=str(path))
        except NginxSyntaxError:
            continue
        for _, _, one in walk(directives):
            is_folder = one.name in _FOLDERS
            for text in map(os.fsdecode, one.args):
                if (is_folder or text.rpartition("/")[2] in names) and "\0" not in text:
                    yield from ((real_path(folder / text), is_folder) for folder in folders)
