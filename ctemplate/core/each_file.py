"""One output file for each item of a list: the paths of such files, and the names that they may have. Pure.

Registrants choose the names of items, so a file's name must pass a strict rule, and its folder never depends on an
item.
"""

from __future__ import annotations

import re
from pathlib import Path

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass

ITEM = "item"
"""What a template calls the item that it makes a file for."""

NAME_RULE = "letters, digits and _ . @ ~ + = , -, with a letter, a digit or _ first, 200 at most"
_NAME = lazy_pattern(r"[A-Za-z0-9_][A-Za-z0-9_.@~+=,-]{0,199}", re.ASCII)
_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_SLASH = "\N{DIVISION SLASH}"
_STAND_IN = "ctemplate-item"


def is_file_name(text: str) -> bool:
    """Return whether a text may be the name of an item's file."""
    return _NAME.fullmatch(text) is not None


def has_expression(destination: str) -> bool:
    """Return whether a destination holds an expression."""
    return _EXPRESSION.search(destination) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class EachFile:
    """``items`` is the expression that gives the list; ``name`` a template of each file's name in the ``folder``."""

    items: str
    folder: Path
    name: str

    @classmethod
    def of(cls, items: str, destination: str) -> EachFile:
        """Return the files of a ``for_each`` with its destination; raises ValueError with a sentence."""
        if (braced := _EXPRESSION.fullmatch(items.strip())) is not None:
            raise ValueError(f"is an expression already; write it without braces: {braced[0][2:-2].strip()}")
        before, brace, rest = destination.partition("{{")
        folder, slash, literal = before.rpartition("/")
        name = literal + brace + rest
        if not has_expression(name):
            raise ValueError("its destination is the same for all items; write DIR/{{ item.name | identifier }}.conf")
        if "/" in _EXPRESSION.sub("", name):
            raise ValueError("only the name of the file may depend on the item, not its folder")
        return cls(items=items, folder=Path(folder + slash or "."), name=name)

    @property
    def path(self) -> Path:
        """Return a path that represents all the files: their folder with the template of their names."""
        return self.folder / self.name.replace("/", _SLASH)

    @property
    def stand_in(self) -> Path:
        """Return an example path that has the form of the files' paths."""
        return self.folder / _EXPRESSION.sub(_STAND_IN, self.name)

    def may_make(self, path: Path) -> bool:
        """Return whether a path, real or as written, may be that of one of the files."""
        pattern = ".+".join(map(re.escape, _EXPRESSION.split(self.name)))
        return path.parent.resolve() == self.folder.resolve() and re.fullmatch(pattern, path.name) is not None
