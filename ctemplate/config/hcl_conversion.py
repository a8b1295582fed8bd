"""Convert consul-template's configuration files to one TOML file of ours. Reads the files that it is given."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ctemplate.config.hcl_file import is_consul_templates
from ctemplate.config.hcl_reading import TEMPLATE, Notice
from ctemplate.config.layers import merged_values, read_hcl_file
from ctemplate.config.toml_text import toml_text
from ctemplate.core.errors import ConfigError
from ctemplate.core.values import dataclass

LANGUAGE = {"template_language": "go"}
LANGUAGE_COMMENT = "needed while the templates are consul-template's; ctemplate convert makes Jinja of each"
RELATIVE = "is relative, and counts from the folder of this file; consul-template counts it from where it is started"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedConfiguration:
    """Our configuration as TOML, and notices about keys that have no counterpart."""

    text: str
    notices: tuple[Notice, ...]


def convert_configuration(files: Sequence[Path]) -> ConvertedConfiguration:
    """Return several consul-template configuration files as one of ours; later files win. Raises ConfigError."""
    values: dict[str, Any] = {}
    comments: dict[str, tuple[str, ...]] = {}
    notices: list[Notice] = []
    for file in files:
        found = read_hcl_file(file)
        if found is None:
            raise ConfigError(str(file), "is ctemplate's own already; leave it as it is")
        shift = len(values.get(TEMPLATE, ()))
        for path, lines in found.comments.items():
            key = _shifted(path, shift)
            comments[key] = (*comments.get(key, ()), *lines) if not path else lines
        values = merged_values(values, found.values)
        notices += [*found.notices, *_relative(found.values, found.names)]
    if TEMPLATE in values:
        values = LANGUAGE | values
        comments["template_language"] = (LANGUAGE_COMMENT,)
    end = comments.pop("", ())
    left = tuple(str(notice) for notice in notices)
    return ConvertedConfiguration(
        text=toml_text(values, comments | {"notices": (*end, *left)} if end or left else comments),
        notices=tuple(notices),
    )


def is_configuration(path: Path) -> bool:
    """Return whether a path is a consul-template configuration rather than a template."""
    if path.is_dir() or path.suffix == ".hcl":
        return True
    if path.suffix != ".json":
        return False
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and is_consul_templates(values)


def _shifted(path: str, shift: int) -> str:
    """Return a path with its template's number increased by ``shift``, the number of templates before it."""
    if not shift or not path.startswith(f"{TEMPLATE}["):
        return path
    number, _, rest = path.removeprefix(f"{TEMPLATE}[").partition("]")
    return f"{TEMPLATE}[{int(number) + shift}]{rest}"


def _relative(values: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Notice]:
    for number, template in enumerate(values.get(TEMPLATE, ())):
        source = template.get("source")
        if source and not Path(source).is_absolute():
            yield Notice(where=names[f"{TEMPLATE}[{number}].source"], what=f"{source!r} {RELATIVE}")
