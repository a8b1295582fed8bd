"""Where the lines of rendered texts come from: the same text again, rendered with marks, made when it is asked for.

Must not know what the lines mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from ctemplate.core.errors import TemplateError
from ctemplate.core.values import dataclass
from ctemplate.template.safety.line_origins import LineMarks
from ctemplate.template.safety.render_pass import Owner, Run
from ctemplate.template.template import Template


@dataclass(frozen=True, slots=True)
class TracedText:
    """A text with marks, the text without, and the meaning of the marks."""

    marked: str
    text: str
    marks: LineMarks

    def origin(self, line: int) -> str | None:
        """Return ``file:line`` in the template for a line (from 1) of the text, where it is known."""
        return self.marks.origin(self.marked, self.text, line)

    def owners(self, line: int) -> tuple[Owner, ...]:
        """Return the owners that may have printed a line (from 1) of the text, nearest first."""
        return self.marks.owners(self.marked, self.text, line)

    def services(self, origin: str) -> frozenset[str]:
        """Return the services that lines of the text from one line of the template belong to."""
        return self.marks.services(self.marked, self.text, origin)


@dataclass(slots=True)
class TracedTexts:
    """The last traced text of each template of a group; ``kept`` are their last passes and texts."""

    templates: Sequence[Template]
    kept: Mapping[int, tuple[Run, str]]
    _known: dict[int, TracedText] = field(default_factory=dict)

    def of(self, number: int) -> TracedText | None:
        """Return the text of the numbered template's last pass with marks; None where it cannot be made again."""
        if number not in self.kept:
            return None
        (run, text), known = self.kept[number], self._known.get(number)
        if known is None or known.text != text:
            template, marks = self.templates[number].traced()
            try:
                known = self._known[number] = TracedText(template.render(run.again()), text, marks)
            except TemplateError:
                return None
        return known

    def services(self, origin: str) -> frozenset[str]:
        """Return the services that lines from one line of the templates belong to."""
        found = map(self.of, self.kept)
        return frozenset[str]().union(*(one.services(origin) for one in found if one is not None))
