"""Which arguments nginx opens as files, and which variables are parts of them. Pure.

A registered value may be a part of such a path, but never its beginning, nor a step out of its folder, also through
variables. Must not know who registered a value or what follows from a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ctemplate.core.values import dataclass
from ctemplate.nginx.language.directives import FILE_PARAMETERS, INNER, OPENS, URIS
from ctemplate.nginx.language.parser import Directive

_VARIABLE = re.compile(rb"\$(?:\{(\w+)\}|(\w+))")
_MARK = re.compile(rb"\x01(\d+)\x02")
_PARAMETER = re.compile(rb"(?:fastcgi|uwsgi|scgi)_param")
_PHP_FILE = re.compile(
    rb"(?:^|[\s;])[\w.]*(?:file|path|dir|root|extension|log|info|func|command|preload)[\w.]*\s*=\s*[\"']?\x01(\d+)\x02",
    re.IGNORECASE,
)
"""The beginning of a value of one of PHP's settings that name files, programs or functions."""


class PathVariables(NamedTuple):
    """The variables that paths of files begin with, and those that are another part of one."""

    starts: frozenset[bytes] = frozenset()
    parts: frozenset[bytes] = frozenset()

    def joined(self, other: PathVariables) -> PathVariables:
        """Return the variables of both."""
        return PathVariables(self.starts | other.starts, self.parts | other.parts)


NO_PATHS = PathVariables()


@dataclass(frozen=True, slots=True, kw_only=True)
class PathValue:
    """A text that a variable may get, as a part of a path; ``data`` are the numbers of its registered values.

    ``begins`` says whether it begins with one of them, ``climbs`` whether they make a ``..`` step.
    """

    variable: bytes
    text: bytes
    data: frozenset[int]
    begins: bool
    climbs: bool

    @classmethod
    def of(cls, variable: bytes, real: bytes, marked: bytes) -> PathValue:
        """Return the value; ``marked`` is the text with placeholders."""
        return cls(
            variable=variable,
            text=real,
            data=frozenset(int(number) for number in _MARK.findall(marked)),
            begins=_MARK.match(marked) is not None,
            climbs=climbs(real, marked),
        )


def climbs(real: bytes, marked: bytes) -> bool:
    """Return whether registered values make a ``..`` step in a path; a text of dots may be half of such a step."""
    return _steps_out(real) > _steps_out(marked) or (real not in {marked, b""} and not real.strip(b"."))


def _steps_out(path: bytes) -> int:
    return path.split(b"/").count(b"..")


def opened_arguments(directive: Directive) -> Iterator[tuple[int, bool]]:
    """Yield the index of each argument that names a file, and whether it is a path; else it is a URI below the root."""
    name, args = directive.name, directive.args
    if OPENS.fullmatch(name) or name in {b"root", b"alias"}:
        yield from ((index, True) for index in range(len(args[:1])))
    elif name == b"rewrite":
        yield from ((index, False) for index in range(1, len(args[:2])))
    elif name in URIS or name in INNER:
        yield from ((index, False) for index in range(len(args)))
    elif is_file_parameter(directive):
        yield 1, True


def is_file_parameter(directive: Directive) -> bool:
    """Return whether a directive sets the file that an application server runs."""
    is_parameter = _PARAMETER.fullmatch(directive.name) is not None and len(directive.args) > 1
    return is_parameter and directive.args[0] in FILE_PARAMETERS


def parameter_choices(directive: Directive) -> Iterator[tuple[int, str]]:
    """Yield the values by which a registrant chooses what an application server runs, each with what it would do.

    ``directive`` has placeholders. A value may not begin such a file, and may not make the name of the parameter.
    """
    if _PARAMETER.fullmatch(directive.name) is None or len(directive.args) <= 1:
        return
    name, value = directive.args[:2]
    if any(_may_become(name, known) for known in FILE_PARAMETERS):
        yield from ((int(number), "would choose the parameter's name") for number in _MARK.findall(name))
    if name in FILE_PARAMETERS:
        starts = (_MARK.match(value), *_PHP_FILE.finditer(value))
        reason = f"would choose the file of {name.decode('ascii', 'replace')!r}"
        yield from ((int(start[1]), reason) for start in starts if start is not None)


def _may_become(marked: bytes, name: bytes) -> bool:
    """Return whether the values in a text can make it this name."""
    own = _MARK.split(marked)[::2]
    return len(own) > 1 and re.fullmatch(b".*".join(map(re.escape, own)), name) is not None


def path_variables(directive: Directive) -> PathVariables:
    """Return the variables in the paths that a directive opens."""
    starts: set[bytes] = set()
    parts: set[bytes] = set()
    for index, is_path in opened_arguments(directive):
        _sort_variables(directive.args[index], starts if is_path else parts, parts)
    return PathVariables(frozenset(starts), frozenset(parts))


def _sort_variables(text: bytes, starts: set[bytes], parts: set[bytes]) -> None:
    for found in _VARIABLE.finditer(text):
        (starts if found.start() == 0 else parts).add((found[1] or found[2]).lower())


def reached_paths(values: Iterable[PathValue], opened: PathVariables) -> PathVariables:
    """Return the variables in paths, directly or through the values of other variables."""
    starts, parts = set(opened.starts), set(opened.parts)
    values = tuple(value for value in values if b"$" in value.text)
    while True:
        before = len(starts), len(parts)
        for value in values:
            if value.variable in starts:
                _sort_variables(value.text, starts, parts)
            if value.variable in parts:
                _sort_variables(value.text, parts, parts)
        if (len(starts), len(parts)) == before:
            return PathVariables(frozenset(starts), frozenset(parts))


def unsafe_paths(values: Iterable[PathValue], opened: PathVariables) -> Iterator[tuple[bytes, int]]:
    """Yield each variable through which a registered value chooses a file, with the number of the value."""
    values = tuple(values)
    if not any(value.data for value in values):
        return
    starts, parts = reached_paths(values, opened)
    for value in values:
        is_start = value.variable in starts
        if (value.begins and is_start) or (value.climbs and (is_start or value.variable in parts)):
            yield from ((value.variable, number) for number in sorted(value.data))
