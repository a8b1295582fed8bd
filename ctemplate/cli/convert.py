"""``ctemplate convert``: convert consul-template's templates and configuration to ctemplate's."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ctemplate.cli.output import write_new_output
from ctemplate.config.hcl_conversion import convert_configuration, is_configuration
from ctemplate.config.layers import configuration_files
from ctemplate.convert import Conversion, convert
from ctemplate.core.errors import TemplateError, printable
from ctemplate.system.inputs import NotUtf8Error, text_in

if TYPE_CHECKING:
    from ctemplate.lint import Hardened


def convert_source(
    source: Path,
    output: str | None,
    *,
    left: str,
    right: str,
    tidy: bool = False,
    harden: bool = False,
    force: bool = False,
) -> int:
    """Write the converted template or configuration to ``-o FILE`` or to the terminal.

    Return 1 where a part could not be converted, else 0. Raises ConfigError if the file exists with another content,
    unless ``force`` is given.
    """
    if is_configuration(source):
        files = configuration_files(source) if source.is_dir() else [source]
        configuration = convert_configuration(files)
        write_new_output(configuration.text, output, may_replace=force)
        _say(configuration.notices)
        return 1 if any(notice.is_loss for notice in configuration.notices) else 0
    result = _converted_template(source, left=left, right=right, tidy=tidy)
    written = _hardened(output or str(source), result.text) if harden else None
    write_new_output(written.text if written else result.text, output, may_replace=force)
    _say((*result.findings, *result.notices))
    for each in written.findings if written else ():
        _say([f"{each.path}:{each.line}:{each.column}: -harden: {each.message}"])
    return 1 if result.findings else 0


def _converted_template(source: Path, *, left: str, right: str, tidy: bool) -> Conversion:
    try:
        text = text_in(source.read_bytes())
    except OSError as exc:
        raise TemplateError(str(source), f"cannot be read: {(exc.strerror or str(exc)).lower()}") from exc
    except NotUtf8Error as exc:
        raise TemplateError(f"{source}:{exc.line}", str(exc)) from exc
    return convert(text, str(source), left=left, right=right, tidy=tidy)


def _hardened(path: str, text: str) -> Hardened:
    """Return the text with the escape filters added. Imports lint here, since lint is slow to import."""
    hardened: Callable[[str, str], Hardened] = pkgutil.resolve_name("ctemplate.lint:hardened")
    return hardened(path, text)


def _say(sentences: Iterable[object]) -> None:
    for said in sentences:
        click.echo(printable(said), err=True)
