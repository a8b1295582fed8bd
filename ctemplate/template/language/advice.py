"""What to write here in place of words of other template languages: consul-template's and Go's words as data. Pure.

Must not know environments, runs or how errors are raised.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

from ctemplate.core.errors import printable
from ctemplate.core.lazy_pattern import lazy_pattern

_VAULT = "Vault is not supported; let vault agent write the secret to a file that nginx includes"
_NOMAD = "Nomad is not asked; its services that are registered in Consul are there by service(…)"
_MATHS = "write it as an operator, such as a + b"
_COMPARE = "write it as an operator, such as a == b"
_DOCKER = "Docker is not asked; services come from Consul, by services() and service(…)"
_IN = 'write "…" in list'
_GO = "this is a Go template's word; Jinja's are {% for … %}, {% if … %}, {% else %}, {% endfor %} and {% endif %}"

FOREIGN_WORDS = {
    "safeLs": 'write ls("…", required=true)',
    "safeTree": 'write tree("…", required=true)',
    "byKey": 'write tree("…") | by_key',
    "keyExists": 'write key_exists("…")',
    "keyOrDefault": 'write key("…", default="…")',
    **dict.fromkeys(("secret", "secrets", "pkiCert"), _VAULT),
    **dict.fromkeys(("nomadService", "nomadServices", "nomadVar", "nomadVarExists", "nomadVarList"), _NOMAD),
    "caRoots": "write ca_roots()",
    "caLeaf": 'write ca_leaf("…")',
    "exportedServices": "write exported_services()",
    "importedServices": 'write imported_services("…")',
    "byTag": "write | by_tag",
    "byPort": "write | by_port",
    "byMeta": 'write | by_meta("NAME")',
    **dict.fromkeys(("contains", "has"), _IN),
    "containsAll": "write list | contains_all(wanted)",
    "containsAny": "write list | contains_any(wanted)",
    "containsNone": "write list | contains_none(wanted)",
    "containsNotAll": "write list | not_contains(wanted)",
    "mustEnv": 'write env("NAME"), an error where it is not set',
    "envOrDefault": 'write env("NAME", "default")',
    "getenv": 'write env("NAME", "default")',
    "executeTemplate": "write a {% macro %} and call it",
    "mergeMap": "write table | merge(other, override=false)",
    "mergeMapWithOverride": "write table | merge(other)",
    "explodeMap": "write table | explode",
    "splitToMap": 'write text | split_map(",", "=")',
    "split": 'write text.split(",")',
    "trimPrefix": 'write text.removeprefix("…")',
    "trimSuffix": 'write text.removesuffix("…")',
    "trimSpace": "write | trim",
    "hasPrefix": 'write text.startswith("…")',
    "hasSuffix": 'write text.endswith("…")',
    "loop": "write range(START, STOP); loop itself is there inside a {% for %} only",
    "parseBool": "write | bool",
    **dict.fromkeys(("parseInt", "parseUint", "atoi"), "write | int"),
    "parseFloat": "write | float",
    "parseJSON": "write | from_json",
    "parseYAML": "write | from_yaml",
    "plugin": "templates run no programs",
    **dict.fromkeys(("regexMatch", "match"), 'write text is regex_match("…")'),
    "regexReplaceAll": 'write text | regex_replace("…", "…")',
    "replaceAll": 'write text.replace("a", "b")',
    "sha256Hex": "write | sha256",
    "sha1sum": "write | sha1",
    "md5sum": "write | md5",
    "hmacSHA256Hex": "write message | hmac_sha256(key)",
    "hash": "write | sha256",
    "base64Decode": "write | b64decode",
    "base64Encode": "write | b64encode",
    "base64URLDecode": "write | b64url_decode",
    "base64URLEncode": "write | b64url_encode",
    "timestamp": "write now(), which makes each output another one",
    **dict.fromkeys(("toJSON", "toUnescapedJSON"), "write | to_json"),
    **dict.fromkeys(("toJSONPretty", "toUnescapedJSONPretty"), "write | to_json(2)"),
    "toYAML": "write | to_yaml",
    "toTOML": "write | to_toml",
    "toLower": "write | lower",
    "toUpper": "write | upper",
    "toTitle": "write | title",
    "sockaddr": 'write interface_ip() or interface_ip("eth0") for an address of this host',
    "writeToFile": "a template writes its own destination only; write a second template",
    "scratch": "write {% set x = … %}, or {% set ns = namespace(x=…) %} to change it in a loop",
    **dict.fromkeys(("printf", "sprintf"), 'write "%s:%s" | format(a, b), or a ~ ":" ~ b'),
    **dict.fromkeys(("print", "println"), "write the value alone: {{ value }}"),
    "len": "write | length",
    "index": "write list[0], or table.NAME",
    "slice": "write list[1:3]",
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), _COMPARE),
    **dict.fromkeys(("add", "subtract", "multiply"), _MATHS),
    **dict.fromkeys(("divide", "modulo"), "write a | divide(b), a | modulo(b), or a // b, a % b"),
    "minimum": "write [a, b] | min",
    "maximum": "write [a, b] | max",
    "urlquery": "write | urlencode",
    **dict.fromkeys(("spew_dump", "spew_sdump", "spew_printf", "spew_sprintf"), "write | json"),
    **dict.fromkeys(("end", "else", "with", "define", "template"), _GO),
    **dict.fromkeys(("getv", "cgetv"), 'write key("…")'),
    **dict.fromkeys(("gets", "getvs", "cgets"), 'write tree("…")'),
    "exists": 'write key_exists("…")',
    "lsdir": 'write ls("…")',
    "lookup": 'write env("NAME"), var.NAME or file("PATH")',
    **dict.fromkeys(("containers", "groupByMulti", "CurrentContainer"), _DOCKER),
    "safe": "leave it out; no value is escaped unless a filter does it",
}
"""Names, filters and methods of other languages, and what to write instead."""

FOREIGN_ARGUMENTS = {
    **dict.fromkeys(("passing", "healthy"), "leave it out; only passing instances are given without status="),
    **dict.fromkeys(("datacenter", "datacenters", "region"), "write dc=…"),
    "namespace": "write ns=…",
    "sort": "write | sort(attribute=…) behind the call",
}
"""Names of arguments in other programs, and what to write instead."""

GO_FIELDS = {
    "ServiceMeta": "meta",
    "ServiceTags": "tags",
    "ServiceName": "name",
    "ServiceID": "id",
    "ServiceAddress": "address",
    "ServicePort": "port",
    "NodeAddress": "node_address",
    "NodeMeta": "node_meta",
    "NodeID": "node_id",
    "Node": "node",
    "NodeTaggedAddresses": "node_tagged_addresses",
    "ServiceTaggedAddresses": "tagged_addresses",
    "CheckID": "id",
    "ip": "address",
    "host": "address",
}
"""Names of service and instance fields in Consul and other programs."""

_GO_FORMS = (
    (lazy_pattern(r"\{\{-?\s*range\b"), "{% for i in service(…) %} … {% endfor %}"),
    (lazy_pattern(r"\{\{-?\s*if\b"), "{% if … %} … {% endif %}"),
    (lazy_pattern(r"\{\{-?\s*else\b"), "{% else %}"),
    (lazy_pattern(r"\{\{-?\s*end\b"), "{% endfor %} or {% endif %}"),
    (lazy_pattern(r"\{\{-?\s*with\b"), "{% set x = … %}"),
    (lazy_pattern(r"\{\{-?\s*(?:define|template|block)\b"), "{% macro … %} or {% include … %}"),
    (lazy_pattern(r"\{\{-?\s*(?:\$\w*\s*:?=|scratch\.[A-Z])"), "{% set x = … %}"),
    (lazy_pattern(r"\{\{-?\s*\.[A-Za-z]"), "{{ i.address }}, the loop's variable with a field in lower case"),
    (lazy_pattern(r"\{\{-?\s*\$"), "{{ x }}, without a dollar sign"),
    (lazy_pattern(r"\{\{-?\s*/\*"), "{# … #}"),
    (lazy_pattern(r"""\{\{-?\s*(?!not\b)[a-z]\w*\s+["$.`]"""), '{{ f("…") }}, with parentheses'),
)

