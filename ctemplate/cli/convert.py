"""``ctemplate convert``: consul-template's templates as ours."""

from __future__ import annotations

from pathlib import Path

import click

from ctemplate.cli.capture import write_output
from ctemplate.convert import convert
from ctemplate.core.errors import TemplateError, printable
from ctemplate.lint import Hardened, hardened


def convert_template(
    source: Path, output: str | None, *, left: str, right: str, tidy: bool = False, harden: bool = False
) -> int:
    """Write the converted template to ``-o FILE`` or to the terminal; return 1 where a part is left over, else 0."""
    try:
        text = source.read_bytes().decode()
    except OSError as exc:
        raise TemplateError(str(source), f"cannot be read: {(exc.strerror or str(exc)).lower()}") from exc
    except UnicodeDecodeError as exc:
        raise TemplateError(str(source), f"is not UTF-8 text: byte {exc.start}") from exc
    result = convert(text, str(source), left=left, right=right, tidy=tidy)
    written = hardened(output or str(source), result.text) if harden else Hardened(result.text, ())
    write_output(written.text, output)
    for said in (*result.findings, *result.notices):
        click.echo(printable(said), err=True)
    for finding in written.findings:
        click.echo(printable(f"{finding.path}:{finding.line}:{finding.column}: -harden: {finding.message}"), err=True)
    return 1 if result.findings else 0
