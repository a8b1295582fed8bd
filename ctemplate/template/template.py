"""One template: loaded, compiled, run; every fault in it told as ``file:line: what``.

Must not know groups, quarantine, or where the text goes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType

import jinja2

from ctemplate.errors import CtemplateError, TemplateError, printable
from ctemplate.template.environment import Environment
from ctemplate.template.functions import Functions
from ctemplate.template.limits import Limits, Meter
from ctemplate.template.loader import FolderLoader
from ctemplate.template.run import Run, Violation

PLACEHOLDER = "_"
"""Stands for a value that may not be printed, until the pass is repeated without its owner."""


class Template:
    """A template ready to run. ``escape`` is ``nginx`` or ``none``."""

    def __init__(self, source: Path, environment: Environment, functions: Functions, limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self._environment = environment
        self._functions = functions
        self._loader: FolderLoader = environment.loader  # type: ignore[assignment]
        self._compiled = self._load(source.name)

    @classmethod
    def load(
        cls,
        source: Path,
        *,
        variables: Mapping[str, object],
        environ: Mapping[str, str],
        escape: str = "nginx",
        limits: Limits | None = None,
        folders: Sequence[Path] = (),
    ) -> Template:
        """Read and compile the template and everything it includes; raise TemplateError ``file:line: …``."""
        functions = Functions(variables, environ)
        environment = Environment(FolderLoader(source, folders), escape=escape, functions=functions)
        return cls(source, environment, functions, limits or Limits())

    @property
    def files(self) -> frozenset[Path]:
        """The source and everything it has included or imported."""
        return frozenset(self._loader.files)

    def render(self, run: Run) -> str:
        """Return the text of one pass; the run takes down what it used, claimed and must not print."""
        environment = self._environment
        environment.meter = meter = Meter(self.limits)
        self._functions.run = environment.run = run
        environment.refuse = self._refuse
        try:
            chunks: list[str] = []
            size = 0
            for chunk in self._compiled.root_render_func(self._compiled.new_context()):
                chunks.append(chunk)
                size += len(chunk)
                meter.check_output(size)
            return "".join(chunks)
        except CtemplateError:
            raise
        except Exception as exc:
            raise self._fault(exc) from None
        finally:
            self._functions.run = environment.run = None

    def _refuse(self, text: str, reason: str) -> str:
        run = self._functions.run
        touched = None if run is None else run.touched
        where = self._line_of(sys._getframe(1)) or str(self.source)
        if run is not None:
            service = touched.name if touched is not None else None
            run.violations.append(Violation(text=text, reason=reason, where=where, service=service))
        return PLACEHOLDER

    def _load(self, name: str) -> jinja2.Template:
        try:
            return self._environment.get_template(name)
        except jinja2.TemplateSyntaxError as exc:
            raise TemplateError(f"{exc.filename or name}:{exc.lineno}", printable(exc.message)) from None
        except jinja2.TemplateNotFound as exc:
            raise TemplateError(str(self.source), f"no template {exc.name!r} in its folder") from None

    def _fault(self, exc: Exception) -> TemplateError:
        where = str(self.source)
        if isinstance(exc, jinja2.TemplateSyntaxError):
            return TemplateError(f"{exc.filename or exc.name}:{exc.lineno}", printable(exc.message))
        traceback: TracebackType | None = exc.__traceback__
        while traceback is not None:
            where = _template_line(traceback.tb_frame, traceback.tb_lineno) or where
            traceback = traceback.tb_next
        return TemplateError(where, _sentence(exc))

    def _line_of(self, frame: FrameType | None) -> str | None:
        while frame is not None:
            if where := _template_line(frame, frame.f_lineno):
                return where
            frame = frame.f_back
        return None


def _template_line(frame: FrameType, line: int) -> str | None:
    template = frame.f_globals.get("__jinja_template__")
    if template is None:
        return None
    return f"{template.filename}:{template.get_corresponding_lineno(line)}"


def _sentence(exc: Exception) -> str:
    if isinstance(exc, jinja2.TemplateNotFound):
        return f"no template {printable(exc.name)!r} in the template's folders"
    if isinstance(exc, RecursionError):
        return "macros or includes call each other without end"
    if isinstance(exc, MemoryError):
        return "out of memory"
    return printable(exc) or type(exc).__name__
