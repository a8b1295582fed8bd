"""The result of converting a Go expression: its text in Jinja, and the known facts about its type.

Must not know Go's tree or the functions of consul-template.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Set as AbstractSet
from dataclasses import dataclass, replace

from ctemplate.convert.layout import Exact, LayoutPiece, Print, quoted
from ctemplate.core.go_numbers import go_float

_MAPPING_METHODS = frozenset(dir(dict))
_KEYED = frozenset(["map", "groups"])
Constant = str | int | bool | float
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class NotConverted(Exception):
    """Something without a counterpart; ``advice`` says what to write instead."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice


class NeverRenders(NotConverted):
    """Something for which consul-template itself always ends with an error."""

    def __init__(self, what: str) -> None:
        super().__init__(what, "consul-template ends with an error here, too")


class Level(enum.IntEnum):
    """The precedence of a Jinja expression."""

    CHOICE = 0
    OR = 1
    AND = 2
    NOT = 3
    COMPARISON = 4
    SUM = 5
    JOINED = 6
    PRODUCT = 7
    UNARY = 8
    FILTERED = 9
    POSTFIX = 10


@dataclass(frozen=True, slots=True)
class GoType:
    """A Go type as templates see it: a name, the type of the items of lists and maps, and a record's fields."""

    name: str
    item: GoType | None = None
    fields: tuple[tuple[str, GoType], ...] = ()


STRING = GoType("string")
INT = GoType("int")
FLOAT = GoType("float")
BOOL = GoType("bool")
NIL = GoType("nil")
SCALAR = GoType("text or number")
MIXED = GoType("mixed value")
PLAIN_VALUE = GoType("text, number or boolean")
PARSED = GoType("parsed value")
PARSED_YAML = GoType("value of YAML")
"""Like a parsed value, but integers stay integers; in parsed JSON they are floats."""
PARSED_MAP = GoType("map", PARSED)
PARSED_KINDS = frozenset([PARSED, PARSED_YAML])
PLAIN_TYPES = frozenset([STRING, INT, SCALAR])
"""Types that print the same in Go and in Jinja."""
TABLE_TYPES = frozenset([STRING, INT, FLOAT, BOOL, SCALAR, PLAIN_VALUE, PARSED_YAML])
"""Types that a table of any values can hold."""
UNCONVERTED = GoType("unconverted")
STRINGS = GoType("list", STRING)
STRING_MAP = GoType("map", STRING)
CHECK = GoType("check")
INSTANCE = GoType("instance")
SERVICE = GoType("service")
PAIR = GoType("pair")
PAIRS = GoType("list", PAIR)
KEYED_PAIRS = GoType("keyed pairs", PAIR)
"""A list of pairs, which Go stores as a map by their keys."""
TAGGED_ADDRESS = GoType("tagged address")
WEIGHTS = GoType("pair of weights")
NODE = GoType("node")
NODE_SERVICE = GoType("service of a node")
NODE_AND_SERVICES = GoType("node with its services")
ROOT_CERTIFICATE = GoType("root certificate")
LEAF_CERTIFICATE = GoType("certificate")
PEERING = GoType("peering")
PEERING_STREAM = GoType("peering's stream")
PEERING_REMOTE = GoType("peering's other side")
PARTITION = GoType("partition")
EXPORTED_SERVICE = GoType("exported service")
CONSUMERS = GoType("exported service's consumers")
IMPORTED_SERVICE = GoType("imported service")
NUMBERED_PARTS = GoType("numbered parts", STRING)
"""The parts of a text, which sprig stores as a map with the keys ``_0``, ``_1`` and so on."""


def widened_type(kinds: AbstractSet[GoType]) -> GoType | None:
    """Return the type of a value that may have any of these types, None if no common way of printing exists."""
    if kinds <= PLAIN_TYPES:
        return SCALAR
    return PLAIN_VALUE if kinds <= {BOOL, FLOAT, PLAIN_VALUE, *PLAIN_TYPES} else None


