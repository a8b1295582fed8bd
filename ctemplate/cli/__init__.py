"""The command line: click commands, one file each. The only place that prints or exits."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sys
from pathlib import Path

import click

from ctemplate import __version__
from ctemplate.cli.arguments import arranged
from ctemplate.cli.capture import capture
from ctemplate.cli.convert import convert_template
from ctemplate.cli.doctor import doctor
from ctemplate.cli.excerpt import illustrate
from ctemplate.cli.golden import golden
from ctemplate.cli.guide import EPILOG, examples
from ctemplate.cli.lint import lint_verb
from ctemplate.cli.log_writer import open_closed_streams, say
from ctemplate.cli.options import RUNNING, SOURCE, shared_options, switch
from ctemplate.cli.plan import apply_plan, plan
from ctemplate.cli.release import release
from ctemplate.cli.run import run
from ctemplate.cli.status import status
from ctemplate.core.errors import ConfigError, CtemplateError, SourceTimeout, StateError, TemplateError
from ctemplate.lint import REPORT_FORMATS

USAGE_STATUS = 2
FAILED_STATUS = 1
NO_ANSWER_STATUS = 3
INTERRUPTED_STATUS = 130
UNPRINTABLE = frozenset(
    {errno.EBADF, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EPIPE}
)  # what a write to stdout may end with
STATUSES = {
    SourceTimeout: NO_ANSWER_STATUS,
    ConfigError: USAGE_STATUS,
    TemplateError: USAGE_STATUS,
    StateError: USAGE_STATUS,
    CtemplateError: FAILED_STATUS,
}
_ADVISED = re.compile(r"\?$|^no such (option|command) [^;]*: ")

CONTEXT = {"help_option_names": ["-help", "-h"], "max_content_width": 110}


@click.group(
    invoke_without_command=True,
    context_settings=CONTEXT,
    epilog=EPILOG,
    no_args_is_help=True,
)
@shared_options()
@switch("-once", "render and apply once, then exit")
@switch("-dry", "print what would be written, then exit")
@click.version_option(__version__, "-version", "-v", message="ctemplate %(version)s", help="show the version")
@click.pass_context
def cli(context: click.Context, /, **given: object) -> None:
    """Generate nginx configuration from Consul with Jinja templates, and reload nginx safely."""
    if context.invoked_subcommand is None:
        context.exit(run(given))


@cli.command("plan", context_settings=CONTEXT, epilog=examples("plan"))
@shared_options(*RUNNING)
@click.option("-o", metavar="FILE", help="save the plan for `apply`")
@switch("-exit-code", "exit with 4 when changes are pending")
@click.option("-format", type=click.Choice(["text", "json"]), default="text", help="text for people, json for machines")
@click.pass_context
def _plan(context: click.Context, /, **given: object) -> None:
    """Show what would change, and why; write nothing."""
    context.exit(plan(given))


@cli.command(
    "apply", context_settings=CONTEXT, short_help="Apply a plan saved by plan -o FILE.", epilog=examples("apply")
)
@shared_options(*RUNNING)
@click.argument("plan_file", metavar="PLAN", type=Path)
@click.pass_context
def _apply(context: click.Context, /, plan_file: Path, **given: object) -> None:
    """Apply a plan saved by plan -o FILE, unless the files or the data have changed since."""
    context.exit(apply_plan(given, plan_file))


@cli.command("capture", context_settings=CONTEXT, epilog=examples("capture"))
@shared_options(*RUNNING)
@click.option("-o", metavar="FILE", help="file to write [standard output]")
@click.option("-mask", metavar="PATTERN", multiple=True, help="meta keys whose values are not written; repeatable")
@click.pass_context
def _capture(context: click.Context, /, **given: object) -> None:
    """Save what the templates see as a catalog file."""
    context.exit(capture(given))


@cli.command(
    "convert",
    context_settings=CONTEXT,
    epilog=examples("convert"),
    short_help="Write a template of consul-template's as one of ours.",
)
@click.option("-o", metavar="FILE", help="file to write [standard output]")
@click.option("-left-delimiter", "left", metavar="TEXT", default="{{", help="what begins an action in it [{{]")
@click.option("-right-delimiter", "right", metavar="TEXT", default="}}", help="what ends one [}}]")
@click.argument("source", metavar="SOURCE", type=Path)
@click.pass_context
def _convert(context: click.Context, /, source: Path, o: str | None, left: str, right: str) -> None:
    """Write consul-template's template SOURCE as a Jinja template that prints the same bytes."""
    context.exit(convert_template(source, o, left=left, right=right))


