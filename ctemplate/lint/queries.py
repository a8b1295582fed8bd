"""Findings for calls of services and service: a tag that the call could ask for, and consul-template's grammar."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import nodes

from ctemplate.lint.finding import Finding
from ctemplate.lint.reading import Reading
from ctemplate.lint.source import TemplateSource, literal
from ctemplate.queries.key import key_path
from ctemplate.template.language.advice import (
    path_call,
    service_call,
    services_call,
    shown,
    status_argument,
    taken_for_a_tag,
)

OTHERS_READ = 0o004
KEY_FUNCTIONS = {
    "key": ("path", False),
    "key_exists": ("path", False),
    "ls": ("prefix", True),
    "tree": ("prefix", True),
}
"""The functions that read the KV store: the name of the first argument, and whether it may name a folder."""
PATHS_AND_DATACENTERS = {"node": "name", "nodes": "dc"} | {name: found[0] for name, found in KEY_FUNCTIONS.items()}
"""The functions to whose first argument consul-template adds the datacenter, behind ``@``."""


def everything(source: TemplateSource, reading: Reading) -> Iterator[Finding]:
    """Yield loops over all services whose body only uses one tag."""
    for loop in source.tree.find_all(nodes.For):
        call = _services(reading.origin(loop.iter))
        if call is None or not isinstance(loop.target, nodes.Name):
            continue
        tag = _tag_asked(loop, loop.target.name)
        if tag is not None:
            message = f"every service is watched, but only one tag is used inside; write services(tag={tag!r})"
            yield source.finding(call, "CT601", message)


def foreign(source: TemplateSource) -> Iterator[Finding]:
    """Yield calls whose name or tag is in consul-template's grammar."""
    for call in source.tree.find_all(nodes.Call):
        if not isinstance(call.node, nodes.Name):
            continue
        if call.node.name == "services" and (meant := services_call(_given(call, "tag", 0) or "")):
            yield source.finding(call.node, "CT107", f"{meant} is how this is written here")
        if call.node.name in {"service", "connect"} and (said := _foreign_service(call, call.node.name)):
            yield source.finding(call.node, "CT107", said)
        if argument := PATHS_AND_DATACENTERS.get(call.node.name):
            path = _given(call, argument, 0) or ""
            if meant := path_call(call.node.name, path):
                said = f"{shown(path)} is consul-template's way of asking; write {meant}"
                yield source.finding(call.node, "CT107", said)


def key_paths(source: TemplateSource) -> Iterator[Finding]:
    """Yield calls whose literal path cannot be a key, which rendering would refuse."""
    for call in source.tree.find_all(nodes.Call):
        if not isinstance(call.node, nodes.Name) or call.node.name not in KEY_FUNCTIONS:
            continue
        function, (argument, may_be_folder) = call.node.name, KEY_FUNCTIONS[call.node.name]
        path = _given(call, argument, 0)
        if path is None:
            continue
        try:
            found = key_path(function, path)
        except ValueError as exc:
            yield source.finding(call.node, "CT108", str(exc))
            continue
        if not may_be_folder and (not found or found.endswith("/")):
            meant = f"; {shown(found)} is a folder, write ls or tree" if found else ""
            yield source.finding(call.node, "CT108", f"{function}: {shown(path)} is no path of a key{meant}")


def exposed_keys(source: TemplateSource, mode: int | None) -> Iterator[Finding]:
    """Yield prints of private keys into a file that others can read, as a new file is by default."""
    if mode is not None and not mode & OTHERS_READ:
        return
    for node in source.tree.find_all(nodes.Getattr):
        if node.attr == "private_key":
            fix = 'the file is readable by others; give its template perms = "0600"'
            yield source.finding(node, "CT406", f"a private key: {fix}")


def _given(call: nodes.Call, name: str, position: int) -> str | None:
    """Return the literal that a call passes for an argument, by name or by position."""
    named = [keyword.value for keyword in call.kwargs if keyword.key == name]
    return literal(next(iter([*named, *call.args[position : position + 1]]), None))


def _foreign_service(call: nodes.Call, function: str) -> str:
    name, tag = _given(call, "name", 0), _given(call, "tag", 1)
    if tag is not None and (status := status_argument(tag)):
        return f"{taken_for_a_tag(tag)}; write {status}"
    meant = service_call(name, function) if name is not None else None
    return f"the name {shown(name)} is consul-template's way of asking; write {meant}" if meant else ""


def _services(listed: nodes.Node) -> nodes.Name | None:
    """Return the call's ``services`` name node if it asks without a tag."""
    if not isinstance(listed, nodes.Call) or not isinstance(listed.node, nodes.Name) or listed.node.name != "services":
        return None
    has_tag = bool(listed.args) or any(keyword.key == "tag" for keyword in listed.kwargs) or listed.dyn_kwargs
    return None if has_tag else listed.node


def _tag_asked(loop: nodes.For, name: str) -> str | None:
    """Return the one tag that a loop tests on services or their instances; None for no tag or several.

    A condition with another branch (``else``), or with other text beside it, does not count.
    """
    if loop.test is not None and (tag := _membership(loop.test, name)) is not None:
        return tag
    whole = [node for node in loop.body if not _is_blank(node) and not isinstance(node, nodes.Assign)]
    condition = whole[0] if len(whole) == 1 else None
    if isinstance(condition, nodes.If) and not condition.else_ and not condition.elif_:
        tag = _membership(condition.test, name)
        if tag is not None:
            return tag
    tags = [_tag_of(call) for call in loop.find_all(nodes.Call) if _is_service_of(call, name)]
    return tags[0] if tags and len(set(tags)) == 1 else None


def _is_blank(node: nodes.Node) -> bool:
    pieces = node.nodes if isinstance(node, nodes.Output) else [node]
    return all(isinstance(piece, nodes.TemplateData) and not piece.data.strip() for piece in pieces)


def _membership(test: nodes.Node, name: str) -> str | None:
    """Return the tag of ``"tag" in NAME.tags``, alone or combined with other tests by ``and``."""
    if isinstance(test, nodes.And):
        left = _membership(test.left, name)
        return left if left is not None else _membership(test.right, name)
    if not isinstance(test, nodes.Compare) or len(test.ops) != 1 or test.ops[0].op != "in":
        return None
    tags = test.ops[0].expr
    is_of_loop = isinstance(tags, nodes.Getattr) and tags.attr == "tags" and tags.node == nodes.Name(name, "load")
    return literal(test.expr) if is_of_loop else None


def _is_service_of(call: nodes.Call, name: str) -> bool:
    """Return whether a call is ``service(NAME.name, …)``."""
    is_service = isinstance(call.node, nodes.Name) and call.node.name == "service"
    return is_service and bool(call.args) and call.args[0] == nodes.Getattr(nodes.Name(name, "load"), "name", "load")


def _tag_of(call: nodes.Call) -> str | None:
    given = [keyword.value for keyword in call.kwargs if keyword.key == "tag"] or call.args[1:2]
    return literal(given[0]) if given else None