def record_of(fields: Mapping[str, GoType]) -> GoType:
    """Return the type of a table whose keys are known."""
    return GoType("record", fields=tuple(fields.items()))


def groups_of(item: GoType) -> GoType:
    """Return the type of a list of keys, each with its items; Go stores it as a map."""
    return GoType("groups", item)


VALUE_FIELDS: Mapping[GoType, Mapping[str, tuple[str, GoType]]] = {
    INSTANCE: {
        "ID": ("id", STRING),
        "Name": ("name", STRING),
        "Address": ("ip", STRING),
        "Port": ("port", INT),
        "Tags": ("tags", STRINGS),
        "Status": ("status", STRING),
        "ServiceMeta": ("meta", STRING_MAP),
        "Node": ("node", STRING),
        "NodeID": ("node_id", STRING),
        "NodeAddress": ("node_ip", STRING),
        "NodeMeta": ("node_meta", STRING_MAP),
        "NodeTaggedAddresses": ("node_tagged_addresses", STRING_MAP),
        "ServiceTaggedAddresses": ("tagged_addresses", GoType("map", TAGGED_ADDRESS)),
        "Weights": ("weights", WEIGHTS),
        "Checks": ("checks", GoType("list", CHECK)),
    },
    TAGGED_ADDRESS: {"Address": ("ip", STRING), "Port": ("port", INT)},
    WEIGHTS: {"Passing": ("passing", INT), "Warning": ("warning", INT)},
    CHECK: {
        "CheckID": ("id", STRING),
        "Name": ("name", STRING),
        "Status": ("status", STRING),
        "Notes": ("notes", STRING),
        "Output": ("output", STRING),
        "ServiceID": ("service_id", STRING),
    },
    SERVICE: {"Name": ("name", STRING), "Tags": ("tags", STRINGS)},
    PAIR: {"Key": ("key", STRING), "Path": ("path", STRING), "Value": ("value", STRING)},
    NODE: {
        "ID": ("id", STRING),
        "Node": ("name", STRING),
        "Address": ("ip", STRING),
        "Datacenter": ("datacenter", STRING),
        "Meta": ("meta", STRING_MAP),
        "TaggedAddresses": ("tagged_addresses", STRING_MAP),
    },
    NODE_SERVICE: {
        "ID": ("id", STRING),
        "Service": ("name", STRING),
        "Address": ("ip", STRING),
        "Port": ("port", INT),
        "Tags": ("tags", STRINGS),
        "Meta": ("meta", STRING_MAP),
    },
    NODE_AND_SERVICES: {"Node": ("node", NODE), "Services": ("services", GoType("list", NODE_SERVICE))},
    ROOT_CERTIFICATE: {
        "ID": ("id", STRING),
        "Name": ("name", STRING),
        "RootCertPEM": ("pem", STRING),
        "Active": ("is_active", BOOL),
    },
    LEAF_CERTIFICATE: {
        "CertPEM": ("pem", STRING),
        "PrivateKeyPEM": ("private_key", STRING),
        "Service": ("service", STRING),
        "ServiceURI": ("uri", STRING),
        "SerialNumber": ("serial", STRING),
    },
    PEERING: {
        "ID": ("id", STRING),
        "Name": ("name", STRING),
        "Partition": ("partition", STRING),
        "Meta": ("meta", STRING_MAP),
        "PeeringState": ("state", STRING),
        "PeerID": ("peer_id", STRING),
        "PeerServerName": ("server_name", STRING),
        "PeerServerAddresses": ("server_addresses", STRINGS),
        "StreamStatus": ("", PEERING_STREAM),
        "Remote": ("", PEERING_REMOTE),
    },
    PEERING_STREAM: {"ImportedServices": ("imported", STRINGS), "ExportedServices": ("exported", STRINGS)},
    PEERING_REMOTE: {"Partition": ("remote_partition", STRING), "Datacenter": ("remote_datacenter", STRING)},
    PARTITION: {"Name": ("name", STRING), "Description": ("description", STRING)},
    EXPORTED_SERVICE: {"Service": ("name", STRING), "Consumers": ("", CONSUMERS)},
    CONSUMERS: {"Peers": ("peers", STRINGS), "Partitions": ("partitions", STRINGS)},
    IMPORTED_SERVICE: {
        "Service": ("name", STRING),
        "Namespace": ("namespace", STRING),
        "SourcePartition": ("source_partition", STRING),
    },
}
"""The fields of Consul's data that our templates can read, with their names here; a record within one has no name."""