_TAGS = lazy_pattern(r"\{[{%].*?(?:[%}]\}|$)")
_TEXTS = lazy_pattern(r"""\"[^"]*\"|'[^']*'""")
_UNKNOWN_TAG = lazy_pattern(r"unknown tag '(\w+)'")
_FOREIGN_TAGS = {
    "end": "endfor or endif, as the block is",
    **dict.fromkeys(("elseif", "elsif", "elsefor"), "elif"),
    **dict.fromkeys(("foreach", "range", "each"), "for x in list"),
    "unless": "if not",
    "assign": "set",
    "capture": "set x, with endset behind the text",
}
_FOREIGN_SIGNS = (
    (lazy_pattern(r"&&"), "write and"),
    (lazy_pattern(r"\|\|"), "write or"),
    (lazy_pattern(r"!(?!=)"), "write not"),
    (lazy_pattern(r"\?"), "write a if condition else b"),
    (lazy_pattern(r"\{%-?\s*(?:el)?if\b[^=(]*[^=!<>]=[^=]"), "write == to compare"),
)
"""Signs of other languages in a tag whose texts are emptied, and what to write instead."""

_UNBRACKETED = lazy_pattern(
    r"(?<![.\w])(?!(?:in|not|and|or|if|else|elif|is|for|set|include|import|from|extends|as|with|block|call|filter|macro|do)\b)"
    r"(?<!\bis )(?<!\bnot )([A-Za-z_]\w*) +[\"$.]"
)
"""A word before a text in quotes, as Go's templates call functions."""

