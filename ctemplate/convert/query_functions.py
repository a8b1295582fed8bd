"""Convert consul-template's functions that query Consul to Jinja."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from ctemplate.convert.arguments import CallArguments, GoFunction, expect_count, expect_text
from ctemplate.convert.findings import TEXTUAL_PREFIX
from ctemplate.convert.query_grammar import NamedQuery, QueryError, parse_query
from ctemplate.convert.values import (
    BOOL,
    EXPORTED_SERVICE,
    IMPORTED_SERVICE,
    INSTANCE,
    LEAF_CERTIFICATE,
    NODE,
    NODE_AND_SERVICES,
    PAIRS,
    PARSED_YAML,
    PARTITION,
    PEERING,
    PLAIN_TYPES,
    ROOT_CERTIFICATE,
    SERVICE,
    STRING,
    STRINGS,
    GoType,
    GoValue,
    Level,
    NeverRenders,
    NotConverted,
    constant,
    joined,
)

_PLACEHOLDER = re.compile(r"qz(\d+)zq")
_GRAMMAR = re.compile(r"^/|[.@~|?]")
_UNKNOWN = re.compile(r"(?:env|key)\(")
_NAME_FIELD = re.compile(r"\.name\Z")
_INSTANCES = GoType("list", INSTANCE)


def _query(function: str, arguments: CallArguments) -> tuple[NamedQuery | None, Callable[[str], GoValue]]:
    """Return what the arguments ask for, and how to get the values of its words, some of which may be computed."""
    computed: list[GoValue] = []

    def word(part: GoValue) -> str:
        if isinstance(part.constant, str):
            return part.constant
        if any(_GRAMMAR.search(str(each.constant or "")) for each in _flat(part.origin)):
            return "".join(map(word, part.origin))
        computed.append(part if part.type in PLAIN_TYPES else expect_text(part, "a name"))
        return f"qz{len(computed) - 1}zq"

    texts = ["".join(map(word, value.parts or (value,))) for value in arguments]
    try:
        query = parse_query(function, "|".join(texts))
    except QueryError as exc:
        raise NeverRenders(_PLACEHOLDER.sub("…", str(exc))) from None

    def value(text: str) -> GoValue:
        pieces = _PLACEHOLDER.split(text)
        return joined([computed[int(piece)] if number % 2 else constant(piece) for number, piece in enumerate(pieces)])

    return query, value


def _flat(parts: tuple[GoValue, ...]) -> Iterator[GoValue]:
    """Yield the parts of a text, with variables replaced by the parts that they were made of."""
    for part in parts:
        if part.constant is None and part.origin:
            yield from _flat(part.origin)
        else:
            yield part


def _call(name: str, query: NamedQuery, value: Callable[[str], GoValue], *extra: str) -> str:
    if query.sameness_group and name not in {"service", "connect"}:
        raise NotConverted("sameness groups", "name the peer")
    named = {
        "tag": query.tag,
        "dc": query.dc,
        "near": query.near,
        "ns": query.ns,
        "partition": query.partition,
        "peer": query.peer,
        "sameness_group": query.sameness_group,
    }
    words = [f"{key}={value(text).code}" for key, text in named.items() if text]
    subject = [value(query.name).code] if query.name else []
    return f"{name}({', '.join([*subject, *words, *extra])})"


def _instances(ours: str) -> GoFunction:
    """Convert ``service`` or ``connect``: instances in the states of the filter."""

    def convert(arguments: CallArguments) -> GoValue:
        query, value = _query("service", arguments)
        if query is None:
            arguments.remark(f"{ours} of an empty name gives nothing")
            return GoValue("[]", _INSTANCES, is_path=True)
        _remark_computed(arguments)
        if not query.statuses:
            arguments.remark("this filter names no state, so that nothing ever matches")
            return GoValue("[]", _INSTANCES, is_path=True)
        details = ["details=true"] if arguments.reads_details else []
        return GoValue(_call(ours, query, value, *_states(query.statuses), *details), _INSTANCES)

    return convert


def _remark_computed(arguments: CallArguments) -> None:
    """Report a query that is computed from values that may be more than a name."""
    first = arguments[0]
    is_known = first.constant is not None or first.parts or _NAME_FIELD.search(first.code)
    if not is_known and (not first.origin or any(_UNKNOWN.match(part.code) for part in first.origin)):
        arguments.remark(f"{first.code} is treated as a name only, without tag, datacenter or state in it")


def _states(statuses: tuple[str, ...]) -> list[str]:
    """Return the argument for these states, if one is needed."""
    if any(_PLACEHOLDER.search(status) for status in statuses):
        raise NotConverted("a computed status", "choose among literal ones with if")
    if statuses == ("passing",):
        return []
    if len(statuses) == 1 or "any" in statuses:
        return [f'status="{"any" if "any" in statuses else statuses[0]}"']
    return [f"status=[{', '.join(constant(status).code for status in statuses)}]"]


def _listing(name: str, ours: str, kind: GoType) -> GoFunction:
    """Return the conversion of a function whose only argument is the scope."""

    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 0, 1)
        query, value = _query(name, arguments)
        return GoValue(_call(ours, query or NamedQuery(), value), kind)

    return convert


def _node(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 0, 1)
    query, value = _query("node", arguments)
    return GoValue(_call("node", query or NamedQuery(), value), NODE_AND_SERVICES)


def _datacenters(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 0, 1)
    if arguments:
        raise NotConverted("datacenters without those that fail", "write datacenters()")
    return GoValue("datacenters()", STRINGS)


def _ca_roots(_: CallArguments) -> GoValue:
    """Convert a list of which consul-template keeps Consul's order, by id; the function ignores its arguments."""
    return GoValue(f"ca_roots() | {_by('id')}", GoType("list", ROOT_CERTIFICATE), Level.FILTERED)