DETAIL_FIELDS = frozenset({"Notes", "Output", "ServiceTaggedAddresses", "NodeTaggedAddresses", "Weights"})
"""The fields of instances and their checks that our functions only return with ``details=true``."""

GO_TEXTS: Mapping[GoType, str] = {
    FLOAT: "go_text",
    PLAIN_VALUE: "go_text(whole=true)",
    PARSED: "go_text",
    PARSED_YAML: "go_text(whole=true)",
    STRING_MAP: "go_text",
    PARSED_MAP: "go_text",
}
"""The filters that print values in Go's form where Jinja's differs."""

DOT_NAMES = {
    INSTANCE: "i",
    SERVICE: "svc",
    CHECK: "check",
    PAIR: "pair",
    INT: "number",
    STRING: "text",
    TAGGED_ADDRESS: "place",
    WEIGHTS: "weights",
    NODE: "host",
    NODE_SERVICE: "svc",
    NODE_AND_SERVICES: "found",
    KEYED_PAIRS: "pairs",
    ROOT_CERTIFICATE: "root",
    LEAF_CERTIFICATE: "leaf",
    PEERING: "peering",
    PEERING_STREAM: "peering",
    PEERING_REMOTE: "peering",
    PARTITION: "part",
    EXPORTED_SERVICE: "exported",
    CONSUMERS: "exported",
    IMPORTED_SERVICE: "imported",
}
"""The name for dot in a loop over such items."""


