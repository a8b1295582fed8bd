"""A Go template as a Jinja template."""

from __future__ import annotations

from dataclasses import dataclass

from ctemplate.convert.emitter import Emitter
from ctemplate.convert.findings import ConversionFinding, ConversionNotice
from ctemplate.convert.go_parser import parse
from ctemplate.convert.layout import laid_out
from ctemplate.convert.rotation import rotated


@dataclass(frozen=True, slots=True)
class Conversion:
    """The template's text; what in it could not be converted: there it calls ``unconverted``; what is worth a look."""

    text: str
    findings: tuple[ConversionFinding, ...] = ()
    notices: tuple[ConversionNotice, ...] = ()


def convert(source: str, name: str, *, left: str = "{{", right: str = "}}") -> Conversion:
    """Return consul-template's template as one of ours that prints the same; raises GoSyntaxError.

    The result follows our line rule, and is to be printed with ``escape = "none"`` where values may hold anything.
    """
    emitter = Emitter(name, rotated(parse(source, name, left=left, right=right)))
    pieces = emitter.pieces()
    return Conversion(laid_out(pieces), tuple(emitter.findings), tuple(emitter.notices))
