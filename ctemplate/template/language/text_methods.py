"""The text methods that templates may call, with limits on their results; trust is kept where it is justified.

Must not know services or the environment's other rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jinja2.sandbox import SandboxedFormatter

from ctemplate.template.safety.limits import check_format, check_length, check_numbers
from ctemplate.template.safety.registered_numbers import is_own_number
from ctemplate.template.safety.tainted_text import (
    Trusted,
    derived,
    is_padded,
    is_whole_text,
    marked,
    shadow_of,
    text_of,
    with_shadow,
)

if TYPE_CHECKING:
    from jinja2 import Environment

PLAIN = frozenset(
    [
        "capitalize",
        "casefold",
        "count",
        "endswith",
        "find",
        "index",
        "isalnum",
        "isalpha",
        "isascii",
        "isdecimal",
        "isdigit",
        "isidentifier",
        "islower",
        "isnumeric",
        "isprintable",
        "isspace",
        "istitle",
        "isupper",
        "join",
        "lower",
        "lstrip",
        "partition",
        "removeprefix",
        "removesuffix",
        "rfind",
        "rindex",
        "rpartition",
        "rsplit",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "swapcase",
        "title",
        "upper",
    ]
)
"""Methods whose result is never longer than their input."""

WIDTHS = frozenset(["center", "expandtabs", "ljust", "rjust", "zfill"])


def method_of(text: str, name: str, environment: Environment) -> Callable[..., Any] | None:
    """Return the text's method in the form that templates may call, or None for a forbidden one."""
    if name in PLAIN:
        method: Callable[..., Any] = getattr(text, name)
        return method if name == "join" else _deriving(text, method)
    if name in WIDTHS:
        return _deriving(text, _checked_width(getattr(text, name)))
    if name == "replace":
        return lambda old, new, count=-1: replaced(text, old, new, count)
    if name == "format":
        return lambda *args, **kwargs: filled(text, args, kwargs, environment)
    if name == "format_map":
        return lambda mapping: filled(text, (), mapping, environment)
    return None


def _deriving(text: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return the text's method: results of the operator's own text are trusted; other numbers count as registered."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return derived(method(*args, **kwargs), (text, *args, *kwargs.values()))

    return call


def _checked_width(method: Callable[..., str]) -> Callable[..., str]:
    def call(*args: Any) -> str:
        check_numbers(*args)
        return method(*args)

    return call


def replaced(text: str, old: str, new: str, count: int = -1) -> str:
    """Return the text with ``old`` replaced; trusted if all three texts are the operator's own."""
    found = text.count(old) if count < 0 else min(count, text.count(old))
    check_length(text, len(text) + found * len(new))
    return derived(str(text).replace(old, new, count), (text, old, new))  # type: ignore[no-any-return]


class Formatter(SandboxedFormatter):
    """``str.format`` for templates: attributes by the sandbox's rules, widths limited, trust kept of whole parts."""

    def __init__(self, environment: Environment, form: str, *, shows_data: bool = True) -> None:
        super().__init__(environment)
        self.form = str(form)
        self.is_whole = True
        self._shows_data = shows_data

    def format_field(self, value: Any, format_spec: str) -> str:
        """Format one value."""
        spec = str(format_spec)
        check_format(spec)
        text = format(value, spec) if spec else text_of(value)
        own_spec = f":{spec}}}" in self.form  # not one that came from a value
        self.is_whole &= (own_spec and is_padded(value, text)) if spec else is_whole_text(text)
        if self._shows_data:
            return text
        if is_own_number(value):
            return text
        return marked(text) if spec and isinstance(value, str) else shadow_of(text if spec else value)


def filled(text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], environment: Environment) -> str:
    """Return ``text.format(*args, **kwargs)``, trusted if the text contains no data and each value appears whole."""
    formatter = Formatter(environment, text)
    result = str(formatter.vformat(text, args, kwargs))
    if type(text) is not Trusted or not formatter.is_whole:
        return result
    return with_shadow(result, str(Formatter(environment, text, shows_data=False).vformat(text, args, kwargs)))
