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
    """The template's text; what in it could not be converted: there it calls ``unconverted``; what is worth a look."""

    text: str
    findings: tuple[ConversionFinding, ...] = ()
    notices: tuple[ConversionNotice, ...] = ()


def convert(source: str, name: str, *, left: str = "{{", right: str = "}}", tidy: bool = False) -> Conversion:
    """Return consul-template's template as one of ours that prints the same; raises GoSyntaxError.

    The result follows our line rule, and is to be printed with ``escape = "none"`` where values may hold anything.
    With ``tidy`` it is as one would write it by hand, and notices say what that prints otherwise.
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
