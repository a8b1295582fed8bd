"""Lint: find errors in templates and configuration without any source and without rendering."""

from ctemplate.lint.configuration import LintInput, lint, written
from ctemplate.lint.finding import CODES, Finding
from ctemplate.lint.hardening import Hardened, hardened
from ctemplate.lint.report import REPORT_FORMATS, format_findings

__all__ = [
    "CODES",
    "REPORT_FORMATS",
    "Finding",
    "Hardened",
    "LintInput",
    "format_findings",
    "hardened",
    "lint",
    "written",
]
