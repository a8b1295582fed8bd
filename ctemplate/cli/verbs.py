"""The verbs besides the daemon and their options, in the form that click reads.

Imported when the command line names a verb, or has to list them. Must not import the modules that do the work.
"""

from __future__ import annotations

from pathlib import Path

import click

from ctemplate.cli.guide import examples
from ctemplate.cli.options import EXEC_OPTIONS, LOGGING, RUNNING, SOURCE, SectionedGroup, shared_options, switch
from ctemplate.cli.program import CONTEXT, work

verbs = SectionedGroup("verbs")
"""What the program has as its verbs."""


@verbs.command("plan", context_settings=CONTEXT, epilog=examples("plan"))
@shared_options(*RUNNING)
@click.option("-o", metavar="FILE", help="save the plan for `apply`")
@switch("-exit-code", "exit with 4 when changes are pending")
@click.option("-format", type=click.Choice(["text", "json"]), default="text", help="format of the output")
@click.pass_context
def _plan(context: click.Context, /, **given: object) -> None:
    """Show what would change, and why; write nothing."""
    context.exit(work("plan")(given))


@verbs.command(
    "apply", context_settings=CONTEXT, short_help="Apply a plan saved by plan -o FILE.", epilog=examples("apply")
)
@shared_options(*RUNNING)
@click.argument("plan_file", metavar="PLAN", type=Path)
@click.pass_context
def _apply(context: click.Context, /, plan_file: Path, **given: object) -> None:
    """Apply a plan saved by plan -o FILE, unless the files or the data have changed since."""
    context.exit(work("apply")(given, plan_file))


@verbs.command("capture", context_settings=CONTEXT, epilog=examples("capture"))
@shared_options(*RUNNING)
@click.option("-o", metavar="FILE", help="file to write [standard output]")
@click.option("-mask", metavar="PATTERN", multiple=True, help="meta keys whose values to leave out; repeatable")
@click.pass_context
def _capture(context: click.Context, /, **given: object) -> None:
    """Save what the templates see as a catalog file."""
    context.exit(work("capture")(given))


@verbs.command(
    "convert",
    context_settings=CONTEXT,
    epilog=examples("convert"),
    short_help="Convert a template or configuration of consul-template.",
)
@click.option("-o", metavar="FILE", help="file to write [standard output]")
@click.option("-left-delimiter", "left", metavar="TEXT", default="{{", help="start of an action in SOURCE [{{]")
@click.option("-right-delimiter", "right", metavar="TEXT", default="}}", help="end of an action [}}]")
@switch("-tidy", "prefer readable Jinja to identical output, and report each difference")
@switch("-harden", "add the filters that nginx files need, and list them")
@switch("-force", "replace the file of -o even if its content is another")
@click.argument("source", metavar="SOURCE", type=Path)
@click.pass_context
def _convert(context: click.Context, /, source: Path, o: str | None, **given: object) -> None:
    """Convert consul-template's template SOURCE to a Jinja template that prints the same bytes.

    A SOURCE that is *.hcl, *.json or a folder is a configuration of consul-template and is converted to TOML.
    """
    context.exit(work("convert")(source, o, **given))


@verbs.command(
    "init",
    context_settings=CONTEXT,
    short_help="Write a first configuration for this host.",
    epilog=examples("init"),
)
@shared_options(*RUNNING, "-template", "-config", "-escape", "-var", "-catalog", "-state-dir", "-quiet")
@switch("-complete", "replace the whole nginx.conf instead of writing fragments beside your sites")
@click.argument("folder", required=False, type=Path)
@click.pass_context
def _init(context: click.Context, /, folder: Path | None, **given: object) -> None:
    """Look at this host, write a small configuration with your own templates to FOLDER, and show its plan.

    FOLDER is /etc/ctemplate for root, else ~/.config/ctemplate. Nothing of nginx's is written, and no configuration
    that is there is overwritten.
    """
    context.exit(work("init")(given, folder))


@verbs.command("lint", context_settings=CONTEXT, epilog=examples("lint"))
@shared_options(*SOURCE, *RUNNING, "-state-dir", "-quiet", *LOGGING)
@click.option(
    "-format",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    help="format of the output",
)
@click.pass_context
def _lint(context: click.Context, /, **given: object) -> None:
    """Check templates and configuration, without Consul."""
    context.exit(work("lint")(given))


@verbs.command("doctor", context_settings=CONTEXT, epilog=examples("doctor"))
@shared_options(*RUNNING, "-timeout", "-quiet", *LOGGING)
@click.option("-format", type=click.Choice(["text", "json"]), default="text", help="format of the output")
@click.pass_context
def _doctor(context: click.Context, /, **given: object) -> None:
    """Check that all that ctemplate needs is there."""
    context.exit(work("doctor")(given))


@verbs.command("test", context_settings=CONTEXT, epilog=examples("test"))
@shared_options(*SOURCE, *RUNNING, "-state-dir", "-quiet")
@switch("-update", "write the expected files instead of comparing")
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...")
@click.pass_context
def _test(context: click.Context, /, **given: object) -> None:
    """Render captures and compare with the expected files beside them."""
    context.exit(work("test")(given))


@verbs.command(
    "release",
    context_settings=CONTEXT,
    short_help="Accept the latest data that the guard is holding back.",
    epilog=examples("release"),
)
@shared_options(*SOURCE, *RUNNING, "-var", "-quiet", *LOGGING)
@click.argument("service", required=False)
@click.pass_context
def _release(context: click.Context, /, service: str | None, **given: object) -> None:
    """Accept the latest data for SERVICE, or for all, that the guard of a running ctemplate is holding back.

    If none runs with this configuration, the next one accepts what the last run with -once held back.
    """
    context.exit(work("release")(given, service))


@verbs.command(
    "restore",
    context_settings=CONTEXT,
    short_help="List earlier states of the files, or bring one back.",
    epilog=examples("restore"),
)
@shared_options(*SOURCE, *RUNNING, "-quiet")
@switch("-diff", "only show what would change")
@click.argument("which", required=False)
@click.argument("target", required=False)
@click.pass_context
def _restore(context: click.Context, /, which: str | None, target: str | None, **given: object) -> None:
    """List earlier states of the files; with WHICH, a number of the list or `original`, bring that one back.

    TARGET is a group or a file, where there are several groups. The files go through check, reload and proof as any
    change does, and are then left alone until `ctemplate release` or a change of their templates.
    """
    context.exit(work("restore")(given, which, target))


@verbs.command("status", context_settings=CONTEXT, epilog=examples("status"))
@shared_options(*SOURCE, *EXEC_OPTIONS, "-wait", "-pid-file", "-var", "-quiet", *LOGGING)
@switch("-watch", "repeat every two seconds")
@click.option("-format", type=click.Choice(["text", "json"]), default="text", help="format of the output")
@click.pass_context
def _status(context: click.Context, /, **given: object) -> None:
    """Show the state of the running ctemplate."""
    context.exit(work("status")(given))