_QUERY = lazy_pattern(
    r"(?:(?P<tag>[\w=:.-]+)\.)?(?P<name>[\w-]+)(?:\?(?P<scope>[\w=&-]*))?(?:@(?P<dc>[\w.-]+))?(?:~(?P<near>[\w.-]+))?"
    r"(?:\|(?P<status>[\w,]+))?"
)
_DATACENTER = lazy_pattern(r"[\w.-]+")
SCOPES = {"ns": "ns", "partition": "partition", "peer": "peer"}
GRAMMAR = ("@", "~", "|", "?")
STATES = frozenset({"any", "passing", "warning", "critical", "maintenance"})


def word_advice(name: object) -> str:
    """Return ``; `` and what to write in place of a word of another language, empty for any other word."""
    said = FOREIGN_WORDS.get(str(name), "") or (_unprefixed(str(name)) if str(name).startswith("sprig_") else "")
    return f"; {said}" if said else ""


def argument_advice(name: str, known: Collection[str]) -> str:
    """Return ``; `` and what to write in place of an argument that a function does not have, empty if unknown."""
    said = "" if name in known else FOREIGN_ARGUMENTS.get(name, "")
    return f"; {said}" if said else ""


def field_advice(name: object, known: Collection[str]) -> str:
    """Return ``; `` and the field that a name of Consul's or another language's means."""
    meant = GO_FIELDS.get(str(name), str(name).lower())
    return f"; did you mean {meant!r}?" if meant in known and meant != name else ""


def _unprefixed(name: str) -> str:
    return FOREIGN_WORDS.get(name.removeprefix("sprig_"), "Sprig's functions do not exist here; use Jinja's filters")


def go_advice(text: str, line: int) -> str:
    """Return what is wrong with a text that is a Go template, at that line or the first such line; else empty.

    Only called for a text that Jinja cannot parse.
    """
    lines = text.splitlines()
    near = lines[line - 1] if 0 < line <= len(lines) else ""
    form = next(_forms(near), None) or next(_forms(text), None)
    asked = "-template-language go converts it as it is loaded"
    said = f"this looks like a Go template, and templates are Jinja; {asked}; here one writes {form}"
    return "" if form is None else said


