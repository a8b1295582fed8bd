"""The command line: click commands, one file each. The only place that prints or exits."""

from __future__ import annotations

import asyncio
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ctemplate import __version__
from ctemplate.cli.capture import capture
from ctemplate.cli.convert import convert_template
from ctemplate.cli.doctor import doctor
from ctemplate.cli.excerpt import illustrate
from ctemplate.cli.golden import golden
from ctemplate.cli.lint import lint
from ctemplate.cli.options import shared_options
from ctemplate.cli.plan import apply_plan, plan
from ctemplate.cli.release import release
from ctemplate.cli.run import run
from ctemplate.errors import ConfigError, CtemplateError, SourceTimeout, StateError, TemplateError, printable
from ctemplate.lint import FORMATS

USAGE_STATUS = 2
FAILED_STATUS = 1
NO_ANSWER_STATUS = 3
INTERRUPTED_STATUS = 130
SHORTEST_LONG_OPTION = 2  # characters; -h and -v are no suggestions
CLOSE_ENOUGH = 0.65  # likeness of what is suggested; less is a guess at random
STATUSES = {
    SourceTimeout: NO_ANSWER_STATUS,
    ConfigError: USAGE_STATUS,
    TemplateError: USAGE_STATUS,
    StateError: USAGE_STATUS,
    CtemplateError: FAILED_STATUS,
}

CONTEXT = {"help_option_names": ["-help", "-h"], "max_content_width": 110}
EPILOG = """Run it as

  ctemplate -template "nginx.conf.j2:/etc/nginx/nginx.conf:nginx -s reload"

Long options take one dash or two. Durations are written like 250ms, 5s or 1m30s.
"""


@click.group(
    invoke_without_command=True,
    context_settings=CONTEXT,
    epilog=EPILOG,
    no_args_is_help=True,
)
@shared_options
@click.option("-once", is_flag=True, help="render and apply once, then exit")
@click.option("-dry", is_flag=True, help="print what would be written, then exit")
@click.version_option(__version__, "-version", "-v", message="ctemplate %(version)s", help="show the version")
@click.pass_context
def cli(context: click.Context, /, **given: object) -> None:
    """Keep nginx's configuration true to what Consul knows: watch, render, check, swap, reload, prove."""
    if context.invoked_subcommand is None:
        context.exit(run(given))


@cli.command("plan", context_settings=CONTEXT)
@shared_options
@click.option("-o", metavar="FILE", help="save the plan for `apply`")
@click.option("-exit-code", is_flag=True, help="exit with 4 when changes are pending")
@click.option("-format", type=click.Choice(["text", "json"]), default="text", help="text for people, json for machines")
@click.pass_context
def _plan(context: click.Context, /, **given: object) -> None:
    """Show what would change, and why; write nothing."""
    context.exit(plan(given))


@cli.command("apply", context_settings=CONTEXT, short_help="Carry out a plan saved by plan -o FILE.")
@shared_options
@click.argument("plan_file", metavar="PLAN", type=Path)
@click.pass_context
def _apply(context: click.Context, /, plan_file: Path, **given: object) -> None:
    """Carry out a plan saved by plan -o FILE, unless the world has moved on."""
    context.exit(apply_plan(given, plan_file))


@cli.command("capture", context_settings=CONTEXT)
@shared_options
@click.option("-o", metavar="FILE", help="file to write [standard output]")
@click.option("-mask", metavar="PATTERN", multiple=True, help="meta keys whose values are not written; repeatable")
@click.pass_context
def _capture(context: click.Context, /, **given: object) -> None:
    """Save what the templates see as a catalog file."""
    context.exit(capture(given))


