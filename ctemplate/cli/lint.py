"""``ctemplate lint``: check templates and configuration without asking any source."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ctemplate import lint as linting
from ctemplate.cli.excerpt import excerpt
from ctemplate.cli.flags import flags_layer
from ctemplate.config.layers import environment_layer
from ctemplate.core.errors import indented


def lint_verb(given: Mapping[str, Any]) -> int:
    """Print the findings; return 1 when there are any, else 0."""
    found = linting.written(
        [Path(path) for path in given["config"]],
        environment=environment_layer(os.environ),
        flags=flags_layer(given),
        environ=os.environ,
    )
    findings = linting.lint(found, os.environ)
    if given["format"] == "text" and sys.stdout.isatty():
        for finding in findings:
            click.echo(f"{finding}{indented(tuple(excerpt(finding.path, finding.line)))}")
    elif findings or given["format"] != "text":
        click.echo(linting.format_findings(findings, given["format"]))
    return 1 if findings else 0
