"""A Go template as a Jinja template."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ctemplate.convert import go_ast as go
from ctemplate.convert.emitter import Emitter
from ctemplate.convert.findings import PARSED_PRINTS, ConversionFinding, ConversionNotice
from ctemplate.convert.go_lexer import Position
from ctemplate.convert.go_parser import parse
from ctemplate.convert.layout import LayoutPiece, laid_out
from ctemplate.convert.rotation import rotated
from ctemplate.convert.tidy import tidy_lines, tidy_pieces, tidy_remarks


@dataclass(frozen=True, slots=True)
class Conversion:
    """The converted text; the parts that could not be converted, for which it calls ``unconverted``; and notices."""

    text: str
    findings: tuple[ConversionFinding, ...] = ()
    notices: tuple[ConversionNotice, ...] = ()


def convert(source: str, name: str, *, left: str = "{{", right: str = "}}", tidy: bool = False) -> Conversion:
    """Return consul-template's template as one of ours with the same output; raises GoSyntaxError.

    The result follows our line rule, and must be rendered with ``escape = "none"`` if values may contain anything. With
    ``tidy`` it is written as a person would write it, and notices list the places whose output differs.
    """
    body = parse(source, name, left=left, right=right)
    if not tidy:
        emitter, pieces = _emitted(name, body)
        return _conversion(emitter, pieces)
    tidied = tidy_lines(body)
    emitter, pieces = _emitted(name, tidied.body)
    pieces, differences = tidy_pieces(pieces)
    emitter.notices = [notice for notice in emitter.notices if notice.what != PARSED_PRINTS]
    return _conversion(emitter, pieces, tidy_remarks(tidied.lines, differences))


def _emitted(name: str, body: go.Body) -> tuple[Emitter, tuple[LayoutPiece, ...]]:
    emitter = Emitter(name, rotated(body))
    return emitter, emitter.pieces()


def _conversion(
    emitter: Emitter, pieces: tuple[LayoutPiece, ...], remarks: Iterable[tuple[Position, str]] = ()
) -> Conversion:
    notices = (*emitter.notices, *(emitter.notice(at, text) for at, text in remarks))
    return Conversion(laid_out(pieces), tuple(emitter.findings), notices)
