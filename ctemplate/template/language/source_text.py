"""The sources of a template's own text: a file or the configuration, in Jinja or consul-template's Go language.

Must not know what includes it, or how it is used.
"""

from __future__ import annotations

import pkgutil
from pathlib import Path

from ctemplate.config.groups import TemplatePlan
from ctemplate.core.each_file import EachFile
from ctemplate.core.errors import TemplateError, printable
from ctemplate.core.values import dataclass
from ctemplate.system.inputs import NotUtf8Error, read_input, text_in
from ctemplate.template.language.lines import PLAIN_SYNTAX, Syntax

TEMPLATE_LIMIT_BYTES = 16 * 1024 * 1024
"""Maximum bytes of one template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceText:
    """A template's text; ``path`` is its file, or a name for it if the configuration contains the text.

    ``folders`` are searched for includes after the template's own folder, and before the shipped templates.

    ``delimiters`` are those of a Go template; None for a Jinja template, which has a ``syntax``. With ``each`` it is
    rendered for each item.
    """

    path: Path
    contents: str | None = None
    delimiters: tuple[str, str] | None = None
    folders: tuple[Path, ...] = ()
    each: EachFile | None = None
    syntax: Syntax = PLAIN_SYNTAX

    @classmethod
    def of(cls, plan: TemplatePlan) -> SourceText:
        """Return the text of a configured template."""
        is_go = plan.language == "go"
        return cls(
            path=plan.source,
            contents=plan.contents,
            delimiters=plan.delimiters if is_go else None,
            folders=plan.folders,
            each=plan.each,
            syntax=PLAIN_SYNTAX if is_go else (plan.delimiters, plan.block_delimiters, plan.comment_delimiters),
        )

    @property
    def name(self) -> str:
        """Return the text's name in errors with its line numbers."""
        return str(self.path) if self.delimiters is None else f"{self.path} as converted"

    @property
    def file(self) -> Path | None:
        """Return the file to watch."""
        return self.path if self.contents is None else None

    def read(self) -> str:
        """Return the text as Jinja; raises TemplateError, also for a part that cannot be converted."""
        text = read_template(self.path) if self.contents is None else self.contents
        if self.delimiters is None:
            return text
        left, right = self.delimiters
        convert = pkgutil.resolve_name("ctemplate.convert:convert")  # most processes never read a Go template
        result = convert(text, str(self.path), left=left, right=right)
        if result.findings:
            first, *others = result.findings
            more = f" (and {len(others)} more; ctemplate convert lists them)" if others else ""
            raise TemplateError(first.where, printable(first.sentence) + more)
        converted: str = result.text
        return converted


def read_template(path: Path) -> str:
    """Return a template's text, or raise TemplateError."""
    try:
        return text_in(read_input(path, limit_bytes=TEMPLATE_LIMIT_BYTES))
    except NotUtf8Error as exc:
        raise TemplateError(f"{path}:{exc.line}", str(exc)) from None
    except (OSError, ValueError) as exc:
        what = exc.strerror.lower() if isinstance(exc, OSError) and exc.strerror else printable(exc)
        raise TemplateError(str(path), f"cannot read the template: {what}") from None