def syntax_advice(text: str, line: int, said: str) -> str:
    """Return ``; `` and what to write in place of another language's syntax on a line that Jinja cannot parse.

    ``said`` is Jinja's sentence. Empty if nothing foreign is recognised.
    """
    if tag := _UNKNOWN_TAG.search(said):
        return f"; write {_FOREIGN_TAGS[tag[1]]}" if tag[1] in _FOREIGN_TAGS else ""
    lines = text.splitlines()
    near = lines[line - 1] if 0 < line <= len(lines) else ""
    for tag in _TAGS.finditer(near):
        code = _TEXTS.sub('"', tag[0])
        for pattern, advice in _FOREIGN_SIGNS:
            if pattern.search(code):
                return f"; {advice}"
        if called := _UNBRACKETED.search(code):
            return word_advice(called[1]) or f'; arguments stand in parentheses: {called[1]}("…")'
    return ""


def _forms(text: str) -> Iterator[str]:
    for pattern, form in _GO_FORMS:
        if pattern.search(text):
            yield form


def most_alike(name: str, known: Collection[str]) -> str | None:
    """Return the known name that is most similar, one that differs only in case first; None if none is similar."""
    alike = (each for each in sorted(known) if each != name and each.casefold() == name.casefold())
    return next(alike, None) or next(iter(difflib.get_close_matches(name, known, 1)), None)


def status_argument(text: str | None) -> str:
    """Return the argument that consul-template's states, divided by commas, mean; empty for any other text."""
    states = [state.strip() for state in (text or "").split(",") if state.strip()]
    if not STATES.issuperset(states) or not states:
        return ""
    return f"status={shown(states[0])}" if len(states) == 1 else f"status=[{', '.join(map(shown, states))}]"


def taken_for_a_tag(tag: str) -> str:
    """Return what is wrong with consul-template's states in the position of the tag."""
    return f"{shown(tag)} {'are states' if ',' in tag else 'is a state'} and taken for a tag"


def path_call(function: str, path: str) -> str | None:
    """Return the call with the meaning of consul-template's ``PATH@DC`` for a key, a folder or a node; else None."""
    name, sign, dc = path.rpartition("@")
    if not sign or not _DATACENTER.fullmatch(dc):
        return None
    return f"{function}({', '.join([*([shown(name)] if name else []), f'dc={shown(dc)}'])})"


def is_in_grammar(name: str) -> bool:
    """Whether a name has a sign of consul-template's grammar, which Consul's own names lack."""
    return any(sign in name for sign in GRAMMAR)


def service_call(name: str, function: str = "service") -> str | None:
    """Return the call with the meaning of a name in consul-template's grammar; None for a plain name.

    The grammar is ``TAG.NAME?SCOPE@DC~NEAR|STATES``, each but NAME optional.
    """
    match = _QUERY.fullmatch(name)
    if match is None or match["name"] == name:
        return None
    arguments = [shown(match["name"])]
    arguments += [f"{key}={shown(match[key])}" for key in ("tag",) if match[key]]
    for part in (match["scope"] or "").split("&"):
        key, _, value = part.partition("=")
        arguments += [f"{SCOPES[key]}={shown(value)}"] if key in SCOPES else []
    arguments += [f"{key}={shown(match[key])}" for key in ("dc", "near") if match[key]]
    arguments += [status] if (status := status_argument(match["status"])) else []
    return f"{function}({', '.join(arguments)})"


def services_call(tag: str) -> str | None:
    """Return the call with the meaning of consul-template's ``services("@DC")``; None for a plain tag."""
    return f"services(dc={shown(tag[1:])})" if tag.startswith("@") and len(tag) > 1 else None


def none_of_name(name: str, known: Collection[str], function: str = "service") -> str:
    """Return a sentence about a service that has no instance in any state, empty if the service is known to exist."""
    if name in known:
        return ""
    what = "no such service is known"
    if call := service_call(name, function):
        return f"{what}; write {call} for what consul-template means by that"
    if not name.isprintable() or is_in_grammar(name):
        return f"{what}; a name has none of {' '.join(GRAMMAR)}"
    near = most_alike(name, known)
    return f"{what}; did you mean {shown(near)}?" if near else what


