"""The folders that templates load from: the template's own, configured ones, and that of the shipped templates.

Must not know what is in the templates.
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
from ctemplate.system.file_watch import Signature, signature
from ctemplate.system.inputs import real_path
from ctemplate.template.language.item_files import WHOLE_NAME
from ctemplate.template.language.source_text import SourceText, read_template

if TYPE_CHECKING:
    from collections.abc import Callable

_NONE: Mapping[str, tuple[str, str]] = MappingProxyType({})


SHIPPED_PREFIX = "ctemplate"
"""Before a template's name: the template that ships with ctemplate, even if another folder has the same name."""


class FolderLoader(jinja2.BaseLoader):
    """Loads templates by name from a fixed set of folders; neither ``..`` nor a symlink leads out of them.

    ``files`` are all that were read, or looked for in vain, each with its signature from before that: whatever is
    edited since then differs from it.
    """

    def __init__(
        self,
        source: Path,
        folders: Sequence[Path],
        text: SourceText | None = None,
        known: Mapping[str, tuple[str, str]] = _NONE,
    ) -> None:
        """Store the folders; ``known`` maps names to texts that are not read again, with their names in errors."""
        self.source = source
        self.text = text or SourceText(path=source)
        self.folders = (source.parent, *folders, *self.text.folders, SHIPPED)
        self.files: dict[Path, Signature | None] = {}
        for path in (Path(shown) for name, (_, shown) in known.items() if name != source.name):
            self._note(path)
        if self.text.file is not None:
            self._note(self.text.file)
        self._found: dict[str, tuple[str, str]] = dict(known)
        self._missed: set[str] = set()

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the texts loaded so far, in the order of their names."""
        return tuple(self._found[name][0] for name in sorted(self._found))

    def is_shipped(self, name: str) -> bool:
        """Return whether a name in an error is that of a template that came with ctemplate."""
        return name != str(self.source) and not Path(name).is_absolute() and (SHIPPED / name).is_file()

    @property
    def found(self) -> Mapping[str, tuple[str, str]]:
        """Return the texts loaded so far with their names in errors, by their names."""
        return dict(self._found)

    def line(self, file: str, number: int) -> str:
        """Return a line (from 1) of a loaded text, by the name in errors, without surrounding white space."""
        for text, shown in self._found.values():
            lines = text.splitlines()
            if shown == file and 0 < number <= len(lines):
                return lines[number - 1].strip()
        return ""

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """Return a template's text, as it was when first loaded, and its name in errors."""
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
        """Return whether loading every template again would give the same text or the same failure."""
        known = self._found | dict.fromkeys(self._missed)
        for path in self.files:
            self.files[path] = signature(path)
        return all(self._read_if_there(template) == found for template, found in known.items())

    def _read_if_there(self, template: str) -> tuple[str, str] | None:
        try:
            return self._read(template)
        except (jinja2.TemplateNotFound, TemplateError):
            return None

    def _note(self, path: Path) -> None:
        """Remember a file before it is read for the first time."""
        if path not in self.files:
            self.files[path] = signature(path)

    def _read(self, template: str) -> tuple[str, str]:
        if template in {self.source.name, self.source.name + WHOLE_NAME}:
            return self.text.read(), self.text.name
        parts = split_template_path(template)
        folders = self.folders
        if parts[:1] == [SHIPPED_PREFIX] and len(parts) > 1:
            parts, folders = parts[1:], (SHIPPED,)
        for folder in folders:
            path = folder.joinpath(*parts)
            self._note(path)
            if path.exists() and real_path(path).is_relative_to(real_path(folder)):
                return read_template(path), "/".join(parts) if folder == SHIPPED else str(path)
        raise jinja2.TemplateNotFound(template)
