"""What a rendering's texts become: one output for each target, or one for each item where a target makes such files.

Pure. Knows which line of a file is which line of its template's text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ctemplate.core.model import Output, Target
from ctemplate.core.values import dataclass
from ctemplate.system.inputs import real_path
from ctemplate.template import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSpan:
    """A file, the number of its template, and how many lines of the template's text stand before it."""

    path: Path
    number: int
    lines_before: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOutputs:
    """A group's templates and targets; files of others, ``reserved``, are never made for an item."""

    templates: Sequence[Template]
    targets: Sequence[Target]
    reserved: Collection[Path] = frozenset()

    def outputs(self, texts: Sequence[str]) -> tuple[Output, ...]:
        """Return the outputs of all texts."""
        return tuple(
            Output(target=target, content=text.encode("utf-8", "surrogateescape"))
            for target, text, _ in self._files(texts)
        )

    def refused(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Return a sentence for each file that is not made, since another one has its place."""
        found: list[str] = []
        for _ in self._files(texts, found.append):
            pass
        return tuple(found)

    def spans(self, text_of: Callable[[int], str]) -> tuple[FileSpan, ...]:
        """Return where the files are in the templates' texts, which are given by number."""
        found = self._files([text_of(number) for number in range(len(self.templates))])
        return tuple(span for _, _, span in found)

    def _files(
        self, texts: Sequence[str], refuse: Callable[[str], object] = len
    ) -> Iterator[tuple[Target, str, FileSpan]]:
        has_items = any(target.each is not None for target in self.targets)
        made = {real_path(target.destination) for target in self.targets if has_items} | set(self.reserved)
        for number, (target, text) in enumerate(zip(self.targets, texts, strict=True)):
            if target.each is None:
                yield target, text, FileSpan(path=target.destination, number=number)
                continue
            for part in self.templates[number].parts(text):
                path = target.each.folder / part.name
                if real_path(path) in made:
                    refuse(f"{path}: no file is made there for an item, since another template writes it")
                    continue
                made.add(real_path(path))
                span = FileSpan(path=path, number=number, lines_before=part.lines_before)
                yield replace(target, destination=path), part.text, span
