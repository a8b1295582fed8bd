"""Convert Go's defined templates to Jinja's macros: their names and their arguments."""

from __future__ import annotations

import re
from collections.abc import Collection

from ctemplate.convert import go_ast as go
from ctemplate.convert.values import NIL, STRING, GoType, GoValue, NeverRenders, NotConverted

_RESERVED = frozenset(
    """
    and block break ca_leaf ca_roots call caller claim connect continue cycler datacenters dict do else elif endif
    endfor env exported_services extends fail false file filter for from if import imported_services in include is
    joiner key key_exists kwargs listen_port loop ls macro namespace node nodes none not now or partitions peerings
    query range raw recursive require self service services set super tree true unconverted var varargs with
    """.split()  # noqa: SIM905  # a list of words would be a page
)
_MOST_TYPES = 8
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OTHERS = re.compile(r"[^a-z0-9_]+")


def is_reserved(wanted: str) -> bool:
    """Return whether a name is reserved in Jinja or in ctemplate."""
    return _plain(wanted) in _RESERVED


def _plain(wanted: str) -> str:
    return _OTHERS.sub("_", _CAPITAL.sub("_", wanted).lower()).strip("_") or "value"


def unused_macros(wanted: str, taken: Collection[str]) -> str:
    """Return a name similar to the wanted one that is neither taken nor reserved in Jinja or in ctemplate."""
    base = _plain(wanted)
    base = base if base.isidentifier() else f"v_{base}"
    base = f"{base}_" if base in _RESERVED else base
    number, name = 1, base
    while name in _RESERVED or name in taken:
        number += 1
        name = f"{base}{number}"
    return name


class Macros:
    """The templates that a template defines. ``calls`` are the argument types of each, as far as they are known.

    Each type gets its own macro, because the same field may mean something else for another type.
    """

    def __init__(self, body: go.Body) -> None:
        self.bodies: dict[str, go.Define | go.GoBlock] = {}
        self.repeated: set[str] = set()
        self.calls: dict[tuple[str, GoType], str] = {}
        self._collect(body)

    @property
    def taken(self) -> tuple[str, ...]:
        """Return the names of all macros."""
        return tuple(self.calls.values())

    def _collect(self, body: go.Body) -> None:
        for node in body:
            if isinstance(node, go.Define | go.GoBlock):
                if node.name.value in self.bodies:
                    self.repeated.add(node.name.value)
                self.bodies[node.name.value] = node
                self._collect(node.body)
            elif isinstance(node, go.Control):
                self._collect(node.body)
                self._collect(node.otherwise)

    def call(self, name: str, argument: GoValue | None) -> GoValue:
        """Return the value that a template prints for an argument; raises NotConverted."""
        if name not in self.bodies:
            raise NotConverted(f"the template {name!r}, which is not defined here", "define it here, or include a file")
        if name in self.repeated:
            raise NeverRenders(f"the template {name!r}, which is defined twice")
        kind = NIL if argument is None else argument.type
        if (name, kind) not in self.calls:
            if sum(known == name for known, _ in self.calls) >= _MOST_TYPES:
                raise NotConverted(f"the template {name!r} with more types of arguments", "split it up")
            self.calls[name, kind] = unused_macros(name, self.taken)
        code = "" if argument is None or kind == NIL else argument.given().code
        return GoValue(f"{self.calls[name, kind]}({code})", STRING)
