"""The program and its options, in the form that click reads.

A verb's module is imported when the verb is called: ``VERB_FUNCTIONS`` names it as text, so that a process loads only
what its verb needs. Must not import the modules that do the work.
"""

from __future__ import annotations

import gc
import pkgutil
import signal
from collections.abc import Callable, MutableMapping

import click

from ctemplate import __version__
from ctemplate.cli.guide import EPILOG
from ctemplate.cli.options import SectionedGroup, shared_options, switch
from ctemplate.core.early_signals import let_signals_interrupt

VERB_FUNCTIONS = {
    "": "ctemplate.cli.run:run",
    "apply": "ctemplate.cli.plan:apply_plan",
    "capture": "ctemplate.cli.capture:capture",
    "convert": "ctemplate.cli.convert:convert_source",
    "doctor": "ctemplate.cli.doctor:doctor",
    "init": "ctemplate.cli.init:init",
    "lint": "ctemplate.cli.lint:lint_verb",
    "plan": "ctemplate.cli.plan:plan",
    "release": "ctemplate.cli.release:release",
    "restore": "ctemplate.cli.restore:restore_verb",
    "status": "ctemplate.cli.status:status",
    "test": "ctemplate.cli.golden:golden",
}
"""For each verb the function that does its work, as ``module:function``; the empty verb is the daemon."""

RUN_BY_DAEMON = frozenset({"apply", "capture", "plan"})  # verbs that run to their end when the terminal hangs up
CONTEXT = {"help_option_names": ["-help", "-h"], "max_content_width": 110}


def work(verb: str) -> Callable[..., int]:
    """Import and return the function that does a verb's work; it takes the options and returns the exit status."""
    if verb:  # the empty verb lets itself be interrupted once it knows whether it is a daemon
        let_signals_interrupt(*(() if verb in RUN_BY_DAEMON else (signal.SIGHUP,)))
    gc.disable()  # the collector would look for garbage among modules, which all stay
    try:
        found: Callable[..., int] = pkgutil.resolve_name(VERB_FUNCTIONS[verb])
    finally:
        gc.freeze()  # nor does it look there later
        gc.enable()
    return found


class LazyVerbs(SectionedGroup):
    """The program, whose verbs are created when the command line needs one: most processes are the daemon."""

    @property
    def commands(self) -> MutableMapping[str, click.Command]:
        """The verbs by name."""
        found: MutableMapping[str, click.Command] = pkgutil.resolve_name("ctemplate.cli.verbs:verbs").commands
        return found

    @commands.setter
    def commands(self, _: MutableMapping[str, click.Command]) -> None:
        """Ignore the empty mapping that click sets."""


@click.group(
    cls=LazyVerbs,
    invoke_without_command=True,
    context_settings=CONTEXT,
    epilog=EPILOG,
    no_args_is_help=True,
)
@shared_options()
@switch("-once", "render and apply once, then exit")
@switch("-dry", "print what would be written, then exit")
@switch("-show-config", "print the merged configuration, and where each value comes from")
@click.version_option(__version__, "-version", "-v", message="ctemplate %(version)s", help="show the version")
@click.pass_context
def cli(context: click.Context, /, **given: object) -> None:
    """Generate nginx configuration from Consul with Jinja templates, and reload nginx safely."""
    if context.invoked_subcommand is None:
        context.exit(work("")(given))
