"""The oracle's functions of Go and consul-template 0.42.1, written from the documented rules.

Values are texts, numbers, booleans, lists, dicts (maps) and Structs. EvaluationError is raised where consul-template
ends with an error.
"""

import base64
import hashlib
import hmac
import json
import math
import re
import urllib.parse
from decimal import Decimal

import yaml


class EvaluationError(Exception):
    """consul-template ends here with an error."""


class Struct(dict):
    """A struct of Go's: its fields by name."""


NIL = None


def truth(value):
    """Numbers are true unless zero, texts and lists unless empty; structs always."""
    return True if isinstance(value, Struct) else bool(value)


def text_of(value, *, nested=False):  # noqa: PLR0911
    """What printing a value gives."""
    if value is NIL:
        return "<nil>" if nested else "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, list):
        return f"[{' '.join(text_of(item, nested=True) for item in value)}]"
    if isinstance(value, Struct):
        return f"{{{' '.join(text_of(item, nested=True) for item in value.values())}}}"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{text_of(item, nested=True)}' for key, item in sorted(value.items()))}]"
    return str(value)


def float_text(value):
    """``%v`` of a float: the shortest digits, with an exponent below -4 and from 6 on."""
    if math.isinf(value) or math.isnan(value):
        return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}[str(value)]
    shown = Decimal(repr(value)).normalize()
    exponent = shown.adjusted()
    if -4 <= exponent < 6:
        return f"{shown:f}"
    digits = f"{shown.scaleb(-exponent):f}"
    return f"{digits}e{exponent:+03d}"


def kind_of(value):
    return "bool" if isinstance(value, bool) else type(value).__name__


def printf(form, *values):
    values = list(values)
    parts, at = [], 0
    for match in re.finditer(r"%([-+0]?)(\d*)((?:\.\d+)?)([a-zA-Z%])", form):
        parts.append(form[at : match.start()])
        at = match.end()
        flag, width, precision, verb = match.groups()
        if verb == "%":
            parts.append("%")
            continue
        if not values:
            parts.append(f"%!{verb}(MISSING)")
            continue
        value = values.pop(0)
        if value is NIL:
            parts.append("<nil>".rjust(int(width or 0)) if verb == "v" else f"%!{verb}(<nil>)")
            continue
        if not isinstance(value, FITTING[verb]) or (isinstance(value, bool) and verb not in "vt"):
            parts.append(f"%!{verb}({go_type(value)}={text_of(value)})")
            continue
        shown = f"%{flag}{precision}{verb}" % value if verb in "xXofe" else text_of(value)
        shown = go_quoted(value) if verb == "q" else shown
        shown = shown[: int(precision[1:] or "0")] if precision and verb == "s" else shown
        size = int(width or 0)
        parts.append(shown.ljust(size) if flag == "-" else shown.rjust(size, "0" if flag == "0" else " "))
    extra = ", ".join(f"{go_type(value)}={text_of(value)}" for value in values)
    return "".join([*parts, form[at:], f"%!(EXTRA {extra})" if extra else ""])


FITTING = {"s": (str, list), "v": object, "q": str, "t": bool, "f": float, "e": float} | dict.fromkeys("dxXo", int)


def go_quoted(value):
    """``%q``: as JSON but for the characters that no test has."""
    return json.dumps(value, ensure_ascii=False)


def go_type(value):
    return {"str": "string", "int": "int", "bool": "bool", "float": "float64"}.get(kind_of(value), "?")


def printed(*values):
    """``print``: a blank between two neighbours of which neither is a text."""
    parts = []
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            parts.append(" ")
        parts.append(text_of(value, nested=True))
    return "".join(parts)


def equal(left, *others):
    for other in others:
        if kind_of(left) != kind_of(other):
            raise EvaluationError("incompatible types for comparison")
    return any(left == other for other in others)


