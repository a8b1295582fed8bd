"""The command line's options, as a layer of the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ctemplate.cli.options import NAMES, SETTINGS
from ctemplate.config.advice import LOG_LEVELS
from ctemplate.config.layers import Layer, nested
from ctemplate.config.spec import parse_template, parse_variable
from ctemplate.core.durations import parse_wait
from ctemplate.core.errors import ConfigError

NEVER_EMPTY = {"-consul-auth": "USER:PASS", "-config": "a file or folder", "-catalog": "a file"}
"""Options whose empty value is a mistake, such as a variable of the shell that is not set, and what to write."""


def flags_layer(given: Mapping[str, Any]) -> Layer:
    """Return the options as a layer; raises ConfigError for a malformed value."""
    _check_empty(given)
    settings: dict[str, Any] = {}
    for setting in SETTINGS:
        value = given.get(setting.flag.lstrip("-").replace("-", "_"))
        if value is not None and value != ():
            settings[setting.path] = value
    if isinstance(level := settings.get("log_level"), str):
        settings["log_level"] = LOG_LEVELS.get(level.lower(), level.lower())
    if (wait := given.get("wait")) is not None:
        try:
            settings["wait.min"], settings["wait.max"] = parse_wait(wait)
        except ValueError as exc:
            raise ConfigError("-wait", str(exc)) from exc
    values = nested(settings)
    if given.get("template"):
        values["template"] = [parse_template(text) for text in given["template"]]
    templates = values.get("template", ())
    names = NAMES | {"vars": "-var"} | {f"template[{number}]": "-template" for number in range(len(templates))}
    names |= _with_escape(templates, given.get("escape"))
    if given.get("var"):
        values["vars"] = dict(parse_variable(text) for text in given["var"])
    return Layer(where="command line", values=values, names=names)


def _check_empty(given: Mapping[str, Any]) -> None:
    """Raise ConfigError for an empty value that would be read as another one: as no option, or as this folder."""
    for flag, wanted in NEVER_EMPTY.items():
        value = given.get(flag.lstrip("-").replace("-", "_"))
        if value == "" or (isinstance(value, tuple) and "" in value):  # None is an option not given
            raise ConfigError(flag, f"is empty; write {wanted}, or leave the option out")


def _with_escape(templates: Sequence[dict[str, str]], escape: str | None) -> dict[str, str]:
    """Set the format of the command line's templates; return the option's name for each key that was set."""
    if escape is None:
        return {}
    if not templates:
        what = "is for the templates of -template, and there is none; in a file write escape under [[template]]"
        raise ConfigError("-escape", what)
    for section in templates:
        section["escape"] = escape
    return {f"template[{number}].escape": "-escape" for number in range(len(templates))}
