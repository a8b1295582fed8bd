"""A filter that reads YAML as consul-template's ``parseYAML`` does, for templates that ``ctemplate convert`` wrote.

Its library takes more words and numbers than YAML 1.2 has: ``012`` is 10, ``1_000`` is 1000, ``y`` is true. Pure; must
not know environments.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml as pyyaml

from ctemplate.template.language.yaml_documents import YamlLoader, parsed_by

_LARGEST = 2**64  # larger numbers are floats
_SMALLEST = -(2**63)
_WHOLE = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_OLD_OCTAL = re.compile(r"([-+]?)0[oO]?([0-7]+)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_VALUES: dict[bool | float | None, tuple[str, ...]] = {
    True: ("y", "yes", "on", "true"),
    False: ("n", "no", "off", "false"),
    None: ("null",),
}
_WORDS: dict[str, bool | float | None] = {
    word: value
    for value, plain in _VALUES.items()
    for each in plain
    for word in (each, each.capitalize(), each.upper())
} | {"": None, "~": None}
_WORDS |= {f".{word}": math.nan for word in ("nan", "NaN", "NAN")}
_WORDS |= {
    f"{sign}.{word}": math.inf if sign != "-" else -math.inf
    for sign in ("", "+", "-")
    for word in ("inf", "Inf", "INF")
}
_TAG = "tag:yaml.org,2002:"
_PLAIN = f"{_TAG}plain"


def parsed_go_yaml(text: str) -> Any:
    """Parse YAML by the rules of consul-template's library. Raises ValueError."""
    return parsed_by(text, _GoLoader)


def plain_value(text: str) -> Any:
    """Return what a text without quotes is in ``parseYAML``."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    number = text if text[0] == "." else text.replace("_", "")
    if _WHOLE.fullmatch(number) is not None:
        old = _OLD_OCTAL.fullmatch(number)
        whole = int(number, 0) if old is None else int(old[1] + old[2], 8)
        if (0 if number[0] == "+" else _SMALLEST) <= whole < (_LARGEST if number[0] not in "+-" else -_SMALLEST):
            return whole
    if _FLOAT.fullmatch(number) is not None and not math.isinf(found := float(number)):
        return found
    return text


class _GoLoader(YamlLoader):
    """PyYAML's safe loader, whose texts without quotes are read by other rules."""

    def resolve(self, kind: type[pyyaml.Node], value: Any, implicit: Any) -> Any:
        """Return the tag of a node."""
        if kind is pyyaml.ScalarNode and implicit[0] and value != "<<":
            return _PLAIN
        return super().resolve(kind, value, implicit)

    def construct_plain(self, node: pyyaml.ScalarNode) -> Any:
        """Return the value of a text without quotes, or with a tag of a number."""
        return plain_value(node.value)


for _name in ("plain", "int", "float", "bool", "null"):
    _GoLoader.add_constructor(_TAG + _name, _GoLoader.construct_plain)