def ordered(left, right):
    if kind_of(left) != kind_of(right) or kind_of(left) not in {"str", "int", "float"}:
        raise EvaluationError("incompatible types for comparison")
    encode = str.encode if isinstance(left, str) else lambda value: value
    return (encode(left) > encode(right)) - (encode(left) < encode(right))


def contains(item, items):
    if isinstance(items, list):
        return any(kind_of(each) == kind_of(item) and each == item for each in items)
    return isinstance(items, str) and isinstance(item, str) and item in items


def index(value, *keys):
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, lacking(value))
        elif isinstance(value, list) and 0 <= key < len(value):
            value = value[key]
        else:
            raise EvaluationError("index out of range")
    return value


def divide(divisor, value):
    if not divisor:
        raise EvaluationError("integer divide by zero")
    if float in {type(divisor), type(value)}:
        return value / divisor
    return int(math.copysign(1, value) * math.copysign(1, divisor)) * (abs(value) // abs(divisor))


def split(separator, text):
    text = text.strip()
    if not separator:
        return list(text)
    return text.split(separator) if text else []


class Channel:
    """What ``loop`` gives: it can be ranged over, and nothing else."""

    def __init__(self, *bounds):
        self.items = range(*(int(bound or "0") if isinstance(bound, str) else bound for bound in bounds))


class Parsed(dict):
    """A map of anything, as parsed JSON is: what it lacks is nothing."""


class Groups(dict):
    """A map of lists."""


class TaggedAddresses(dict):
    """A map of structs: what it lacks is one of zero values."""


def lacking(value):
    """What a map gives for a key that it lacks."""
    if isinstance(value, TaggedAddresses):
        return Struct(Address="", Port=0)
    if isinstance(value, Groups):
        return []
    return NIL if isinstance(value, Parsed) else ""


def parsed(value, *, whole):
    """A value of JSON or YAML; numbers of JSON are floats."""
    if isinstance(value, dict):
        return Parsed({key: parsed(item, whole=whole) for key, item in value.items()})
    if isinstance(value, list):
        return [parsed(item, whole=whole) for item in value]
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_number and not whole else value


def to_json(value, indent=None):
    """JSON as Go writes it."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return int(value) if isinstance(value, float) and value.is_integer() else value

    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(plain(value), ensure_ascii=False, sort_keys=True, indent=indent, separators=separators)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def by_tag(items):
    groups = Groups()
    for item in items:
        for tag in item["Tags"]:
            groups.setdefault(tag, []).append(item)
    return groups


def by_meta(keys, items):
    groups = Groups()
    for item in items:
        parts = [meta_part(item["ServiceMeta"], *key.split("|")) for key in keys.split(",")]
        groups.setdefault("_".join(parts), []).append(item)
    return groups


def meta_part(meta, key, kind=""):
    value = meta.get(key)
    if kind == "int":
        return f"{int(value or 0):05}"
    return re.sub("[^A-Za-z0-9_-]", "_", f"_no_{key}_" if value is None else value)


def by_port(items):
    groups = Groups()
    for item in items:
        groups.setdefault(item["Port"], []).append(item)
    return groups


def by_key(pairs):
    groups = Groups()
    for pair in pairs:
        top, slash, rest = pair["Key"].partition("/")
        if slash:
            groups.setdefault(top, {})[rest] = Struct(pair | {"Key": rest})
    return groups


def explode(pairs):
    root = Parsed()
    for pair in pairs:
        *folders, name = pair["Key"].split("/")
        place = root
        for folder in folders:
            place = place.setdefault(folder, Parsed())
        place[name] = pair["Value"]
    return root


def go_replaced(pattern, replacement, text):
    return re.sub(pattern, re.sub(r"\$\{?(\d+)\}?", r"\\g<\1>", replacement), text)


def split_to_map(outer, inner, text):
    parts = (part.partition(inner) for part in text.split(outer))
    return {key: item for key, found, item in parts if found}


def titled(text):
    """Each word's first letter as a capital; a point, a colon or an apostrophe between letters parts no words."""
    return re.sub(r"[^\W\d_](?:[\w]|[.:'](?=\w))*", lambda word: word[0][0].upper() + word[0][1:], text)


HTML = {ord(char): f"&{name};" for char, name in {"&": "amp", "<": "lt", ">": "gt", '"': "#34", "'": "#39"}.items()}


def js_char(char):
    """A character in a JavaScript text."""
    if char in "\\'\"":
        return f"\\{char}"
    return f"\\u{ord(char):04X}" if char in "<>&=" or not char.isprintable() else char


def several(question):
    return lambda needles, items: question(needle in items for needle in needles)


PLAIN = {
    "minimum": lambda right, left: min(left, right),
    "maximum": lambda right, left: max(left, right),
    "parseInt": lambda text: int(text or "0"),
    "parseUint": lambda text: int(text or "0"),
    "parseFloat": lambda text: float(text or "0"),
    "parseBool": lambda text: text in {"1", "t", "T", "true", "True", "TRUE"},
    "parseJSON": lambda text: parsed(json.loads(text or "{}"), whole=False),
    "parseYAML": lambda text: parsed(yaml.safe_load(text or "{}"), whole=True),
    "toJSON": to_json,
    "toJSONPretty": lambda value: to_json(value, 2),
    "byTag": by_tag,
    "byMeta": by_meta,
    "byPort": by_port,
    "byKey": by_key,
    "explode": explode,
    "splitToMap": split_to_map,
    "containsAll": several(all),
    "containsAny": several(any),
    "containsNone": lambda needles, items: not several(any)(needles, items),
    "containsNotAll": lambda needles, items: not several(all)(needles, items),
    "regexMatch": lambda pattern, text: re.search(pattern, text) is not None,
    "regexReplaceAll": go_replaced,
    "toTitle": titled,
    "trim": lambda cutset, text: text.strip(cutset),
    "indent": lambda width, text: "\n".join(line and " " * width + line for line in text.split("\n")),
    "base64Encode": lambda text: base64.b64encode(text.encode()).decode(),
    "base64Decode": lambda text: base64.b64decode(text).decode(),
    "base64URLEncode": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64URLDecode": lambda text: base64.urlsafe_b64decode(text).decode(),
    "md5sum": lambda text: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
    "sha256Hex": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "hmacSHA256Hex": lambda text, key: hmac.new(key.encode(), text.encode(), "sha256").hexdigest(),
    "html": lambda *values: printed(*values).translate(HTML),
    "js": lambda *values: "".join(map(js_char, printed(*values))),
    "urlquery": lambda *values: urllib.parse.quote_plus(printed(*values), safe="-_.~"),
    "slice": lambda items, start=0, end=None: items[start:end],
    "print": printed,
    "println": lambda *values: " ".join(map(text_of, values)) + "\n",
    "printf": printf,
    "eq": equal,
    "ne": lambda left, right: not equal(left, right),
    "lt": lambda left, right: ordered(left, right) < 0,
    "le": lambda left, right: ordered(left, right) <= 0,
    "gt": lambda left, right: ordered(left, right) > 0,
    "ge": lambda left, right: ordered(left, right) >= 0,
    "not": lambda value: not truth(value),
    "len": lambda value: len(value.encode() if isinstance(value, str) else value),
    "index": index,
    "contains": contains,
    "in": lambda items, item: contains(item, items),
    "toLower": str.lower,
    "toUpper": str.upper,
    "trimSpace": str.strip,
    "trimPrefix": lambda prefix, text: text.removeprefix(prefix),
    "trimSuffix": lambda suffix, text: text.removesuffix(suffix),
    "replaceAll": lambda old, new, text: text.replace(old, new),
    "join": lambda separator, items: separator.join(items),
    "split": split,
    "add": lambda right, left: left + right,
    "subtract": lambda right, left: left - right,
    "multiply": lambda right, left: left * right,
    "divide": divide,
    "modulo": lambda right, left: left - right * divide(right, left),
    "loop": Channel,
}
