"""Move line breaks in a tree from the beginnings of blocks to their ends, where the output stays the same.

``{{- range … }}`` begins each turn with the line break before it; a readable template ends each turn with one. For a
line break c: p (cX)… cY prints the same as pc (Xc)… Y.
"""

from __future__ import annotations

from dataclasses import replace

from ctemplate.convert import go_ast as go

BREAK = "\n"


def rotated(body: go.Body, *, at_start: bool = True) -> go.Body:
    """Return nodes with the same output; ``at_start`` says whether they begin between two lines."""
    nodes = list(body)
    number = 0
    while number < len(nodes):
        node = nodes[number]
        if isinstance(node, go.GoText):
            at_start = node.text.endswith(BREAK)
        elif isinstance(node, go.Control):
            if not at_start and _can_rotate(node, nodes[number + 1 :]):
                node = replace(node, body=_moved(node.body), otherwise=_moved(node.otherwise))
                nodes[number + 1 :] = _without(nodes[number + 1 :])
                nodes.insert(number, go.GoText(BREAK, at=node.at))
                number += 1
                at_start = True
            nodes[number] = _within(node, at_start=at_start)
        elif isinstance(node, go.Define | go.GoBlock):
            nodes[number] = replace(node, body=rotated(node.body))
        elif not _is_invisible(node):
            at_start = False
        number += 1
    return tuple(node for node in nodes if not (isinstance(node, go.GoText) and not node.text))


def _within(node: go.Control, *, at_start: bool) -> go.Control:
    body, otherwise = (rotated(part, at_start=at_start) for part in (node.body, node.otherwise))
    return replace(node, body=body, otherwise=otherwise)


def _is_invisible(node: go.Node) -> bool:
    """Return whether a node prints nothing."""
    return isinstance(node, go.Comment) or (isinstance(node, go.Action) and bool(node.pipeline.variables))


def _first_visible(nodes: list[go.Node] | go.Body) -> int | None:
    return next((number for number, node in enumerate(nodes) if not _is_invisible(node)), None)


def _begins_with_break(nodes: list[go.Node] | go.Body) -> bool:
    number = _first_visible(nodes)
    first = None if number is None else nodes[number]
    return isinstance(first, go.GoText) and first.text.startswith(BREAK)


def _can_rotate(node: go.Control, following: list[go.Node]) -> bool:
    parts = (node.body, node.otherwise)
    if not _begins_with_break(following) or _leaves_loop((node,)):
        return False
    return all(_first_visible(part) is None or _begins_with_break(part) for part in parts)


def _leaves_loop(body: go.Body) -> bool:
    """Return whether the nodes contain ``break`` or ``continue``, which would skip a line break at the end."""
    for node in body:
        if isinstance(node, go.Break | go.Continue):
            return True
        if isinstance(node, go.Control) and (_leaves_loop(node.body) or _leaves_loop(node.otherwise)):
            return True
    return False


def _without(nodes: list[go.Node] | go.Body) -> list[go.Node]:
    """Return the nodes without their leading line break."""
    number = _first_visible(nodes)
    found = list(nodes)
    if number is not None and isinstance(text := found[number], go.GoText):
        found[number] = replace(text, text=text.text.removeprefix(BREAK))
    return found


def _moved(body: go.Body) -> go.Body:
    """Return a body with its first line break moved to its end."""
    if _first_visible(body) is None:
        return body
    nodes = [node for node in _without(body) if not (isinstance(node, go.GoText) and not node.text)]
    if nodes and isinstance(last := nodes[-1], go.GoText):
        return (*nodes[:-1], replace(last, text=last.text + BREAK))
    return (*nodes, go.GoText(BREAK))
