"""Convert consul-template's scratch, a table that lasts for one render, to a Jinja namespace."""

from __future__ import annotations

from collections.abc import Sequence

from ctemplate.convert.macros import unused_macros
from ctemplate.convert.values import (
    BOOL,
    PLAIN_TYPES,
    SCALAR,
    STRING,
    GoType,
    GoValue,
    Level,
    NeverRenders,
    NotConverted,
)

SCRATCH = "scratch"
_ARGUMENTS = {"Key": 1, "Get": 1, "MapValues": 1, "Set": 2, "SetX": 2, "MapSet": 3, "MapSetX": 3}
_SETTERS = frozenset(["Set", "SetX", "MapSet", "MapSetX"])


class Scratch:
    """The keys that a template uses: their names in the namespace, and the types of their values.

    ``sure`` are the keys that are certainly set at this point; the caller restores it when it leaves a block.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, GoType] = {}
        self._names: dict[str, str] = {}
        self.sure: set[str] = set()

    def declaration(self) -> str | None:
        """Return the tag that creates the namespace, None if it is not used."""
        names = ", ".join(f"{name}=none" for name in self._names.values())
        return f"set {SCRATCH} = namespace({names})" if names else None

    def value(self, method: str, arguments: Sequence[GoValue]) -> GoValue:
        """Return the value of a method's call; raises NotConverted."""
        code = self._place(method, arguments)
        key = str(arguments[0].constant)
        if method == "Key":
            return GoValue(f"{code} is not none", BOOL, Level.COMPARISON)
        kind = self.kinds.get(key, STRING)
        if method == "MapValues":
            values = f"({code} or {{}}) | dictsort(true) | map(attribute=1) | list"
            return GoValue(values, GoType("list", kind.item or STRING), Level.FILTERED)
        if method != "Get":
            raise NotConverted(f"scratch.{method} within an expression", "use a separate action")
        if key not in self.sure and kind in PLAIN_TYPES:
            return GoValue(code, kind, may_be_nil=True)
        return GoValue(code, kind)

    def assignment(self, method: str, arguments: Sequence[GoValue]) -> str | None:
        """Return the tag for a method that sets a key, None for any other method; raises NotConverted."""
        if method not in _SETTERS:
            return None
        code = self._place(method, arguments)
        key, value = str(arguments[0].constant), arguments[-1].given()
        if method.startswith("Map"):
            self._note(key, GoType("map", value.type))
            return f"set {code} = {self._with_item(method, code, arguments[1], value)}"
        self._note(key, value.type)
        self.sure.add(key)
        kept = f"{value.at(Level.OR)} if {code} is none else {code}" if method == "SetX" else value.code
        return f"set {code} = {kept}"

    @staticmethod
    def _with_item(method: str, code: str, key: GoValue, value: GoValue) -> str:
        item = f"{{{key.given().code}: {value.code}}}"
        if method == "MapSetX":
            return f"dict({item}, **({code} or {{}}))"
        return f"dict({code} or {{}}, **{item})"

    def _place(self, method: str, arguments: Sequence[GoValue]) -> str:
        """Return the text that reads a key."""
        if not arguments or len(arguments) != _ARGUMENTS.get(method, 0):
            raise NeverRenders(f"scratch.{method} with {len(arguments)} arguments")
        key = arguments[0].constant
        if not isinstance(key, str):
            raise NotConverted("scratch with a computed key", "use a dict of your own")
        if key not in self._names:
            self._names[key] = unused_macros(key, self._names.values())
        return f"{SCRATCH}.{self._names[key]}"

    def _note(self, key: str, kind: GoType) -> None:
        known = self.kinds.setdefault(key, kind)
        if known == kind:
            return
        if not {known, kind} <= PLAIN_TYPES:
            raise NotConverted(f"scratch with a {kind.name} where it holds a {known.name}", "use another key")
        self.kinds[key] = SCALAR
