"""One template: loaded, compiled, run; every error in it is reported as ``file:line: what``.

Must not know groups, quarantine, or where the text goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict

import jinja2

from ctemplate.core.errors import CtemplateError, TemplateError, printable
from ctemplate.system.file_watch import Signature
from ctemplate.template.language.advice import go_advice, plain_sentence, syntax_advice
from ctemplate.template.language.environment import Environment
from ctemplate.template.language.fields import MissingKeyError
from ctemplate.template.language.formats import CHOICES, FORMATS, LONGEST_KEY, NGINX, is_long_key
from ctemplate.template.language.functions import Functions
from ctemplate.template.language.item_files import FilePart, ItemFiles, parts, repeated_names
from ctemplate.template.language.lines import PLAIN_SYNTAX
from ctemplate.template.language.loader import FolderLoader
from ctemplate.template.language.source_text import SourceText
from ctemplate.template.safety.limits import Exhausted, LimitExceeded, Meter, OutOfTime, RenderLimits
from ctemplate.template.safety.line_origins import LineMarks
from ctemplate.template.safety.render_pass import Owner, Run, Violation
from ctemplate.template.safety.running_line import printing_line, template_line
from ctemplate.template.safety.tainted_text import QUOTED, misplaced_quote, without_quotes
from ctemplate.template.safety.value_places import BEGIN, Placed, Scan, placed, unmarked

PLACEHOLDER = "_"
"""Replaces a forbidden value until the pass is repeated without its owner."""

_LONG_KEY = f"has more than {LONGEST_KEY} characters, and is in a key, which no parser of YAML reads"
MISPLACED = "comes from a filter that adds quotes, and is within other quotes; remove those around it"
SHOWN_VALUE_LENGTH = 80

PIECES = 1000
"""Pieces of output between two checks of the limits."""

_UNDEFINED = re.compile(r"'(\w+)' is undefined")
_WRONG_ARGUMENT = re.compile(r"(\w+)\(\) got an unexpected keyword argument '(\w+)'(?:\. Did you mean '\w+'\?)?")
"""Python 3.13 and newer add advice of their own."""


class _Arguments(TypedDict):
    variables: Mapping[str, object]
    environ: Mapping[str, str]
    escape: str
    limits: RenderLimits
    trusted_keys: tuple[str, ...]
    nginx_program: str


class Template:
    """A template ready to run."""

    def __init__(
        self, source: Path, arguments: _Arguments, *, loader: FolderLoader, marks: LineMarks | None = None
    ) -> None:
        self.source = source
        self._arguments = arguments
        self._loader = loader
        self._is_traced = marks is not None
        self._is_running = False
        self._functions = Functions(
            arguments["variables"],
            arguments["environ"],
            loader.is_shipped,
            trusted_keys=arguments["trusted_keys"],
            nginx_program=arguments["nginx_program"],
        )
        self._environment = Environment(
            self._loader,
            escape=arguments["escape"],
            functions=self._functions,
            marks=marks,
            syntax=loader.text.syntax,
        )
        if (each := loader.text.each) is not None:
            self._environment.item_files = ItemFiles(self._environment, source.name, each)
        self._compiled = self._load()

    @classmethod
    def load(
        cls,
        source: Path,
        *,
        variables: Mapping[str, object],
        environ: Mapping[str, str],
        escape: str = "nginx",
        limits: RenderLimits | None = None,
        trusted_keys: Sequence[str] = (),
        nginx_program: str = "nginx",
        folders: Sequence[Path] = (),
        text: SourceText | None = None,
        texts: Mapping[str, tuple[str, str]] | None = None,
    ) -> Self:
        """Read and compile the template and everything it includes; raise TemplateError ``file:line: …``.

        ``escape`` is the format of the target. Keys below one of the prefixes ``trusted_keys`` hold the operator's own
        text. ``nginx_program`` is the nginx that reads the target. ``folders`` are searched for what the template
        includes after its own folder, and before the templates
        that ship with ctemplate. ``text`` is where the template's own text comes from, the file ``source`` by default.
        ``texts`` are another template's ``texts``, used in place of what the files say.
        """
        if escape not in FORMATS:
            raise TemplateError(str(source), f"unknown escape {escape!r}; known: {', '.join(CHOICES)}")
        arguments: _Arguments = {
            "variables": variables,
            "environ": environ,
            "escape": escape,
            "limits": limits or RenderLimits(),
            "trusted_keys": tuple(trusted_keys),
            "nginx_program": nginx_program,
        }
        loader = FolderLoader(source, folders, text, texts or {})
        try:
            return cls(source, arguments, loader=loader)
        except CtemplateError as exc:
            exc.inputs = loader.files
            raise

    def is_current(
        self,
        *,
        variables: Mapping[str, object],
        environ: Mapping[str, str],
        escape: str,
        limits: RenderLimits,
        trusted_keys: Sequence[str] = (),
        nginx_program: str = "nginx",
    ) -> bool:
        """Whether loading the source with these arguments would make the same template again. Reads its files."""
        given: _Arguments = {
            "variables": variables,
            "environ": environ,
            "escape": escape,
            "limits": limits,
            "trusted_keys": tuple(trusted_keys),
            "nginx_program": nginx_program,
        }
        is_same = given == self._arguments and repr(variables) == repr(self._arguments["variables"])  # 1 equals true
        return is_same and self._loader.is_current

    @property
    def text(self) -> SourceText:
        """The source of the template's own text."""
        return self._loader.text

    @property
    def is_for_nginx(self) -> bool:
        """Whether its output is nginx's language."""
        return self._environment.format.is_nginx

    @property
    def is_surely_nginx(self) -> bool:
        """Whether something says so, rather than nothing saying what it is."""
        return self._environment.format.name == NGINX

    def is_plain(self, text: str) -> bool:
        """Whether a value may be printed anywhere in the text."""
        return self._environment.format.is_plain(text)

    @property
    def files(self) -> dict[Path, Signature | None]:
        """The source and everything it includes or imports, found or not, with the signatures from before the read.

        Those that it names by an expression are known once they were rendered.
        """
        return self._loader.files

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for templates with the same behaviour: the operator's part of what they print."""
        variables, each = repr(sorted(self._arguments["variables"].items())), self._loader.text.each
        made: tuple[object, ...] = () if each is None else (each.items, each.name)
        made = made if self._loader.text.syntax == PLAIN_SYNTAX else (*made, self._loader.text.syntax)
        return (str(self.source), self._arguments["escape"], variables, *made, *self._loader.texts)

    @property
    def texts(self) -> Mapping[str, tuple[str, str]]:
        """The template's sources by name: texts with the names that errors show for them."""
        return self._loader.found

    @property
    def lines(self) -> frozenset[str]:
        """The lines of the source and of everything it has included or imported, without the space around them."""
        return frozenset(line.strip() for text in self._loader.texts for line in text.splitlines())

    def text_of_line(self, where: str) -> str:
        """Return the text of the line that ``file:line`` names; empty where it is unknown."""
        file, _, number = where.rpartition(":")
        return self._loader.line(file, int(number)) if number.isdecimal() else ""

    def parts(self, text: str) -> tuple[FilePart, ...]:
        """Return the files that a text of the template is made of, where it makes one for each item of a list."""
        return () if self._environment.item_files is None else tuple(parts(text))

    def traced(self) -> tuple[Self, LineMarks]:
        """Return the same template compiled with marks, to find out where its lines come from."""
        marks = LineMarks()
        return type(self)(self.source, self._arguments, loader=self._loader, marks=marks), marks

    def render(self, run: Run) -> str:
        """Return the text of one pass; the run records what it used and claimed, and forbidden values.

        Raises TemplateError for any error in the template.
        """
        if self._is_running:
            error = TemplateError(str(self.source), "is still being rendered as the configuration was before")
            error.is_transient = True
            raise error
        self._is_running = True
        try:
            return self._rendered(run)
        finally:
            self._is_running = False

    def _rendered(self, run: Run) -> str:
        self._functions.run = run
        self._environment.start(run, Meter(self._arguments["limits"]), self._refuse, self._fault)
        try:
            text = self._text()
            self._environment.fragments.finish()
        except CtemplateError:
            raise
        except Exception as exc:  # noqa: BLE001  # any error in a template is reported with its line
            raise self._fault(exc) from None
        if self._environment.item_files is not None:
            for name in repeated_names(text):
                run.remark(f"for_each: several items give the file name {name!r}; the first of them gets it")
        text = self._with_quotes_in_place(run, text) if QUOTED in text else text
        return self._with_values_in_place(run, text) if BEGIN in text else text

    def _with_quotes_in_place(self, run: Run, text: str) -> str:
        plain = without_quotes(text)
        at = misplaced_quote(text) if self.is_for_nginx and not self._is_traced else None
        if at is None:
            return plain
        traced, marks = self.traced()
        again = traced.render(run.again())
        where = marks.origin(again, plain, text.count("\n", 0, at) + 1) or str(self.source)
        raise TemplateError(where, "what | quote returns must start an argument, with a space before it")

    def _with_values_in_place(self, run: Run, text: str) -> str:
        """Remove the marks; a value in a forbidden place is a violation, like a forbidden value."""
        form = self._environment.format
        if self._is_traced or form.scan is None or all(map(form.fits, self._placed(text, form.scan))):
            return unmarked(text)
        again = run.again()
        self._functions.run = again
        prints: list[tuple[str, Owner | None]] = []
        self._environment.placed = prints
        self._environment.start(again, Meter(self._arguments["limits"]), self._refuse, self._fault)
        try:
            numbered = self._text()
        finally:
            self._environment.placed = None
        for value in self._placed(numbered, form.scan):
            if not form.fits(value):
                where, owner = prints[int(value.number)]
                if value.is_made and not is_long_key(value):
                    run.last_read = None  # the value read last has no part in it
                    raise TemplateError(where, f"{printable(value.text, SHOWN_VALUE_LENGTH)!r} {MISPLACED}")
                run.refuse(
                    Violation(
                        text=value.text,
                        reason=_LONG_KEY if is_long_key(value) else form.advice,
                        where=where,
                        owner=owner,
                    )
                )
        return unmarked(text)

    def _placed(self, text: str, scan: Scan) -> Iterator[Placed]:
        """Yield the values of a text with their places, of each file by itself."""
        each = [text] if self._environment.item_files is None else [part.text for part in parts(text)]
        return chain.from_iterable(placed(one, scan) for one in each)

    def _text(self) -> str:
        """Run the template piece by piece; a limit is thrown into it, so that the error has its line."""
        running = self._compiled.root_render_func(self._compiled.new_context())
        meter, concat = self._environment.meter, self._environment.concat
        texts: list[str] = []
        size = 0
        while batch := list(islice(running, PIECES)):
            texts.append(concat(batch))
            size += len(texts[-1].encode(errors="surrogatepass"))
            try:
                meter.check_output(size)
                meter.check_time()
            except LimitExceeded as exc:
                running.throw(exc)  # type: ignore[attr-defined]
        return concat(texts)

    def _refuse(self, text: str, reason: str) -> str:
        run = self._environment.run
        where = printing_line() or str(self.source)
        run.refuse(Violation(text=text, reason=reason, where=where, owner=run.owner()))
        return PLACEHOLDER

    def _load(self) -> jinja2.Template:
        """Compile the source and the templates that it names, so that their errors are reported now."""
        environment, loaded = self._environment, {self.source.name}
        where = str(self.source)
        try:
            compiled = environment.get_template(self.source.name)
            while names := environment.needed.keys() - loaded:
                loaded |= names
                for name in sorted(names):
                    where = environment.needed[name]
                    environment.get_template(name)
        except CtemplateError:
            raise
        except Exception as exc:  # noqa: BLE001  # any error of Jinja's is the template's
            raise self._fault(exc, where) from None
        return compiled

    def _fault(self, exc: Exception, where: str | None = None) -> TemplateError:
        if isinstance(exc, jinja2.TemplateSyntaxError):
            return TemplateError(f"{exc.filename or exc.name}:{exc.lineno}", syntax_sentence(exc, exc.source or ""))
        place = where or str(self.source)
        traceback: TracebackType | None = exc.__traceback__
        while traceback is not None:
            place = template_line(traceback.tb_frame, traceback.tb_lineno) or place
            traceback = traceback.tb_next
        error = TemplateError(place, self._sentence(exc))
        error.missing = exc.missing if isinstance(exc, MissingKeyError) else None
        error.is_transient = isinstance(exc, OutOfTime | MemoryError)
        error.is_exhausted = isinstance(exc, Exhausted | MemoryError)
        return error

    def _sentence(self, exc: Exception) -> str:
        if isinstance(exc, jinja2.TemplateNotFound):
            return f"no template {printable(exc.name)!r} in the template's folders"
        if isinstance(exc, RecursionError):
            return "macros or includes call each other without end"
        if isinstance(exc, MemoryError):
            return "out of memory"
        said = printable(exc) or type(exc).__name__
        unknown = _UNDEFINED.fullmatch(said) if isinstance(exc, jinja2.UndefinedError) else None
        if unknown is not None:
            return said + self._functions.name_advice(unknown[1], self._environment.names)
        said = said.removeprefix(f"{Functions.__name__}.").removesuffix(".")
        wrong = _WRONG_ARGUMENT.fullmatch(said)
        if wrong is None:
            return plain_sentence(said)
        return said.partition(". Did you mean")[0] + self._functions.argument_advice(*wrong.groups())


def syntax_sentence(exc: jinja2.TemplateSyntaxError, text: str, line: int | None = None) -> str:
    """Return the message for a text that Jinja cannot parse, with what to write in place of another language's."""
    line, said = exc.lineno if line is None else line, printable(exc.message or "")
    return go_advice(text, line) or lowered(said) + syntax_advice(text, line, said)


def lowered(sentence: str) -> str:
    """Return a sentence of Jinja's as ours begin and end."""
    starts_with_word = sentence[1:2].islower() or sentence[1:2] == " "
    return (sentence[:1].lower() if starts_with_word else sentence[:1]) + sentence[1:].removesuffix(".")