CONVENTION_TAGS = frozenset({"http", "tcp", "udp"})


def none_with_tag(tag: str, known: Collection[str], *, is_optional: bool = False) -> str:
    """Return a sentence about a tag that nothing carries; ``known`` are the tags that something carries.

    Empty for a known tag, and if nothing carries any tag. For an optional tag, and for a tag of the name-port
    convention, which a host need not have, also empty unless the tag looks like a typing error.
    """
    what = f"no service has the tag {shown(tag)}"
    if tag in known:
        return ""
    if call := services_call(tag):
        return f"{what}; write {call} for what consul-template means by that"
    if near := most_alike(tag, known):
        return f"{what}; did you mean {shown(near)}?"
    return what if known and not is_optional and tag not in CONVENTION_TAGS else ""


def no_instance_with_tag(tag: str, known: Collection[str], *, is_optional: bool) -> str:
    """Return a sentence about a tag that none of a service's instances carries; ``known`` are the tags they carry.

    Empty for a known tag. For a tag of the name-port convention, and an optional one, which the template asks of every
    service in a loop, also empty unless the tag looks like a typing error.
    """
    if tag in known:
        return ""
    what, near = f"no instance has the tag {shown(tag)}", most_alike(tag, known)
    if near:
        return f"{what}; did you mean {shown(near)}?"
    return "" if is_optional or tag in CONVENTION_TAGS else what


def shown(text: object) -> str:
    """Return a text in the form that templates write."""
    return f'"{printable(text, 100)}"'


_UNCALLED = lazy_pattern(r"'(?:builtin_function_or_)?(?:method|function)' object is not (?:iterable|subscriptable)")
_UNSIZED = lazy_pattern(r"object of type '(?:builtin_function_or_)?(?:method|function)' has no len\(\)")
_UNPACKED = lazy_pattern(r"cannot unpack non-iterable|(?:not enough|too many) values to unpack")
_OPERANDS = lazy_pattern(r"unsupported operand type\(s\) for (?P<sign>\S+): '(?P<left>\w+)' and '(?P<right>\w+)'")
_COMPARED = lazy_pattern(r"'\S+' not supported between instances of '(?P<left>\w+)' and '(?P<right>\w+)'")
_CONCATENATED = lazy_pattern(r"can only concatenate (?P<left>\w+) \(not \"(?P<right>\w+)\"\) to \w+")
_OWN_CLASSES = lazy_pattern(r"'(?:(Trusted|TaintedText|Refused)|(RegisteredInt)|(RegisteredFloat))'")
_PYTHON_NAMES = ("'str'", "'int'", "'float'")
_KINDS = {"str": "text", "Markup": "text"} | {
    "int": "number",
    "float": "number",
    "tuple": "list",
    "NoneType": "none",
    "dict": "table",
}


def plain_sentence(said: str) -> str:
    """Return Python's sentence about a wrong type in a template author's words; else omit our class names."""
    said = _OWN_CLASSES.sub(lambda found: _PYTHON_NAMES[(found.lastindex or 1) - 1], said)
    if _UNCALLED.search(said) or _UNSIZED.search(said):
        return "a function is used without a call; write parentheses behind it, such as services()"
    if _UNPACKED.search(said):
        return "a value cannot be divided into several names; write one name after 'for' or 'set', and read its fields"
    if found := _OPERANDS.fullmatch(said) or _CONCATENATED.fullmatch(said):
        sign = found.groupdict().get("sign", "+")
        left, right = (_KINDS.get(found[side], found[side]) for side in ("left", "right"))
        fix = "; write ~ to join texts, | int to count" if "text" in {left, right} else ""
        return f"{left} {sign} {right} cannot be computed{fix}"
    if found := _COMPARED.fullmatch(said):
        left, right = (_KINDS.get(found[side], found[side].lower()) for side in ("left", "right"))
        is_own = not {found["left"], found["right"]} & _KINDS.keys()
        fix = 'name a field: | sort(attribute="…")' if is_own else "| int makes a number of a text"
        return f"{left} and {right} cannot be compared; {fix}"
    return said
