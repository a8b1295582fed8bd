"""A template that makes one file for each item of a list: its tree becomes a loop's body, its text a list of parts.

Each part begins with a line that no process but this one can produce. The rest of the program sees one template with a
loop, so that every rule for loops applies to the items. Must not know where files go.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import jinja2
from jinja2 import nodes
from jinja2.parser import Parser

from ctemplate.core.each_file import ITEM, NAME_RULE, EachFile, is_file_name
from ctemplate.core.errors import printable
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import OwnedEntry, Rejection, Service
from ctemplate.template.safety.render_pass import Claim, Run
from ctemplate.template.safety.tainted_text import Trusted, text_of

WHOLE_NAME = "\N{INFORMATION SEPARATOR FOUR}whole"
"""Suffix of a template's name: the same text, but not as the body of a loop."""

_TOKEN = secrets.token_hex(16)
_BEGIN = lazy_pattern(rf"\n# {_TOKEN} (\S*)\n")
SHOWN_NAME_LENGTH = 80


class FilePart(NamedTuple):
    """The file of one item: its name, its text, and the number of lines before it in the common text."""

    name: str
    text: str
    lines_before: int


class _Running(Protocol):
    """An environment with a pass in progress."""

    run: Run


def parts(text: str) -> Iterator[FilePart]:
    """Yield the files in a text; of several with the same name only the first, and none without a name."""
    seen = {""}
    for part in _all_parts(text):
        if part.name not in seen:
            seen.add(part.name)
            yield part


def _all_parts(text: str) -> Iterator[FilePart]:
    pieces, lines = _BEGIN.split(text), 0
    lines = pieces[0].count("\n")
    for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
        lines += 2
        yield FilePart(name, body, lines)
        lines += body.count("\n")


def repeated_names(text: str) -> tuple[str, ...]:
    """Return the names that occur in more than one part of a text, sorted."""
    names = [part.name for part in _all_parts(text) if part.name]
    return tuple(sorted({name for name in names if names.count(name) > 1})) if len(set(names)) < len(names) else ()


class ItemFiles:
    """The files of one template: how its tree is wrapped, and the line that begins each turn's part."""

    def __init__(self, environment: _Running, name: str, each: EachFile) -> None:
        self._environment = environment
        self.name = name
        self.each = each

    def wrapped(self, tree: nodes.Template, environment: jinja2.Environment, filename: str | None) -> nodes.Template:
        """Return a template's tree as the body of a loop over the items; raise TemplateSyntaxError."""
        try:
            items = _expression(self.each.items, environment)
            pieces = list(_pieces(self.each.name, environment))
        except jinja2.TemplateSyntaxError as exc:
            what = f"for_each: {(exc.message or '').removesuffix('.')}"
            raise jinja2.TemplateSyntaxError(what, 1, self.name, filename) from None
        begin = nodes.EnvironmentAttribute("item_files.begin")
        call = nodes.Call(begin, [nodes.Name(ITEM, "load", lineno=1), *pieces], [], None, None, lineno=1)
        body: list[nodes.Node] = tree.body
        if next(tree.find_all((nodes.Extends, nodes.Block)), None) is not None:
            whole = nodes.Const(self.name + WHOLE_NAME, lineno=1)
            body = [nodes.Include(whole, True, False, lineno=1)]  # Jinja's signature
        imports = [node for node in body if isinstance(node, nodes.Import | nodes.FromImport)]
        body = [nodes.Output([call], lineno=1), *(node for node in body if node not in imports)]
        loop = nodes.For(nodes.Name(ITEM, "store", lineno=1), items, body, [], None, False, lineno=1)
        result = nodes.Template([*imports, loop], lineno=1)
        result.set_environment(environment)
        return result

    def begin(self, item: Any, *pieces: Any) -> str:
        """Return the first line of an item's file; check the file's name, and claim it for a service."""
        run = self._environment.run
        if isinstance(item, Service | OwnedEntry):
            run.last_read = item
        name = "".join(str(text_of(piece)) for piece in pieces)
        if not is_file_name(name):
            self._refuse(run, item, name)
            name = ""
        elif isinstance(item, Service):
            run.claim(Claim(kind="file", value=str(self.each.folder / name), service=item.name))
        return Trusted(f"\n# {_TOKEN} {name}\n")

    def _refuse(self, run: Run, item: Any, name: str) -> None:
        """Leave out the owner of an item whose name cannot be a file's name."""
        what = f"gives the file name {printable(name, SHOWN_NAME_LENGTH)!r}, which may not be one ({NAME_RULE})"
        if isinstance(item, Service):
            run.add_rejection(Rejection(service=item.name, field="name", reason=f"{what}; write | identifier"))
        else:
            run.remark(f"for_each: an item {what}; it gets no file; write | identifier")


def _expression(text: str, environment: jinja2.Environment) -> nodes.Expr:
    parser = Parser(environment, text, state="variable")
    found = parser.parse_expression()
    if not parser.stream.eos:
        parser.fail("more than one expression")
    return found


def _pieces(text: str, environment: jinja2.Environment) -> Iterator[nodes.Expr]:
    """Yield the expressions in a file's name."""
    for node in Parser(environment, text).parse().body:
        if not isinstance(node, nodes.Output):
            raise jinja2.TemplateSyntaxError("the file's name may hold expressions only", 1)
        for piece in node.nodes:
            yield nodes.Const(piece.data, lineno=1) if isinstance(piece, nodes.TemplateData) else piece
