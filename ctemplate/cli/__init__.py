"""The command line: click commands, one file each. The only place that prints or exits."""

from __future__ import annotations

import asyncio
import sys

import click

from ctemplate import __version__
from ctemplate.cli.options import shared_options
from ctemplate.cli.run import run
from ctemplate.errors import ConfigError, CtemplateError, SourceTimeout, StateError, TemplateError

USAGE_STATUS = 2
FAILED_STATUS = 1
NO_ANSWER_STATUS = 3
INTERRUPTED_STATUS = 130
STATUSES = {
    SourceTimeout: NO_ANSWER_STATUS,
    ConfigError: USAGE_STATUS,
    TemplateError: USAGE_STATUS,
    StateError: USAGE_STATUS,
    CtemplateError: FAILED_STATUS,
}

EPILOG = """Run it as

  ctemplate -template "nginx.conf.j2:/etc/nginx/nginx.conf:nginx -s reload"

Long options take one dash or two. Durations are written like 250ms, 5s or 1m30s.
"""


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-help", "--help", "-h"], "max_content_width": 120},
    epilog=EPILOG,
    no_args_is_help=True,
)
@shared_options
@click.option("-once", "--once", is_flag=True, help="render and apply once, then exit")
@click.option("-dry", "--dry", is_flag=True, help="print what would be written, then exit")
@click.version_option(
    __version__, "-version", "--version", "-v", message="ctemplate %(version)s", help="show the version"
)
@click.pass_context
def cli(context: click.Context, /, **given: object) -> None:
    """Keep nginx's configuration true to what Consul knows: watch, render, check, swap, reload, prove."""
    if context.invoked_subcommand is None:
        context.exit(run(given))


def main() -> None:
    """Run the command line and exit with its status; every error ends here, in one line."""
    sys.exit(_status())


def _status() -> int:
    try:
        result = cli.main(prog_name="ctemplate", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message())
        return USAGE_STATUS
    except click.ClickException as exc:
        message = exc.format_message().rstrip(".")
        click.echo(f"ctemplate: {message[:1].lower()}{message[1:]}; see ctemplate -help", err=True)
        return USAGE_STATUS
    except CtemplateError as exc:
        click.echo(str(exc), err=True)
        return next(status for kind, status in STATUSES.items() if isinstance(exc, kind))
    except BrokenPipeError:
        sys.stderr.close()
        return FAILED_STATUS
    except (KeyboardInterrupt, asyncio.CancelledError, click.Abort):
        click.echo("ctemplate: interrupted", err=True)
        return INTERRUPTED_STATUS
    return result if isinstance(result, int) else 0