@dataclass(frozen=True, slots=True)
class GoValue:
    """An expression: its text, its type, and its precedence.

    ``constant`` is its value if that is known; ``parts`` are the parts of a concatenated text. ``may_lack`` marks a key
    that a map may lack, ``is_path`` an expression that costs nothing to repeat, ``is_natural`` a number that is never
    negative, ``waits`` a value without which consul-template renders nothing. ``negation`` is the text of its negation,
    if that reads better than ``not``. ``origin`` are the parts of the text that a variable was given, as long as they
    can be written in its place; ``unguarded`` is the text of a list that is not empty. ``may_be_nil`` marks a value
    that may be nothing at all, which prints ``<no value>``.
    """

    code: str
    type: GoType
    level: Level = Level.POSTFIX
    constant: Constant | None = None
    parts: tuple[GoValue, ...] = ()
    may_lack: bool = False
    is_path: bool = False
    is_natural: bool = False
    waits: bool = False
    negation: str = ""
    origin: tuple[GoValue, ...] = ()
    unguarded: str = ""
    may_be_nil: bool = False

    def at(self, level: Level) -> str:
        """Return the text for such a place, in parentheses if it needs them."""
        return self.code if self.level >= level else f"({self.code})"

    def given(self) -> GoValue:
        """Return the value with Go's replacement for a missing key: for a parsed value there is none."""
        if not self.may_lack or self.type in PARSED_KINDS:
            return self
        nothing = "none" if self.type == PAIR else "[]" if self.type.name == "list" else chr(34) * 2
        code = f"{self.at(Level.FILTERED)} | default({nothing})"
        return replace(self, code=code, level=Level.FILTERED, may_lack=False, is_path=False)

    def field(self, name: str) -> GoValue:
        """Return a field of the value; raises NotConverted."""
        if self.type == UNCONVERTED:
            return replace(self, code=f"{self.at(Level.POSTFIX)}.{name}")
        if self.type.name in _KEYED or self.type in {KEYED_PAIRS, *PARSED_KINDS}:
            return self.item(constant(name))
        if self.type.name == "record":
            return self._field_of_record(name)
        if self.type == NUMBERED_PARTS and name[:1] == "_" and name[1:].isdecimal():
            part = f"{self.at(Level.POSTFIX)}[{int(name[1:])}]"
            return GoValue(f'{part} | default("")', STRING, Level.FILTERED)
        known = VALUE_FIELDS.get(self.type, {})
        if name not in known:
            raise NotConverted(
                f".{name}, which a {self.type.name} does not have", f"known: {', '.join(known) or 'nothing'}"
            )
        ours, kind = known[name]
        if not ours:
            return replace(self, type=kind)
        return self._read_field(ours, kind)

    def _read_field(self, ours: str, kind: GoType) -> GoValue:
        """Return a field by its name here; Go reads the fields of an address that a map lacks as empty."""
        if self.type == TAGGED_ADDRESS and self.may_lack:
            nothing = 0 if kind == INT else '""'
            code = f"({self.at(Level.FILTERED)} | default({{}})).{ours} | default({nothing})"
            return GoValue(code, kind, Level.FILTERED, is_natural=kind == INT)
        code = f"{self.at(Level.POSTFIX)}.{ours}"
        return GoValue(code, kind, is_path=self.is_path, is_natural=kind == INT)

    def _field_of_record(self, name: str) -> GoValue:
        """Return the value of a known key; a key that is not there has none."""
        kind = dict(self.type.fields).get(name)
        if kind is None:
            return GoValue("none", PARSED_YAML, is_path=True)
        return replace(self._member(constant(name), is_map=True), type=kind)

    def item(self, key: GoValue) -> GoValue:
        """Return an item of the list or map; raises NotConverted."""
        if self.type.name == "record" and isinstance(key.constant, str):
            return self._field_of_record(key.constant)
        if self.type in PARSED_KINDS:
            return replace(self._member(key, is_map=True), type=self.type, may_lack=True)
        if self.type == KEYED_PAIRS and key.type in {STRING, SCALAR}:
            code = f'({self.at(Level.FILTERED)} | selectattr("key", "==", {key.given().code}) | first)'
            return GoValue(code, PAIR, may_lack=True)
        kind = self.type.item
        if kind is None or self.type.name not in {"list", *_KEYED}:
            raise NeverRenders(f"index of a {self.type.name}")
        if self.type.name == "groups":
            table = GoValue(f"dict({self.code})", GoType("map", kind))
            return replace(table, is_path=False).item(key)
        wanted = STRING if self.type.name == "map" else INT
        if key.type not in {wanted, *PARSED_KINDS}:
            raise NeverRenders(f"index of a {self.type.name} by a {key.type.name}")
        if wanted == INT and isinstance(key.constant, int) and key.constant < 0:
            raise NeverRenders("index of a list by a negative number")
        return replace(self._member(key, is_map=wanted == STRING), type=kind, may_lack=wanted == STRING)

    def _member(self, key: GoValue, *, is_map: bool) -> GoValue:
        name, owner = key.constant, self.at(Level.POSTFIX)
        if self.unguarded and isinstance(name, int) and name > 0:
            owner = self.unguarded
        is_plain = isinstance(name, str) and bool(_NAME.fullmatch(name)) and name not in _MAPPING_METHODS
        code = f"{owner}.{name}" if is_plain and is_map else f"{owner}[{key.given().code}]"
        return GoValue(code, self.type, is_path=self.is_path and key.constant is not None)

    def as_table(self) -> GoValue:
        """Return a record as a table of any values; raises NotConverted for values that a table cannot hold."""
        odd = next((kind for _, kind in self.type.fields if kind not in TABLE_TYPES), None)
        if odd is not None:
            raise NotConverted(f"a {odd.name} in a table that is used as a whole", "use its fields")
        return replace(self, type=PARSED_YAML)

    def printed(self) -> tuple[LayoutPiece, ...]:  # noqa: PLR0911  # one for each kind
        """Return the text that prints the value; raises NotConverted."""
        if self.constant is not None or self.type == NIL:
            return (Exact("<no value>" if self.constant is None else shown_value(self.constant)),)
        if self.parts:
            return tuple(piece for part in self.parts for piece in part.printed())
        if self.type == BOOL:
            return (Print(f'"true" if {self.at(Level.OR)} else "false"'),)
        if self.type in GO_TEXTS or self.may_be_nil:
            return (Print(f"{self.at(Level.FILTERED)} | {GO_TEXTS.get(self.type, 'go_text')}"),)
        if self.type in PLAIN_TYPES or self.type == UNCONVERTED:
            return (Print(self.given().code),)
        if self.type.name == "record":
            return self.as_table().printed()
        if self.type.name == "list" and self.type.item in PLAIN_TYPES:
            return Exact("["), Print(f'{self.at(Level.FILTERED)} | join(" ")'), Exact("]")
        raise NotConverted(f"printing a {self.type.name}", "print its fields")

    def as_text(self) -> GoValue:
        """Return an expression for the printed text; raises NotConverted."""
        if self.type in {STRING, SCALAR, UNCONVERTED} and not self.may_be_nil:
            return self.given()
        if (self.type in GO_TEXTS or self.may_be_nil) and self.constant is None:
            shown = GO_TEXTS.get(self.type, "go_text")
            return GoValue(f"{self.at(Level.FILTERED)} | {shown}", STRING, Level.FILTERED)
        pieces = self.printed()
        codes = [
            quoted(piece.text) if isinstance(piece, Exact) else f"({piece.code})"
            for piece in pieces
            if isinstance(piece, Exact | Print)
        ]
        return GoValue(" ~ ".join(codes), STRING, Level.JOINED)


