"""Regular expressions mean the same in every Python that is supported.

Before 3.11.5, as in Debian 12, a possessive quantifier behind a group, and an atomic group, may match what they should
not: https://github.com/python/cpython/issues/106052. A possessive quantifier behind one character is right in all.
"""

import importlib
import pkgutil
import re
from re import _constants as codes, _parser as parser

import pytest

import ctemplate

ONE_CHARACTER = {codes.IN, codes.LITERAL, codes.NOT_LITERAL, codes.ANY}


def patterns():
    """Yield each pattern that a module of the package holds, with its name."""
    for found in pkgutil.walk_packages(ctemplate.__path__, "ctemplate."):
        if found.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(found.name)).items():
            values = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
            for each in (item[0] if isinstance(item, tuple) and item else item for item in values):
                if isinstance(each, re.Pattern):
                    yield f"{found.name}.{name}", each.pattern, each.flags & ~re.UNICODE
                elif type(each).__name__ == "_LazyPattern":
                    yield f"{found.name}.{name}", each._text, each._flags


def unsafe(parsed):
    """Yield the parts of a pattern that some Python misreads."""
    for code, argument in parsed:
        if code is codes.ATOMIC_GROUP:
            yield code
        if code is codes.POSSESSIVE_REPEAT and (len(argument[2]) > 1 or argument[2][0][0] not in ONE_CHARACTER):
            yield code
        yield from (found for part in inner(argument) for found in unsafe(part))


def inner(argument):
    if isinstance(argument, parser.SubPattern):
        yield argument
    elif isinstance(argument, tuple | list):
        for each in argument:
            yield from inner(each)


@pytest.mark.parametrize("text", [r"(?:ab|c)*+", r"(?:ab)++c", r"x(?>a|bc)", r"(?=(?:ab)?+)", r"(?:(?:ab)*+|c)*"])
def test_what_some_python_misreads_is_found(text):
    assert list(unsafe(parser.parse(text)))


@pytest.mark.parametrize("text", [r"[ab]*+c", r"(?:[^a]++|\\.)*", r"a{2,3}+", r".*+"])
def test_what_every_python_reads_alike_is_not(text):
    assert list(unsafe(parser.parse(text))) == []


def test_no_pattern_is_read_differently_by_some_python():
    known = {(name, text, flags) for name, text, flags in patterns()}
    assert len(known) > 100
    assert {name for name, text, flags in known if list(unsafe(parser.parse(text, flags)))} == set()
