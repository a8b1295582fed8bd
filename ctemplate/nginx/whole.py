"""A configuration as one text would be: every include followed, its directives in the include's place.

For callers that need the meaning of the whole. Must not know what any directive but ``include`` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from ctemplate.nginx.language.includes import Include, Tree, load_tree
from ctemplate.nginx.language.parser import Directive, parse_config

NO_FILES: Mapping[Path, bytes] = MappingProxyType({})


def whole(main: Path, replaced: Mapping[Path, bytes] = NO_FILES) -> tuple[Directive, ...]:
    """Return the directives of the configuration that starts at ``main``, as if ``replaced`` were on disk already.

    The include directives stay, before what they bring. Raises TreeError or NginxSyntaxError for what cannot be read.
    """
    tree = load_tree(main, replaced=replaced)
    return tuple(_file(tree, _by_place(tree), tree.main, b""))


def _by_place(tree: Tree) -> dict[tuple[Path, int, str], Include]:
    return {(include.file, include.line, include.argument): include for include in tree.includes}


def _file(
    tree: Tree, includes: Mapping[tuple[Path, int, str], Include], path: Path, inside: bytes
) -> Iterator[Directive]:
    directives = parse_config(tree.sources[path], where=str(path), inside=inside)
    yield from _followed(tree, includes, path, directives)


def _followed(
    tree: Tree,
    includes: Mapping[tuple[Path, int, str], Include],
    path: Path,
    directives: tuple[Directive, ...],
) -> Iterator[Directive]:
    for directive in directives:
        if directive.block is not None:
            block = tuple(_followed(tree, includes, path, directive.block))
            yield replace(directive, block=block)
            continue
        yield directive
        argument = directive.args[0].decode("utf-8", "surrogateescape") if directive.args else ""
        include = includes.get((path, directive.last_line, argument)) if directive.name == b"include" else None
        for file in include.files if include is not None else ():
            yield from _file(tree, includes, file, include.inside if include is not None else b"")
