"""The values of a consul-template file by its own dotted paths, checked against the table of its keys. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import field, replace
from typing import Any

from ctemplate.config.hcl_keys import HCL_KEYS, KeyRule
from ctemplate.config.hcl_parser import HclBody, HclItem
from ctemplate.config.hcl_values import show_value, wait_values
from ctemplate.core.errors import ConfigError, printable
from ctemplate.core.values import dataclass

_SECRET_PATH = re.compile(r"(?:token|auth|password)(?:\.|$)")
"""Keys whose values no error shows."""

TEMPLATE = "template"
EMPTY_VALUE = "is empty, which is the same as leaving it out"
HCL_SECTIONS = frozenset(path.rpartition(".")[0] for path in HCL_KEYS) - {""}
SHORT_FORMS = frozenset({"wait", "template.wait", "consul"})
"""Blocks that may be written as one text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message about one key for the operator.

    ``is_loss``: consul-template does something that ctemplate does not. ``is_idle``: with this value both do the same,
    so that only a conversion, which drops the key, reports it.
    """

    where: str
    what: str
    is_loss: bool = False
    is_idle: bool = False
    line: int = 0

    def __str__(self) -> str:
        return printable(f"{self.where}: {self.what}")


@dataclass(slots=True)
class HclTable:
    """The values of one table by consul-template's dotted path, and the items that hold them."""

    values: dict[str, Any] = field(default_factory=dict)
    items: dict[str, HclItem] = field(default_factory=dict)


@dataclass(slots=True)
class HclReader:
    """Reads the tables of the file ``name``; ``notices`` collects the answers for keys without a counterpart."""

    name: str
    notices: list[Notice] = field(default_factory=list)

    def table(self, items: Iterator[HclItem] | list[HclItem], parent: str = "") -> HclTable:
        """Return the values of the items below ``parent``; raises ConfigError."""
        found = HclTable()
        for item in items:
            self._read(item, parent, found)
        return found

    def where(self, item: HclItem, path: str) -> str:
        """Return the place of a key in the file."""
        return f"{self.name}:{item.line}: {path}" if item.line else f"{self.name}: {path}"

    def note(self, item: HclItem, path: str, what: str, *, is_loss: bool = False, is_idle: bool = False) -> None:
        """Add the notice for a key."""
        where = self.where(item, path)
        self.notices.append(Notice(where=where, what=what, is_loss=is_loss, is_idle=is_idle, line=item.line))

    def block(self, item: HclItem, path: str) -> HclBody:
        """Return the block of an item; of a list of blocks the last one, as consul-template does."""
        value = item.value
        if isinstance(value, list) and value:
            value = value[-1]
        if item.labels:
            raise ConfigError(self.where(item, path), f"takes no name, got {item.labels[0]!r}")
        if not isinstance(value, HclBody):
            found = "text" if isinstance(value, str) else show_value(item.value)
            raise ConfigError(self.where(item, path), f"must be a block, got {found}")
        return value

    def _read(self, item: HclItem, parent: str, found: HclTable) -> None:
        path = f"{parent}.{item.key}".lstrip(".")
        rule = HCL_KEYS.get(path)
        if rule is not None:
            self._take(item, path, rule, found)
        elif path not in HCL_SECTIONS:
            raise ConfigError(self.where(item, path), f"unknown key{_suggestion(path)}")
        elif isinstance(item.value, str) and path in SHORT_FORMS:
            self._read_short(item, path, found)
        else:
            body = self.block(item, path)
            for inner in distinct_items(body):
                self._read(inner, path, found)
            found.items[path] = replace(item, comments=(*item.comments, *body.comments))

    def _read_short(self, item: HclItem, path: str, found: HclTable) -> None:
        try:
            values = {"address": item.value} if path == "consul" else wait_values(item.value)
        except ValueError as exc:
            raise ConfigError(self.where(item, path), str(exc)) from exc
        for key, value in values.items():
            found.values[f"{path}.{key}"] = value
            found.items[f"{path}.{key}"] = item

    def _take(self, item: HclItem, path: str, rule: KeyRule, found: HclTable) -> None:
        if rule.answer:
            is_idle = is_without_effect(item.value, rule)
            self.note(item, path, rule.answer, is_loss=rule.is_loss and not is_idle, is_idle=is_idle)
            found.items[path] = item
            return
        try:
            value = rule.read(item.value)
        except ValueError as exc:
            said = str(exc)
            if _SECRET_PATH.search(path) and not said.endswith((" a block", " a list")):
                said = said.partition(", got ")[0]
            raise ConfigError(self.where(item, path), said) from exc
        if value is None:
            self.note(item, path, EMPTY_VALUE, is_idle=True)
            return
        found.values[path] = value
        found.items[path] = item


def distinct_items(body: HclBody) -> Iterator[HclItem]:
    """Yield the items; of a repeated key or block only the last one, as consul-template does."""
    last = {item.key: item for item in body.items}
    return (item for item in body.items if last[item.key] is item)


def repeated_items(body: HclBody) -> Iterator[HclItem]:
    """Yield the items that a later one of the same key replaces."""
    kept = {id(item) for item in distinct_items(body)}
    return (item for item in body.items if id(item) not in kept)


def template_items(body: HclBody) -> Iterator[HclItem]:
    """Yield the templates of a file, those of a list one by one."""
    for item in body.items:
        if item.key == TEMPLATE:
            for value in item.value if isinstance(item.value, list) else [item.value]:
                yield HclItem(key=item.key, value=value, line=item.line, labels=item.labels, comments=item.comments)


def is_without_effect(value: Any, rule: KeyRule) -> bool:
    """Return whether both programs do the same with this value of a key without a counterpart."""
    if isinstance(value, list) and value:
        value = value[-1]
    if isinstance(value, HclBody):
        return any(item.key == "enabled" and item.value in {False, "false"} for item in value.items)
    word = value.upper() if isinstance(value, str) else value
    return any(word == quiet and isinstance(word, bool) == isinstance(quiet, bool) for quiet in rule.quiet)


def _suggestion(path: str) -> str:
    parent, _, key = path.rpartition(".")
    known = {each.rpartition(".")[2] for each in (*HCL_KEYS, *HCL_SECTIONS) if each.rpartition(".")[0] == parent}
    close = difflib.get_close_matches(key, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
