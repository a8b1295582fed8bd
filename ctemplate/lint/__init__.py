"""Lint: what is wrong with templates and configuration, found without any source and without rendering."""

from ctemplate.lint.configuration import Written, lint, written
from ctemplate.lint.finding import CODES, Finding
from ctemplate.lint.report import FORMATS, shown

__all__ = ["CODES", "FORMATS", "Finding", "Written", "lint", "shown", "written"]