@cli.command("lint", context_settings=CONTEXT, epilog=examples("lint"))
@shared_options(*SOURCE, *RUNNING, "-state-dir", "-quiet", "-log-level", "-log-format")
@click.option(
    "-format", type=click.Choice(REPORT_FORMATS), default="text", help="text for people, json or sarif for machines"
)
@click.pass_context
def _lint(context: click.Context, /, **given: object) -> None:
    """Check templates and configuration, without any source."""
    context.exit(lint_verb(given))


@cli.command("doctor", context_settings=CONTEXT, epilog=examples("doctor"))
@shared_options(*RUNNING, "-timeout", "-quiet", "-log-level", "-log-format")
@click.option("-format", type=click.Choice(["text", "json"]), default="text", help="text for people, json for machines")
@click.pass_context
def _doctor(context: click.Context, /, **given: object) -> None:
    """Check that everything ctemplate needs is here and allowed."""
    context.exit(doctor(given))


@cli.command("test", context_settings=CONTEXT, epilog=examples("test"))
@shared_options(*SOURCE, *RUNNING, "-state-dir", "-quiet")
@switch("-update", "write the expected files instead of comparing")
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...")
@click.pass_context
def _test(context: click.Context, /, **given: object) -> None:
    """Render captures and compare with the expected files beside them."""
    context.exit(golden(given))


@cli.command(
    "release",
    context_settings=CONTEXT,
    short_help="Accept the latest data that the guard is holding back.",
    epilog=examples("release"),
)
@shared_options(*SOURCE, *RUNNING, "-var", "-quiet", "-log-level", "-log-format")
@click.argument("service", required=False)
@click.pass_context
def _release(context: click.Context, /, service: str | None, **given: object) -> None:
    """Accept the latest data for SERVICE, or for all, that the guard of a running ctemplate is holding back."""
    context.exit(release(given, service))


@cli.command("status", context_settings=CONTEXT, epilog=examples("status"))
@shared_options(*SOURCE, *RUNNING, "-var", "-quiet", "-log-level", "-log-format")
@switch("-watch", "show it again every two seconds")
@click.option("-format", type=click.Choice(["text", "json"]), default="text", help="text for people, json for machines")
@click.pass_context
def _status(context: click.Context, /, **given: object) -> None:
    """Show what a running ctemplate is doing, and whether all is well."""
    context.exit(status(given))


def main() -> None:
    """Run the command line and exit with its status; every error ends here, in one line."""
    open_closed_streams()
    sys.exit(_exit_status())


def _exit_status() -> int:
    try:
        result = cli.main(arranged(sys.argv[1:], cli), prog_name="ctemplate", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message())
        return USAGE_STATUS
    except click.ClickException as exc:
        say(f"ctemplate: {_usage_fault(exc)}")
        return USAGE_STATUS
    except CtemplateError as exc:
        if isinstance(exc, TemplateError) and sys.stderr.isatty():
            illustrate(exc)
        say(str(exc))
        return next(status for kind, status in STATUSES.items() if isinstance(exc, kind))
    except OSError as exc:
        return _unprinted(exc)
    except (KeyboardInterrupt, asyncio.CancelledError, click.Abort):
        say("ctemplate: interrupted")
        return INTERRUPTED_STATUS
    return result if isinstance(result, int) else 0


def _unprinted(error: OSError) -> int:
    """Return the status for a write to stdout that failed; raise any other error again."""
    if error.filename is not None or error.errno not in UNPRINTABLE:
        raise error
    if error.errno != errno.EPIPE:
        say(f"standard output: cannot be written: {(error.strerror or str(error)).lower()}")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still to be flushed
    return FAILED_STATUS


def _usage_fault(fault: click.ClickException) -> str:
    message = fault.format_message().rstrip(".")
    said = message[:1].lower() + message[1:]
    return said if _ADVISED.search(said) else f"{said}; see ctemplate -help"
