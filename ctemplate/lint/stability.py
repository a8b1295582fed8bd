"""Findings for output that changes although its data did not: each change costs a reload."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import nodes

from ctemplate.lint.finding import Finding
from ctemplate.lint.reading import Reading
from ctemplate.lint.source import TemplateSource, start
from ctemplate.lint.text import PrintSite, Text
from ctemplate.nginx.language.lexer import TextMode

POSITIONS = frozenset({"index", "index0", "revindex", "revindex0"})
NAMING = frozenset({"upstream", "zone", "server_name", "listen", "proxy_pass"})
"""Directives whose argument is a name or port that nginx keeps state for or refers to."""

_SORTED = frozenset(
    [
        "sort",
        "natural_sort",
        "dictsort",
        "groupby",
        "by_tag",
        "by_meta",
        "by_port",
        "by_key",
        "length",
        "count",
        "first",
        "last",
    ]
)
_CLOCK = "now() gives another text with each render, and each costs a reload"
_CHANCE = "| random gives another value with each render, and each costs a reload; give a seed: | random(seed=…)"


def clock_and_chance(source: TemplateSource) -> Iterator[Finding]:
    """Yield expressions whose value differs with each render."""
    for call in source.tree.find_all(nodes.Call):
        if call.node == nodes.Name("now", "load"):
            yield source.finding(call.node, "CT301", _CLOCK)
    for chosen in source.tree.find_all(nodes.Filter):
        if chosen.name == "random" and not chosen.args and not chosen.kwargs:
            yield source.finding(chosen, "CT301", _CHANCE)


def moving_orders(source: TemplateSource, reading: Reading) -> Iterator[Finding]:
    """Yield loops over lists that have no stable order."""
    for loop in source.tree.find_all(nodes.For):
        near = _near(loop.iter, reading)
        if near is not None:
            message = "near= orders by round-trip time, which changes all the time; add | sort(attribute=…)"
            yield source.finding(near, "CT302", message)
        kind = reading.kind(loop.iter)
        if kind.field and (kind.of is dict or (kind.of is tuple and _is_pairs(loop.iter))):
            message = f"the order of {kind.field} is as the source gives it; loop over … | dictsort"
            yield source.finding(loop.iter, "CT302", message)


def _near(listed: nodes.Node, reading: Reading) -> nodes.Keyword | None:
    """Return the ``near`` of the call whose order a loop uses, None if the loop's list is sorted."""
    listed = reading.origin(listed)
    while isinstance(listed, nodes.Filter) and listed.node is not None:
        if listed.name in _SORTED:
            return None
        listed = reading.origin(listed.node)
    if not isinstance(listed, nodes.Call) or not isinstance(listed.node, nodes.Name) or listed.node.name != "service":
        return None
    return next((keyword for keyword in listed.kwargs if keyword.key == "near"), None)


def _is_pairs(listed: nodes.Node) -> bool:
    """Return whether an expression is a call of ``items``, ``keys`` or ``values``."""
    if not isinstance(listed, nodes.Call) or not isinstance(listed.node, nodes.Getattr):
        return False
    return listed.node.attr in {"items", "keys", "values"}


def positions(source: TemplateSource, text: Text) -> Iterator[Finding]:
    """Yield names that contain the position in a loop."""
    for printed in text.prints:
        found = _position(printed)
        if found is not None:
            where = printed.position.directive
            message = f"loop.{found.attr} makes every later {where} change when one service comes or goes; use the name"
            yield source.finding(start(found), "CT303", message)


def _position(printed: PrintSite) -> nodes.Getattr | None:
    if printed.position.mode is not TextMode.BARE or printed.position.directive not in NAMING:
        return None
    fields = [*printed.node.find_all(nodes.Getattr)]
    if isinstance(printed.node, nodes.Getattr):
        fields.append(printed.node)
    return next((node for node in fields if node.node == nodes.Name("loop", "load") and node.attr in POSITIONS), None)