@cli.command("convert", context_settings=CONTEXT, short_help="Write a template of consul-template's as one of ours.")
@click.option("-o", metavar="FILE", help="file to write [standard output]")
@click.option("-left-delimiter", "left", metavar="TEXT", default="{{", help="what begins an action in it [{{]")
@click.option("-right-delimiter", "right", metavar="TEXT", default="}}", help="what ends one [}}]")
@click.argument("source", metavar="SOURCE", type=Path)
@click.pass_context
def _convert(context: click.Context, /, source: Path, o: str | None, left: str, right: str) -> None:
    """Write consul-template's template SOURCE as a Jinja template that prints the same bytes."""
    context.exit(convert_template(source, o, left=left, right=right))


@cli.command("lint", context_settings=CONTEXT)
@shared_options
@click.option("-format", type=click.Choice(FORMATS), default="text", help="text for people, json or sarif for machines")
@click.pass_context
def _lint(context: click.Context, /, **given: object) -> None:
    """Check templates and configuration, without any source."""
    context.exit(lint(given))


@cli.command("doctor", context_settings=CONTEXT)
@shared_options
@click.option("-format", type=click.Choice(["text", "json"]), default="text", help="text for people, json for machines")
@click.pass_context
def _doctor(context: click.Context, /, **given: object) -> None:
    """Check that everything ctemplate needs is here and allowed."""
    context.exit(doctor(given))


@cli.command("test", context_settings=CONTEXT)
@shared_options
@click.option("-update", is_flag=True, help="write the expected files instead of comparing")
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...")
@click.pass_context
def _test(context: click.Context, /, **given: object) -> None:
    """Render captures and compare with the expected files beside them."""
    context.exit(golden(given))


@cli.command("release", context_settings=CONTEXT, short_help="Take at once what the guard holds back.")
@shared_options
@click.argument("service", required=False)
@click.pass_context
def _release(context: click.Context, /, service: str | None, **given: object) -> None:
    """Take the newest answers for SERVICE, or for all, that the guard of a running ctemplate holds back."""
    context.exit(release(given, service))


def main() -> None:
    """Run the command line and exit with its status; every error ends here, in one line."""
    sys.exit(_status())


def _status() -> int:
    try:
        result = cli.main(single_dashed(sys.argv[1:]), prog_name="ctemplate", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message())
        return USAGE_STATUS
    except click.ClickException as exc:
        click.echo(f"ctemplate: {_usage_fault(exc)}; see ctemplate -help", err=True)
        return USAGE_STATUS
    except CtemplateError as exc:
        if isinstance(exc, TemplateError) and sys.stderr.isatty():
            illustrate(exc)
        click.echo(str(exc), err=True)
        return next(status for kind, status in STATUSES.items() if isinstance(exc, kind))
    except BrokenPipeError:
        sys.stderr.close()
        return FAILED_STATUS
    except (KeyboardInterrupt, asyncio.CancelledError, click.Abort):
        click.echo("ctemplate: interrupted", err=True)
        return INTERRUPTED_STATUS
    return result if isinstance(result, int) else 0


def _usage_fault(fault: click.ClickException) -> str:
    if isinstance(fault, click.NoSuchOption):
        return _no_such_option(fault.option_name)
    message = fault.format_message().rstrip(".")
    return message[:1].lower() + message[1:]


def single_dashed(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with one dash before every option that is known; people write two as well."""
    commands = (cli, *cli.commands.values())
    known = {flag for command in commands for option in command.params for flag in option.opts} | {"-help"}
    return [word[1:] if word.startswith("--") and word[1:].partition("=")[0] in known else word for word in arguments]


def _no_such_option(start: str) -> str:
    """Say which option is unknown, as it was written, and which one may have been meant."""
    flags = {flag for option in cli.params for flag in option.opts}
    words = [word.partition("=")[0] for word in single_dashed(sys.argv[1:])]
    written = next((word for word in words if word.startswith(start) and word not in flags), start)
    known = sorted(flag for flag in flags if len(flag) > SHORTEST_LONG_OPTION)
    close = difflib.get_close_matches(f"-{written.lstrip('-')}", known, n=1, cutoff=CLOSE_ENOUGH)
    return f"no such option {printable(written)}" + (f"; did you mean {close[0]}?" if close else "")
