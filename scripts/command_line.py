"""Write docs/command-line.md, the reference of the command line, from its declarations and command_line.toml.

Options, arguments, defaults and help come from what click reads, examples from ``-help``, variables from the
configuration. ``python scripts/command_line.py`` writes the page, ``--check`` says whether it is current.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from ctemplate.cli.guide import EPILOG, EXAMPLES
from ctemplate.cli.options import CONSUL_OPTIONS, NAMES, SETTINGS
from ctemplate.cli.program import cli
from ctemplate.config.layers import ENVIRONMENT, OLD_VARIABLES

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "command-line.md"
WORDS = ROOT / "scripts" / "command_line.toml"
PATHS = {flag: path for path, flag in NAMES.items()} | {"-wait": "wait"}
PLACES = {"-template": "[[template]]", "-var": "[vars]", "-escape": "template.escape"}
"""Options that set several keys, or a table."""


def commands() -> dict[str, click.Command]:
    """Return all verbs by name, the daemon first, whose name is empty."""
    return {"": cli, **dict(sorted(cli.commands.items()))}


def options(command: click.Command) -> list[click.Option]:
    """Return the options that a verb's help shows."""
    return [option for option in command.params if isinstance(option, click.Option) and not option.hidden]


def shared() -> list[click.Option]:
    """Return the options that several verbs show and that are declared for all of them."""
    of_all = {option.opts[0] for option in cli.params if isinstance(option, click.Option)}
    return [option for option in options(cli) if option.opts[0] in of_all & set(_names_of_others())]


def _names_of_others() -> Iterator[str]:
    for command in cli.commands.values():
        yield from (option.opts[0] for option in command.params if isinstance(option, click.Option))


def examples() -> dict[str, tuple[str, ...]]:
    """Return the examples of each verb."""
    first = EPILOG.partition("Examples:\n")[2].partition("\n\n")[0]
    return {"": tuple(line.strip() for line in first.splitlines()), **EXAMPLES}


def _shown(option: click.Option) -> str:
    metavar = option.metavar
    if metavar is None and isinstance(option.type, click.Choice):
        metavar = "|".join(option.type.choices)
    return f"`{', '.join(option.opts)}{f' {metavar}' if metavar else ''}`".replace("|", "\\|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _rows(found: list[click.Option]) -> Iterator[str]:
    yield "| option | |\n|---|---|"
    yield from (f"| {_shown(option)} | {_cell(option.help or '')} |" for option in found)
    yield ""


def _usage(name: str, command: click.Command) -> str:
    words = ["ctemplate", *([name] if name else []), "[OPTIONS]"]
    for argument in command.params:
        if isinstance(argument, click.Argument):
            shown = argument.metavar or (argument.name or "").upper()
            words.append(shown if argument.required else f"[{shown}]")
    return " ".join(words)


def _verb(name: str, command: click.Command, words: Mapping[str, Any]) -> Iterator[str]:
    of_all = {option.opts[0] for option in shared()}
    yield f"## {name or 'Without a verb'}\n\n```\n{_usage(name, command)}\n```\n"
    yield f"{' '.join((command.help or '').split())}\n".replace("*", "\\*")
    yield "```\n" + "\n".join(examples()[name]) + "\n```\n"
    if own := [option for option in options(command) if option.opts[0] not in of_all]:
        yield from _rows(own)
    used = [option.opts[0] for option in options(command) if option.opts[0] in of_all]
    asks_consul = set(CONSUL_OPTIONS) <= set(used)
    if used and name:
        rest = [f"`{flag}`" for flag in used if not asks_consul or flag not in CONSUL_OPTIONS]
        yield f"Shared options: {', '.join(rest)}{', and those about Consul' * asks_consul}.\n"
    if not name:
        yield "All [shared options](#shared-options).\n"
    own_variables = [f"`{variable}`" for variable, verbs in words["read_by"].items() if name in verbs]
    variables = ["Consul's (`CONSUL_HTTP_ADDR` and others)"] * asks_consul + own_variables
    yield f"Environment: {', '.join(variables) or 'none'}; [what they mean](#environment).\n"
    yield "| exit code | when |\n|---|---|"
    yield from (f"| {status} | {when} |" for status, when in words["exits"][name])
    yield ""


def _shared_rows() -> Iterator[str]:
    yield "| option | in a configuration file | variable | |\n|---|---|---|---|"
    variables = {path: name for name, path in ENVIRONMENT.items()}
    for option in shared():
        flag = option.opts[0]
        path = PLACES.get(flag) or PATHS.get(flag, "")
        variable = f"`{variables[path]}`" if path in variables else ""
        yield f"| {_shown(option)} | {f'`{path}`' if path else ''} | {variable} | {_cell(option.help or '')} |"
    yield ""


def _environment(words: Mapping[str, Any]) -> Iterator[str]:
    yield "| variable | |\n|---|---|"
    flags = {setting.path: setting.flag for setting in SETTINGS}
    yield from (
        f"| `{name}` | as `{flags[path]}`, and as for Consul's own programs |" for name, path in ENVIRONMENT.items()
    )
    yield from (
        f"| `{name}` | as `{flags[path]}`, and as for consul-template |" for name, path in OLD_VARIABLES.items()
    )
    yield from (f"| `{name}` | {said} |" for name, said in sorted(words["variables"].items()))
    yield ""


def page() -> str:
    """Return the page."""
    words = tomllib.loads(WORDS.read_text())
    parts = [words["intro"].lstrip()]
    for name, command in commands().items():
        parts.extend(_verb(name, command, words))
    parts.append("## Shared options\n")
    parts.extend(_shared_rows())
    parts.append("## Environment\n")
    parts.extend(_environment(words))
    return "\n".join(parts).rstrip() + "\n"


def missing() -> list[str]:
    """Return the verbs without examples or exit codes, or the other way round."""
    words, known = tomllib.loads(WORDS.read_text()), set(commands())
    return [
        f"{kind}: {name or 'no verb'}"
        for kind, given in (("exits", words["exits"]), ("examples", examples()))
        for name in sorted(known ^ set(given))
    ]


def main() -> None:
    """Write the page, or say that it is not what it would be."""
    if absent := missing():
        sys.exit("not in scripts/command_line.toml or -help, or not there any more:\n" + "\n".join(absent))
    if "--check" in sys.argv[1:]:
        sys.exit(PAGE.read_text() != page() and "docs/command-line.md is not current; run make reference")
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
