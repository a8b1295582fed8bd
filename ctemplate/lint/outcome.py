"""Findings for output that nginx may refuse or ignore, depending on what is registered.

These are empty upstreams, and ports and names that clash.
"""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import nodes

from ctemplate.core.model import Instance, Service
from ctemplate.lint.finding import Finding
from ctemplate.lint.kinds import ValueKind
from ctemplate.lint.reading import Reading
from ctemplate.lint.source import TemplateSource, start
from ctemplate.lint.text import Branch, PrintSite, Text, Upstream
from ctemplate.nginx.language.lexer import TextMode

PORT_FIX = "use svc.listen_port, or claim(…), so that one of them is left out and named"
NAME_FIX = 'use claim("server_name", …, svc), so that one of them is left out and named'


def empty_upstreams(source: TemplateSource, reading: Reading, text: Text) -> Iterator[Finding]:
    """Yield upstreams whose servers all come from loops that may be empty."""
    for upstream in text.upstreams:
        if _may_be_empty(upstream, reading):
            message = "may have no server, which nginx refuses; guard it by {% if … %}, or add {% else %}"
            yield source.finding(upstream.offset, "CT501", message)


def _may_be_empty(upstream: Upstream, reading: Reading) -> bool:
    if upstream.is_filled or not upstream.loops:
        return False
    return all(
        reading.kind(loop.iter).items == ValueKind(of=Instance) and not _is_guarded(loop, branches, reading)
        for loop, branches in upstream.loops
    )


def _is_guarded(loop: nodes.For, branches: tuple[Branch, ...], reading: Reading) -> bool:
    """Return whether a condition around the loop tests the loop's list."""
    listed = reading.origin(loop.iter)
    tests = [branch.node.test for branch in branches if isinstance(branch.node, nodes.If)]
    return any(_asks(test, loop.iter, listed, reading) for test in tests)


def _asks(test: nodes.Node, named: nodes.Node, listed: nodes.Node, reading: Reading) -> bool:
    asked = [test, *test.find_all(nodes.Expr)]
    seen = [reading.origin(node) for node in asked]
    deeper = [part for node in seen for part in (node, *node.find_all(nodes.Expr))]
    return any(node in (named, listed) for node in [*asked, *deeper])


def clash_findings(source: TemplateSource, reading: Reading, text: Text) -> Iterator[Finding]:
    """Yield ports and server names made from registered values that two services may share."""
    for printed in text.prints:
        if printed.position.mode is not TextMode.BARE or not _is_repeated(printed, reading):
            continue
        kind = reading.kind(printed.node)
        if not kind.field or kind.is_claimed:
            continue
        offset, directive = start(printed.node), printed.position.directive
        if directive == "listen":
            yield source.finding(offset, "CT502", f"two services may ask for one port; {PORT_FIX}")
        elif directive == "server_name" and not (kind.is_whole and kind.field == "name"):
            yield source.finding(offset, "CT503", f"two services may share a server name; {NAME_FIX}")


def _is_repeated(printed: PrintSite, reading: Reading) -> bool:
    """Return whether a print is within a loop over services or instances."""
    repeated = (ValueKind(of=Service), ValueKind(of=Instance))
    loops = (branch.node for branch in printed.branches if isinstance(branch.node, nodes.For))
    return any(reading.kind(loop.iter).items in repeated for loop in loops)
