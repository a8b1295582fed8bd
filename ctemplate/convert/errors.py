"""The converter's error; its only module that imports the error tree."""

from __future__ import annotations

from ctemplate.core.errors import TemplateError, printable

__all__ = ["GoSyntaxError", "printable"]


class GoSyntaxError(TemplateError):
    """A Go template cannot be parsed; ``where`` is ``file:line:column``."""
