"""The names that compiled templates import: Jinja's own, with our rule of trust in place of HTML's.

The text that macros and ``set``, ``call`` and ``filter`` blocks capture was checked piece by piece when it was printed,
so it is trusted as a whole. Must not know services or limits.
"""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateNotFound, TemplateRuntimeError, Undefined, runtime as jinja
from jinja2.runtime import LoopContext, identity
from jinja2.utils import Namespace, internalcode, missing

from ctemplate.template.safety.tainted_text import Trusted, captured, joined_text

__all__ = [
    "LoopContext",
    "Macro",
    "Markup",
    "Namespace",
    "TemplateContext",
    "TemplateNotFound",
    "TemplateReference",
    "TemplateRuntimeError",
    "Trusted",
    "Undefined",
    "escape",
    "identity",
    "internalcode",
    "markup_join",
    "missing",
    "str_join",
]

Markup = captured
markup_join = str_join = joined_text


def escape(value: object) -> str:
    """Refuse: compiled templates print through their environment."""
    raise NotImplementedError(type(value).__name__)


class Macro(jinja.Macro):
    """A macro, or the body of a ``call`` block: its printed text is trusted."""

    def _invoke(self, arguments: list[Any], autoescape: bool) -> str:  # noqa: ARG002, FBT001  # Jinja's signature
        return captured(self._func(*arguments))


class BlockReference(jinja.BlockReference):
    """A block of the template, called by name."""

    @internalcode
    def __call__(self) -> str:
        return captured(self._context.environment.concat(self._stack[self._depth](self._context)))

    @property
    def super(self) -> Any:
        """Return the same block of the parent template."""
        found = super().super
        return _ours(found) if isinstance(found, jinja.BlockReference) else found


def _ours(found: jinja.BlockReference) -> BlockReference:
    return BlockReference(found.name, found._context, found._stack, found._depth)  # noqa: SLF001  # the same class


class TemplateReference(jinja.TemplateReference):
    """``self`` in a template."""

    def __getitem__(self, name: str) -> Any:
        return _ours(super().__getitem__(name))


class TemplateContext(jinja.Context):
    """The names of a template during a render."""

    def super(self, name: str, current: Any) -> Any:
        """Return the block of that name in the parent template."""
        found = super().super(name, current)
        return _ours(found) if isinstance(found, jinja.BlockReference) else found
