"""How nginx interprets an argument: with a modifier, as a wildcard, or as a regular expression. Pure.

A registered value may be the text of any argument, but must not change how nginx interprets the argument. Must not know
who registered it or what follows.
"""

import re
from collections.abc import Iterator

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.nginx.language.directives import BY_TILDE, HOSTS, MODIFIED, VALUE_BLOCKS
from ctemplate.nginx.language.parser import Directive

_MODIFIER = lazy_pattern(rb"(?:=|~\*?|\^~|@)?")
_OPERATOR = lazy_pattern(rb"\(?(?:!?(?:=|~\*?|-[fdex]\Z)|!)?")
_WILD_KEY = lazy_pattern(rb"~|\.(?!\.)|\*\.|.*\.\*\Z", re.DOTALL)
_WHOLE_URI = lazy_pattern(rb"[/$\x01]|https?://")
_REWRITE = frozenset({b"rewrite"})
_MATCHES = lazy_pattern(rb"!?~\*?")


def manner(parent: bytes, directive: Directive) -> tuple[bytes, ...]:
    """Return how nginx interprets a directive's name and each of its arguments; empty for plain texts.

    In a ``map`` the name is a key; with ``hostnames`` there, a wildcard key matches many names.
    """
    if parent in VALUE_BLOCKS:
        key = _WILD_KEY.match(directive.name) if parent == b"map" else None
        return (b"*" if key else b"", *(b"" for _ in directive.args))
    if directive.name in MODIFIED:
        modifiers = _OPERATOR if directive.name == b"if" else _MODIFIER
        found = [modifiers.match(argument) for argument in directive.args]
        return (b"", *(modifier[0] if modifier else b"" for modifier in found))
    if directive.name in HOSTS:
        return (b"", *map(_wildcards, directive.args))
    if directive.name == b"rewrite":
        return (b"", *(_continuation(text) if at == 1 else b"" for at, text in enumerate(directive.args)))
    return (b"",) * (1 + len(directive.args))


def has_manner(parent: bytes, directive: Directive) -> bool:
    """Return whether nginx may interpret some texts of such a directive in their own way, whatever its values are.

    Where not, ``manner`` is the same for all directives of this name with as many arguments, and ``patterns`` is empty.
    """
    is_named = directive.name in MODIFIED | HOSTS | _REWRITE or parent in VALUE_BLOCKS
    return is_named or any(True for _ in patterns(parent, directive))


def _wildcards(host: bytes) -> bytes:
    """Return the signs of a host name that matches several, or that nginx refuses as soon as there is another one."""
    if host.startswith(b"~"):
        return b"~"
    empty_label = b".." if b".." in host and b"/" not in host else b""
    return (b"." if host.startswith(b".") else b"") + b"*" * host.count(b"*") + empty_label


def _continuation(target: bytes) -> bytes:
    """Return a sign of a target that continues what stands before ``$uri``, such as a host; none begins with a value.

    nginx puts no slash before it: with ``proxy_pass http://web$uri`` it becomes a part of the host or the port.
    """
    return b"" if _WHOLE_URI.match(target) else b"+"


def patterns(parent: bytes, directive: Directive) -> Iterator[bytes]:
    """Yield the words of a directive that are regular expressions."""
    name, args = directive.name, directive.args
    if parent in VALUE_BLOCKS:
        yield from (name,) if name.startswith(b"~") else ()
    elif name == b"rewrite":
        yield from args[:1]
    elif name == b"gzip_disable":
        yield from args
    else:
        for number, argument in enumerate(args):
            is_operand = number > 0 and name in MODIFIED and _MATCHES.fullmatch(args[number - 1])
            if is_operand or (name in BY_TILDE and argument.startswith(b"~")):
                yield argument
