"""Translate consul-template's configuration to our shape. Pure.

The table of keys covers most keys; this module has the root keys and the rules that need more than one key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from ctemplate.config.hcl_keys import HCL_KEYS
from ctemplate.config.hcl_parser import HclBody, HclItem
from ctemplate.config.hcl_reading import (
    TEMPLATE,
    HclReader,
    HclTable,
    Notice,
    distinct_items,
    repeated_items,
    template_items,
)
from ctemplate.core.durations import format_duration, parse_duration
from ctemplate.core.values import dataclass

WAIT_FACTOR = 4  # consul-template's default for a wait's max, as a multiple of its min
COMBINED = frozenset({"consul.auth", "consul.ssl", "syslog", "wait"})
"""Our keys that several of consul-template's keys determine."""
NO_EFFECT = "has no effect here, in consul-template neither; leave it out"
ENV_KEYS = (
    ("pristine", "pristine"),
    ("custom", "custom"),
    ("allowlist", "allowlist", "whitelist"),
    ("denylist", "denylist", "blacklist"),
)
"""Our names, then consul-template's."""
DELIMITERS = ("left_delimiter", "right_delimiter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """A file's values in our shape.

    ``names`` maps our dotted paths to places in the file, ``comments`` to the comment lines there; the empty path is
    the end of the file.
    """

    values: dict[str, Any]
    notices: tuple[Notice, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    comments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def translated(body: HclBody, name: str) -> Translated:
    """Return the translation of a consul-template file; raises ConfigError for an unknown key or an invalid value."""
    reader = HclReader(name)
    top = reader.table([item for item in distinct_items(body) if item.key != TEMPLATE])
    for item in repeated_items(body):
        if item.key != TEMPLATE:
            reader.note(item, item.key, "is there again below, and only the last counts, in consul-template as well")
    result = _Result(reader=reader, table=top)
    result.top()
    results = [_template(reader, item, number) for number, item in enumerate(template_items(body))]
    names, comments = dict(result.names), dict(result.comments)
    for each in results:
        names |= each.names
        comments |= each.comments
    values = result.values | ({TEMPLATE: [each.values for each in results]} if results else {})
    comments[""] = body.comments
    return Translated(
        values=values,
        notices=tuple(sorted(reader.notices, key=lambda notice: notice.line)),
        names=names,
        comments={path: lines for path, lines in comments.items() if lines},
    )


def _template(reader: HclReader, item: HclItem, number: int) -> _Result:
    body = reader.block(item, TEMPLATE)
    place = f"{TEMPLATE}[{number}]"
    result = _Result(reader=reader, table=reader.table(distinct_items(body), TEMPLATE), place=f"{place}.")
    result.names[place] = reader.where(item, TEMPLATE)
    result.comments[place] = (*item.comments, *body.comments)
    result.template()
    return result


@dataclass(slots=True, kw_only=True)
class _Result:
    """One of our tables under construction, from one of consul-template's; ``place`` is the prefix of its paths."""

    reader: HclReader
    table: HclTable
    place: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    comments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def top(self) -> None:
        """Fill in the root keys."""
        for path, value in self.table.values.items():
            ours = HCL_KEYS[path].ours
            if value == "":
                continue  # consul-template treats it as if the key were absent
            if path == "consul.retry.max_backoff" and value == "0":
                self.note(path, "delays between retries stay bounded, by a minute where nothing else is written")
                self.used.add(path)
            elif ours not in COMBINED:
                self.put(ours, value, path)
        self._credentials()
        for block in ("consul.ssl", "syslog"):
            if any(path.startswith(f"{block}.") for path in self.table.values):
                self.put(block, self.table.values.get(f"{block}.enabled", True), block)
        self._wait("wait")
        if "exec" in self.table.items and not self.table.values.get("exec.command"):
            self.note("exec", "has no command, so that nothing is run unless -exec says what")
        self._name_idle_keys()
        self._leave_comments()

    def template(self) -> None:
        """Fill in one template."""
        for key in ("source", "contents", "destination"):
            self._first(key, key)
        self._first("command", "exec.command", "command")
        if "command" in self.values:
            self._time_limit()
            for ours, *keys in ENV_KEYS:
                self._first(f"env.{ours}", *(f"exec.env.{key}" for key in keys))
        for key in ("perms", "wait.min", "wait.max"):
            self._first(key, key)
        for key in ("backup", "create_dest_dirs"):
            if (value := self.table.values.get(f"{TEMPLATE}.{key}")) is not None:
                self.put(key, value, f"{TEMPLATE}.{key}")
        self._owner()
        for key in DELIMITERS:
            self._first(key, key)
        self._wait("template.wait")
        self._name_idle_keys()
        self._leave_comments()

    def put(self, ours: str, value: Any, path: str) -> None:
        """Set the value at our dotted path; it comes from consul-template's ``path``."""
        *parents, last = ours.split(".")
        table = self.values
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
        if (item := self.table.items.get(path)) is not None:
            self.names[f"{self.place}{ours}"] = self.reader.where(item, path)
            self.comments[f"{self.place}{ours}"] = item.comments
            self.used.add(path)

    def _name_idle_keys(self) -> None:
        """Report the keys whose value was neither translated nor answered, by their paths in the file."""
        for path in self.table.values:
            if not self.used.intersection((path, path.rpartition(".")[0])):
                self.reader.note(self.table.items[path], path, NO_EFFECT, is_idle=True)

    def _leave_comments(self) -> None:
        """Keep the comments of keys and blocks that were not translated under their own names."""
        for path, item in self.table.items.items():
            if path not in self.used:
                own = path.removeprefix(f"{TEMPLATE}.") if self.place else path
                self.comments.setdefault(f"{self.place}{own}", item.comments)

    def note(self, path: str, what: str) -> None:
        self.reader.note(self.table.items[path], path, what)

    def _first(self, ours: str, *keys: str) -> str:
        """Set the first of the template's keys that is present and not empty; return its path."""
        for path in (f"{TEMPLATE}.{key}" for key in keys):
            if value := self.table.values.get(path):
                self.put(ours, value, path)
                return path
        return ""

    def _credentials(self) -> None:
        user, password = (self.table.values.get(f"consul.auth.{key}") for key in ("username", "password"))
        if self.table.values.get("consul.auth.enabled", True) and (user or password):
            self.put("consul.auth", f"{user or ''}:{password or ''}", "consul.auth")
            self.used.add("consul.auth")

    def _time_limit(self) -> None:
        path = self._first("timeout", "exec.timeout", "command_timeout")
        if self.values.get("timeout") == "0":
            del self.values["timeout"]
            self.note(path, "a command always has a time limit, 30s where nothing else is written")

    def _owner(self) -> None:
        user = self._first("owner", "user", "uid")
        group = self._first("owner", "group", "gid")
        names = [self.table.values[path] if path else "" for path in (user, group)]
        if group:
            self.values["owner"] = ":".join(names)
        elif user:
            self.values["owner"] = names[0]

    def _wait(self, section: str) -> None:
        """Complete a wait as consul-template does; a disabled wait, or one without min, is dropped."""
        low, high, is_on = (self.table.values.get(f"{section}.{key}") for key in ("min", "max", "bool"))
        if is_on is False or low in {None, "0"}:
            self.values.pop("wait", None)
            self.used -= {f"{section}.{key}" for key in ("min", "max", "bool")}
            if low is None and section in self.table.items and is_on is not False:
                self.note(section, "has no min, so that consul-template does not wait; write min, or leave it out")
            return
        self.used.add(section)
        if high is None:
            self.values["wait"]["max"] = format_duration(WAIT_FACTOR * parse_duration(str(low)))
