"""Variables named after registered values: resolved where the block that uses one also sets it.

A name such as ``$v_NAME`` may become that of any variable. What a target gets by it is certain only if the same block
sets this variable once, before the target, and nginx always reaches that ``set``. Pure; must not know where targets may
lead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from ctemplate.nginx.language.directives import FEEDS
from ctemplate.nginx.language.parser import Directive

Block: TypeAlias = tuple[tuple[Directive, ...], tuple[Directive, ...]]
"""The directives of a block, and their likes: the same directives with a placeholder for each registered value."""

EVALUATES = frozenset({b"location", b"server"})
"""Blocks whose ``set`` directives all run, in their order, before the target is evaluated."""

_REFERENCE = re.compile(rb"(.*?)\$(?:\{((?:\w|\x01\d+\x02)+)\}|((?:\w|\x01\d+\x02)+))(.*)", re.DOTALL)
_NAMED_BY_DATA = re.compile(rb"\$\{?\w*\x01\d+\x02")
_ENDS_EARLY = frozenset({b"break", b"if", b"include", b"return", b"rewrite"})
_PART_LEFT_OUT = b"\x03"


class MarkedText(NamedTuple):
    """A text, and the same with a placeholder for each registered value."""

    real: bytes
    marked: bytes


class _Reference(NamedTuple):
    before: bytes
    variable: bytes
    after: bytes


def is_named_by_data(marked: bytes) -> bool:
    """Whether a registered value is part of a variable's name."""
    return _NAMED_BY_DATA.search(marked) is not None


def with_local_value(target: MarkedText, block: Block, at: Directive) -> MarkedText | None:
    """Return the target of the directive ``at`` with the value of its first variable, which the block itself sets.

    None if that value is not certain.
    """
    real, marked = _reference(target.real), _reference(target.marked)
    if real is None or marked is None or real.before != marked.before:
        return None
    value = _only_value(real.variable.lower(), block, at)
    if value is None or not _stays_apart(real.after, marked.after):
        return None
    return MarkedText(real.before + value.real + real.after, marked.before + value.marked + marked.after)


def _reference(text: bytes) -> _Reference | None:
    found = _REFERENCE.fullmatch(text)
    return None if found is None else _Reference(found[1], found[2] or found[3], found[4])


def _stays_apart(real: bytes, marked: bytes) -> bool:
    """Whether what follows a variable is the template's own text at first, so that its name ends with it."""
    own, has_value, _ = marked.partition(b"\x01")
    return bool(own) and real.startswith(own) if has_value else real == own


def _only_value(variable: bytes, block: Block, at: Directive) -> MarkedText | None:
    """Return the value of the block's only ``set`` of a variable, if it certainly runs and nothing else may set it."""
    found: MarkedText | None = None
    for one, like in _before(block, at):
        if one.name == b"set" and len(one.args) > 1 and one.args[0].lower() == b"$" + variable:
            found = found or MarkedText(one.args[1], like.args[1])
        elif one.name in _ENDS_EARLY and found is None:
            return None
    settings = sum(_may_set(one, variable) for one in _all(block[0]))
    return found if settings == 1 else None


def _before(block: Block, at: Directive) -> Iterator[tuple[Directive, Directive]]:
    for one, like in zip(*block, strict=True):
        if one is at:
            return
        yield one, like


def _all(directives: Iterable[Directive]) -> Iterator[Directive]:
    for one in directives:
        yield one
        yield from _all(one.block or ())


def _may_set(one: Directive, variable: bytes) -> bool:
    """Whether a directive may set a variable: directly, by a named group of its pattern, or as a part left out here."""
    if one.name.startswith(_PART_LEFT_OUT):
        return True
    if FEEDS.fullmatch(one.name) and one.args and one.args[0].lower() == b"$" + variable:
        return True
    return any(b"(?" in argument and variable in argument.lower() for argument in one.args)
