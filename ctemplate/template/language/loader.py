"""Where templates may come from: the template's own folder, folders given, and those that ship with ctemplate.

Must not know what is in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import jinja2
from jinja2.loaders import split_template_path

from ctemplate.core.errors import TemplateError
from ctemplate.core.shipped import SHIPPED
from ctemplate.system.inputs import real_path
from ctemplate.template.language.item_files import WHOLE_NAME
from ctemplate.template.language.source_text import SourceText, read_template

if TYPE_CHECKING:
    from collections.abc import Callable

_NONE: Mapping[str, tuple[str, str]] = MappingProxyType({})


SHIPPED_PREFIX = "ctemplate"
"""Before the name of a template it means the one that ships with ctemplate, whatever else has its name."""


class FolderLoader(jinja2.BaseLoader):
    """Loads templates by name from a fixed set of folders; nothing outside of them, not by ``..`` nor by a symlink."""

    def __init__(
        self,
        source: Path,
        folders: Sequence[Path],
        text: SourceText | None = None,
        known: Mapping[str, tuple[str, str]] = _NONE,
    ) -> None:
        """Take the folders; ``known`` are texts that are not read again, with their names in errors, by their names."""
        self.source = source
        self.text = text or SourceText(path=source)
        self.folders = (source.parent, *folders, *self.text.folders, SHIPPED)
        self.files: set[Path] = {Path(shown) for name, (_, shown) in known.items() if name != source.name}
        self.files |= {self.text.file} if self.text.file is not None else set()
        self._found: dict[str, tuple[str, str]] = dict(known)
        self._missed: set[str] = set()

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that were loaded so far, in the order of their names."""
        return tuple(self._found[name][0] for name in sorted(self._found))

    def is_shipped(self, name: str) -> bool:
        """Return whether a name that errors show is that of a template that came with ctemplate."""
        return name != str(self.source) and not Path(name).is_absolute() and (SHIPPED / name).is_file()

    @property
    def found(self) -> Mapping[str, tuple[str, str]]:
        """The texts that were loaded so far, and the names that errors show for them, by their names."""
        return dict(self._found)

    def line(self, file: str, number: int) -> str:
        """Return a line (from 1) of a text that was loaded, by the name that errors show, without space around it."""
        for text, shown in self._found.values():
            lines = text.splitlines()
            if shown == file and 0 < number <= len(lines):
                return lines[number - 1].strip()
        return ""

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """Return a template's text, as it was when first asked for, and the name that errors show for it."""
        _ = environment
        if template not in self._found:
            try:
                self._found[template] = self._read(template)
            except jinja2.TemplateNotFound:
                self._missed.add(template)
                raise
        return (*self._found[template], lambda: True)

    @property
    def is_current(self) -> bool:
        """Return whether every template that was asked for would be found as it was, or missed again."""
        known = self._found | dict.fromkeys(self._missed)
        return all(self._read_if_there(template) == found for template, found in known.items())

    def _read_if_there(self, template: str) -> tuple[str, str] | None:
        try:
            return self._read(template)
        except (jinja2.TemplateNotFound, TemplateError):
            return None

    def _read(self, template: str) -> tuple[str, str]:
        if template in {self.source.name, self.source.name + WHOLE_NAME}:
            return self.text.read(), self.text.name
        parts = split_template_path(template)
        folders = self.folders
        if parts[:1] == [SHIPPED_PREFIX] and len(parts) > 1:
            parts, folders = parts[1:], (SHIPPED,)
        for folder in folders:
            path = folder.joinpath(*parts)
            if path.exists() and real_path(path).is_relative_to(real_path(folder)):
                self.files.add(path)
                return read_template(path), "/".join(parts) if folder == SHIPPED else str(path)
        raise jinja2.TemplateNotFound(template)
