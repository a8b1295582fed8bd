"""Which parts of a template's top level are cut into sections: long rows of prints of single keys.

A section is cached like the body of a loop, so that a written key costs the rendering of its section. Knows Jinja's
tree only; must not know how fragments are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from jinja2 import nodes

KEY_READERS = frozenset({"key", "key_exists"})
"""The only names that a section may use: whatever else it could read depends on what stands around it."""

SECTION_PIECES = 32
"""Prints of a section, with the text between them; a shorter row is not cut."""


def cut_into_sections(template: nodes.Template) -> frozenset[int]:
    """Put the sections of a template's top level into scopes of their own; return the identities of these.

    A template that extends another one prints nothing at its top level.
    """
    if template.find(nodes.Extends) is not None:
        return frozenset()
    body = [part for statement in template.body for part in _parts(statement)]
    before, template.body = set(map(id, template.body)), body
    return frozenset(id(part) for part in body if isinstance(part, nodes.Scope) and id(part) not in before)


def _parts(statement: nodes.Node) -> Iterator[nodes.Node]:
    if not isinstance(statement, nodes.Output):
        yield statement
        return
    for is_closed, run in groupby(statement.nodes, _reads_only_keys):
        row = list(run)
        if not is_closed or len(row) < SECTION_PIECES:
            yield nodes.Output(row, lineno=row[0].lineno)
            continue
        for at in range(0, len(row), SECTION_PIECES):
            section = nodes.Output(row[at : at + SECTION_PIECES], lineno=row[at].lineno)
            yield nodes.Scope([section], lineno=section.lineno)


def _reads_only_keys(node: nodes.Node) -> bool:
    names: Iterable[nodes.Name] = (node,) if isinstance(node, nodes.Name) else node.find_all(nodes.Name)
    return all(name.name in KEY_READERS for name in names)
