"""The structure of a configuration without its values: data must never change it.

A candidate's skeleton is compared with that of the same template over harmless data of the same shape. This module
decides what counts as structure; it must not know who rendered what, or what follows from a difference.
"""

from collections.abc import Iterator
from itertools import zip_longest
from typing import TypeAlias

from ctemplate.nginx.language.directives import BY_TILDE, ENTRY_WORDS, LOADS, VALUE_BLOCKS
from ctemplate.nginx.language.parser import Directive, walk

Shape: TypeAlias = tuple[int, bytes, int | tuple[bytes, ...], bool]
"""Depth, name, count of arguments (or the arguments themselves if they are structure), and whether a block follows."""


def skeleton(directives: tuple[Directive, ...], *, inside: bytes = b"") -> Iterator[Shape]:
    """Yield the shape of every directive in the order of the file.

    Values are left out, with three exceptions. The arguments of directives that load code or files are included: only a
    template's own text may set them. An argument that is a regular expression because of a leading `~` shows in the
    name. Keys of a `map` and similar blocks are left out, but nginx's instructions among them are included.
    """
    for depth, parent, directive in walk(directives, inside=inside):
        yield _shape(depth, parent, directive)


def departure(
    candidate: tuple[Directive, ...], expected: Iterator[Shape], *, inside: bytes = b""
) -> tuple[Directive | None, Shape | None] | None:
    """Return the first difference between a candidate and the expected skeleton: its directive and the expected shape.

    None means that the two are equal; one of the pair is None if that side has ended.
    """
    for found, wanted in zip_longest(walk(candidate, inside=inside), expected):
        if found is None or _shape(*found) != wanted:
            return (found[2] if found else None), wanted
    return None


def _shape(depth: int, parent: bytes, directive: Directive) -> Shape:
    name, args = directive.name, directive.args
    opens = directive.block is not None
    if parent in VALUE_BLOCKS and name not in ENTRY_WORDS:
        return depth, name[:1] if name.startswith(b"~") else b"", len(args), opens
    if LOADS.fullmatch(name):
        return depth, name, args, opens
    if name in BY_TILDE and any(argument.startswith(b"~") for argument in args):
        return depth, name + b" ~", len(args), opens
    return depth, name, len(args), opens