def condition(value: GoValue) -> GoValue:
    """Return a value in the form for a test: of missing keys, only pairs are an error by themselves."""
    return value.given() if value.type == PAIR else value


def shown_value(value: Constant) -> str:
    """Return a constant in Go's printed form."""
    if isinstance(value, float):
        return go_float(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def constant(value: Constant) -> GoValue:
    """Return a constant."""
    if isinstance(value, bool):
        return GoValue(str(value).lower(), BOOL, constant=value, is_path=True)
    if isinstance(value, float):
        level = Level.UNARY if value < 0 else Level.POSTFIX
        return GoValue(repr(value), FLOAT, level, constant=value, is_path=True)
    if isinstance(value, int):
        level = Level.UNARY if value < 0 else Level.POSTFIX
        return GoValue(str(value), INT, level, constant=value, is_path=True, is_natural=value >= 0)
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise NotConverted("a text that is no UTF-8", "write characters instead of bytes")
    return GoValue(quoted(value), STRING, constant=value, is_path=True)


def joined(parts: list[GoValue]) -> GoValue:
    """Return the text of concatenated values; adjacent constants become one."""
    found: list[GoValue] = []
    for part in parts:
        last = found[-1].constant if found else None
        if part.constant is not None and last is not None:
            found[-1] = constant(shown_value(last) + shown_value(part.constant))
        elif part.parts:
            found.extend(part.parts)
        else:
            found.append(part if part.constant is None else constant(shown_value(part.constant)))
    kept = [part for part in found if part.constant != ""]
    if len(kept) < 2 and all(part.type in {STRING, *PARSED_KINDS} for part in kept):  # noqa: PLR2004
        return kept[0] if kept else constant("")
    code = " ~ ".join(
        (part.given() if part.type in PLAIN_TYPES and not part.may_be_nil else part.as_text()).at(Level.PRODUCT)
        for part in kept
    )
    return GoValue(code, STRING, Level.JOINED, parts=tuple(kept))
