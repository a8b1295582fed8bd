"""The ``-template SRC[:DST[:CMD]]`` and ``-var NAME=VALUE`` forms. Pure."""

from __future__ import annotations

from ctemplate.config.advice import looks_like_command
from ctemplate.core.errors import ConfigError, printable
from ctemplate.core.lazy_pattern import lazy_pattern

_NAME = lazy_pattern(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_template(text: str) -> dict[str, str]:
    """Return the template section of ``SRC[:DST[:CMD]]``; the command is everything after the second colon, unchanged.

    Raises ConfigError.
    """
    source, _, rest = text.partition(":")
    destination, _, command = rest.partition(":")
    if not source.strip():
        raise ConfigError("-template", f"the source is empty, got {printable(text)!r}; write SRC[:DST[:CMD]]")
    if command and not destination.strip():
        raise ConfigError("-template", f"the destination is empty, got {printable(text)!r}; write SRC:DST:CMD")
    if looks_like_command(destination):
        what = f"the destination looks like a command, got {printable(destination)!r}"
        raise ConfigError("-template", f"{what}; write SRC:DST:CMD, with a colon before the command")
    section = {"source": source}
    if destination.strip():
        section["destination"] = destination
    if command.strip():
        section["command"] = command
    return section


def parse_variable(text: str) -> tuple[str, str]:
    """Return ``(name, value)`` of ``NAME=VALUE``; raises ConfigError, which never names what may be a secret value."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError("-var", f"must be NAME=VALUE, got {len(text)} character{'s' * (len(text) != 1)} without '='")
    if _NAME.fullmatch(name) is None:
        raise ConfigError("-var", f"must be NAME=VALUE with a plain name, got the name {printable(name, 40)!r}")
    return name, value
