"""Recognise consul-template's configuration files and return their values in our shape. Pure: text goes in.

An HCL file is always consul-template's; a JSON file is if it has keys, or forms of keys, that only consul-template has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ctemplate.config.hcl_keys import HCL_KEYS
from ctemplate.config.hcl_parser import body_of_json, parse_hcl
from ctemplate.config.hcl_reading import HCL_SECTIONS
from ctemplate.config.hcl_translation import Translated, translated
from ctemplate.config.schema import Config, TemplateSection
from ctemplate.core.settings import ConsulSection

_FIRST_KEYS = {path.partition(".")[0] for path in HCL_KEYS}
_TABLES = {"": Config, "consul": ConsulSection, "template": TemplateSection}
_BLOCKS_THERE = frozenset({"consul.auth", "consul.ssl"})  # plain text in our configuration


def read_hcl(text: str, name: str) -> Translated:
    """Return the values of an HCL file; raises ConfigError."""
    return translated(parse_hcl(text, name), name)


def read_hcl_json(values: dict[str, Any], name: str) -> Translated:
    """Return the values of a JSON file in consul-template's shape; raises ConfigError."""
    return translated(body_of_json(values), name)


def is_consul_templates(values: Mapping[str, Any]) -> bool:
    """Return whether decoded JSON is consul-template's: it has keys that only consul-template has, and none of ours."""
    signs = list(_signs(values))
    return "theirs" in signs and "ours" not in signs


def _signs(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield ``ours`` or ``theirs`` for each key that only one of the two has, or has in this form."""
    for section, kind in _TABLES.items():
        value = values if not section else values.get(section)
        if (section and isinstance(value, str)) or (section == "template" and isinstance(value, Mapping)):
            yield "theirs"
        entries = value if isinstance(value, list) else [value]
        keys = {key: inner for entry in entries if isinstance(entry, Mapping) for key, inner in entry.items()}
        for key, inner in keys.items():
            path = f"{section}.{key}".lstrip(".")
            is_there = path in HCL_KEYS or path in HCL_SECTIONS
            is_here = key in kind.__struct_encode_fields__
            if path in _BLOCKS_THERE:
                is_there, is_here = not isinstance(inner, str | bool), isinstance(inner, str | bool)
            if is_here is not is_there:
                yield "ours" if is_here else "theirs"