def _ca_leaf(arguments: CallArguments) -> GoValue:
    name = expect_text(arguments[0], "a name") if arguments else constant("")
    if name.constant == "":
        return GoValue("none", PARSED_YAML, is_path=True)
    return GoValue(f"ca_leaf({name.code})", LEAF_CERTIFICATE)


def _peerings(arguments: CallArguments) -> GoValue:
    query, value = _query("peerings", arguments)
    partition = "" if query is None or not query.partition else f"partition={value(query.partition).code}"
    code = f"peerings({partition}) | {_by('state,partition,name')}"
    return GoValue(code, GoType("list", PEERING), Level.FILTERED)


def _by(fields: str) -> str:
    return f'sort(attribute="{fields}", case_sensitive=true)'


def _partitions(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 0)
    return GoValue("partitions()", GoType("list", PARTITION))


def _exported_services(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 0, 1)
    return GoValue(f"exported_services({_partition(arguments)})", GoType("list", EXPORTED_SERVICE))


def _imported_services(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    if arguments[0].constant == "":
        raise NeverRenders("importedServices without a partition")
    return GoValue(f"imported_services({_partition(arguments)})", GoType("list", IMPORTED_SERVICE))


def _partition(arguments: CallArguments) -> str:
    """Return the argument for a partition that is given by its name alone."""
    name = expect_text(arguments[0], "a name") if arguments else constant("")
    return "" if name.constant == "" else f"partition={name.code}"


def _key(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    query, value = _query("key", arguments)
    return constant("") if query is None else GoValue(_call("key", query, value), STRING, waits=True)


def _key_exists(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    query, value = _query("keyExists", arguments)
    return constant(value=False) if query is None else GoValue(_call("key_exists", query, value), BOOL)


def _key_or_default(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    query, value = _query("keyOrDefault", arguments[:1])
    default = expect_text(arguments[1])
    if query is None:
        return default
    code = _call("key", query, value, 'default=""')
    return GoValue(code, STRING) if default.constant == "" else _or(code, default)


def _or(code: str, default: GoValue) -> GoValue:
    return GoValue(f"{code} or {default.at(Level.AND)}", STRING, Level.OR)


def _pairs(name: str) -> GoFunction:
    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 1)
        query, value = _query(name, arguments)
        if query is None:
            return GoValue("[]", PAIRS, is_path=True)
        if not query.name.endswith("/"):
            arguments.remark(TEXTUAL_PREFIX)
        return GoValue(_call(name, query, value), PAIRS)

    return convert


def _safe_pairs(name: str) -> GoFunction:
    """Convert ``safeLs`` or ``safeTree``: nothing is rendered while there are no pairs."""
    pairs = _pairs(name)

    def convert(arguments: CallArguments) -> GoValue:
        found = pairs(arguments)
        return found if found.is_path else GoValue(f"{found.code.removesuffix(')')}, required=true)", PAIRS)

    return convert


QUERY_FUNCTIONS: Mapping[str, GoFunction] = {
    "service": _instances("service"),
    "connect": _instances("connect"),
    "services": _listing("services", "services", GoType("list", SERVICE)),
    "nodes": _listing("nodes", "nodes", GoType("list", NODE)),
    "node": _node,
    "datacenters": _datacenters,
    "caRoots": _ca_roots,
    "caLeaf": _ca_leaf,
    "peerings": _peerings,
    "partitions": _partitions,
    "exportedServices": _exported_services,
    "importedServices": _imported_services,
    "key": _key,
    "keyExists": _key_exists,
    "keyOrDefault": _key_or_default,
    "key_exists": _key_exists,
    "key_or_default": _key_or_default,
    "ls": _pairs("ls"),
    "tree": _pairs("tree"),
    "safeLs": _safe_pairs("ls"),
    "safeTree": _safe_pairs("tree"),
}
"""The functions by their names in templates."""
