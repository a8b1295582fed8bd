"""The options that all verbs share, declared once: flag, place in the configuration, help."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from typing import Any

import click

from ctemplate.config.keys import default_text
from ctemplate.config.schema import Escape
from ctemplate.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An option that sets one key of the configuration: ``path`` is the key, dotted."""

    flag: str
    path: str
    metavar: str
    help: str
    is_switch: bool = False
    is_list: bool = False

    @property
    def heading(self) -> str:
        """Return the heading of the option in ``-help``."""
        return HEADINGS["status"] if self.flag in REPORTING else HEADINGS.get(self.path.partition(".")[0], "Options")

    @property
    def described(self) -> str:
        """Return the help, with the default where there is one."""
        default = default_text(self.path)
        return f"{self.help} [{default}]" if default else self.help


SETTINGS = (
    Setting(
        flag="-consul-addr",
        path="consul.address",
        metavar="ADDR",
        help="address of Consul; several are separated by commas",
    ),
    Setting(
        flag="-consul-token",
        path="consul.token",
        metavar="TOKEN",
        help="ACL token, visible to other users; prefer -consul-token-file",
    ),
    Setting(
        flag="-consul-token-file",
        path="consul.token_file",
        metavar="FILE",
        help="file with the ACL token; read again when it changes",
    ),
    Setting(flag="-consul-auth", path="consul.auth", metavar="USER:PASS", help="HTTP basic authentication"),
    Setting(flag="-consul-namespace", path="consul.namespace", metavar="NAME", help="namespace to query"),
    Setting(flag="-consul-partition", path="consul.partition", metavar="NAME", help="partition to query"),
    Setting(flag="-consul-ssl", path="consul.ssl", metavar="", help="use TLS", is_switch=True),
    Setting(
        flag="-consul-ssl-verify",
        path="consul.ssl_verify",
        metavar="",
        help="verify Consul's certificate; -consul-ssl-verify=false does not [true]",
        is_switch=True,
    ),
    Setting(flag="-consul-ssl-ca-cert", path="consul.ssl_ca_cert", metavar="FILE", help="CA certificate"),
    Setting(flag="-consul-ssl-ca-path", path="consul.ssl_ca_path", metavar="DIR", help="folder of CA certificates"),
    Setting(flag="-consul-ssl-cert", path="consul.ssl_cert", metavar="FILE", help="client certificate"),
    Setting(flag="-consul-ssl-key", path="consul.ssl_key", metavar="FILE", help="key of the client certificate"),
    Setting(
        flag="-consul-ssl-server-name",
        path="consul.ssl_server_name",
        metavar="NAME",
        help="verify the certificate for this name",
    ),
    Setting(
        flag="-consul-retry-backoff",
        path="consul.retry.backoff",
        metavar="DURATION",
        help="first delay between retries",
    ),
    Setting(
        flag="-consul-retry-max-backoff",
        path="consul.retry.max_backoff",
        metavar="DURATION",
        help="longest delay between retries",
    ),
    Setting(
        flag="-max-stale", path="consul.max_stale", metavar="DURATION", help="oldest answer accepted from a follower"
    ),
    Setting(
        flag="-max-connections",
        path="consul.max_connections",
        metavar="N",
        help="maximum number of connections to Consul",
    ),
    Setting(
        flag="-template-language",
        path="template_language",
        metavar="NAME",
        help="jinja, or go for consul-template's templates",
    ),
    Setting(
        flag="-default-left-delimiter",
        path="left_delimiter",
        metavar="TEXT",
        help="start of an expression, unless a template sets its own [{{]",
    ),
    Setting(flag="-default-right-delimiter", path="right_delimiter", metavar="TEXT", help="end of an expression [}}]"),
    Setting(flag="-catalog", path="catalog", metavar="FILE", help="catalog file (YAML or JSON) instead of Consul"),
    Setting(
        flag="-timeout",
        path="timeout",
        metavar="DURATION",
        help="how long -once, -dry, plan, apply and capture wait for answers",
    ),
    Setting(flag="-exec", path="exec.command", metavar="COMMAND", help="program to run once everything is rendered"),
    Setting(
        flag="-exec-reload-signal",
        path="exec.reload_signal",
        metavar="SIGNAL",
        help="signal to send when a file has changed; none: send nothing [restart it]",
    ),
    Setting(flag="-exec-kill-signal", path="exec.kill_signal", metavar="SIGNAL", help="signal to end it with"),
    Setting(
        flag="-exec-kill-timeout",
        path="exec.kill_timeout",
        metavar="DURATION",
        help="time to end before it is killed",
    ),
    Setting(
        flag="-exec-splay",
        path="exec.splay",
        metavar="DURATION",
        help="delay its restart or signal by a random time up to this",
    ),
    Setting(
        flag="-exec-env-pristine",
        path="exec.env.pristine",
        metavar="",
        help="pass it no variables except those of -exec-env-custom",
        is_switch=True,
    ),
    Setting(
        flag="-exec-env-custom",
        path="exec.env.custom",
        metavar="NAME=VALUE",
        help="variable to add to its environment; repeatable",
        is_list=True,
    ),
    Setting(
        flag="-exec-env-allowlist",
        path="exec.env.allowlist",
        metavar="PATTERN",
        help="variables to pass to it; repeatable [all]",
        is_list=True,
    ),
    Setting(
        flag="-exec-env-denylist",
        path="exec.env.denylist",
        metavar="PATTERN",
        help="variables not to pass to it; repeatable",
        is_list=True,
    ),
    Setting(flag="-state-dir", path="state_dir", metavar="DIR", help="folder for ledger, journal and backups"),
    Setting(flag="-pid-file", path="pid_file", metavar="FILE", help="file for the daemon's process id"),
    Setting(
        flag="-status-addr",
        path="status.address",
        metavar="ADDR",
        help="serve status and metrics at HOST:PORT, PORT or unix:PATH [off]",
    ),
    Setting(
        flag="-status-token-file",
        path="status.token_file",
        metavar="FILE",
        help="file with the token that a release from the status page needs",
    ),
    Setting(
        flag="-tracing",
        path="tracing",
        metavar="",
        help="send OpenTelemetry traces; needs ctemplate[otel]",
        is_switch=True,
    ),
    Setting(flag="-log-level", path="log_level", metavar="LEVEL", help="debug, info, warning or error"),
    Setting(flag="-log-format", path="log_format", metavar="FORMAT", help="text or json"),
    Setting(flag="-log-file", path="log_file", metavar="FILE", help="also write the log to this file"),
    Setting(flag="-syslog", path="syslog", metavar="", help="also send the log to syslog", is_switch=True),
    Setting(flag="-syslog-facility", path="syslog_facility", metavar="NAME", help="facility in syslog"),
    Setting(flag="-syslog-name", path="syslog_name", metavar="NAME", help="name of the program in syslog"),
)
_FORMATS = ", ".join(typing.get_args(Escape))
HEADINGS = {"consul": "Consul", "exec": "Program (-exec)", "status": "Status and log"}
"""For each section of the configuration the heading above its options in ``-help``; others are under Options."""

NAMES = {setting.path: setting.flag for setting in SETTINGS} | {"wait.min": "-wait", "wait.max": "-wait"}


CONSUL_OPTIONS = tuple(setting.flag for setting in SETTINGS if setting.path.startswith("consul."))
SOURCE = (*CONSUL_OPTIONS, "-catalog", "-timeout")
EXEC_OPTIONS = tuple(setting.flag for setting in SETTINGS if setting.path.startswith("exec."))
LOGGING = ("-log-level", "-log-format", "-log-file", "-syslog", "-syslog-facility", "-syslog-name")
REPORTING = (*LOGGING, "-status-addr", "-status-token-file", "-tracing")
RUNNING = ("-wait", "-pid-file", "-status-addr", "-status-token-file", "-tracing", *EXEC_OPTIONS)
"""Options that only have a meaning for a ctemplate that keeps running."""


class Sectioned(click.Command):
    """A verb whose help has its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, one section for each heading, in the order of their declaration."""
        headings = {setting.flag: setting.heading for setting in SETTINGS}
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and not isinstance(parameter, click.Argument):
                sections.setdefault(headings.get(parameter.opts[0], "Options"), []).append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class SectionedGroup(click.Group, Sectioned):
    """The program: a verb of its own, and the other verbs."""

    command_class = Sectioned


def shared_options(*without: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that all verbs share, in the order of ``-help``.

    The verb accepts the options of ``without`` too, so that one set of options works with every verb, but its help does
    not list them.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        waits = default_text("wait.min", "wait.max")
        options = [
            _option("-template", "SRC[:DST[:CMD]]", "source, destination and reload command; repeatable", many=True),
            _option("-escape", "FORMAT", f"format of the files of -template: {_FORMATS} [by file]"),
            _option("-config", "PATH", "configuration file or folder; repeatable", many=True),
            _option("-var", "NAME=VALUE", "value of var.NAME in templates; repeatable", many=True),
            _option(
                "-wait",
                "MIN[:MAX]",
                f"apply changes after MIN without another one, after MAX at the latest [{waits}]",
                without=without,
            ),
            switch("-quiet", "show no progress on a terminal", is_hidden="-quiet" in without),
            *(_of_setting(setting, without) for setting in SETTINGS),
        ]
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _of_setting(setting: Setting, without: tuple[str, ...]) -> Callable[..., Any]:
    if setting.is_switch:
        hidden = setting.flag in without
        return _shared(setting.flag, type=click.BOOL, metavar="", default=None, help=setting.help, hidden=hidden)
    return _option(setting.flag, setting.metavar, setting.described, many=setting.is_list, without=without)


def _option(
    flag: str, metavar: str, text: str, *, many: bool = False, without: tuple[str, ...] = ()
) -> Callable[..., Any]:
    return _shared(flag, metavar=metavar, multiple=many, help=text, hidden=flag in without)


def switch(
    flag: str, text: str, *, default: bool | None = False, is_hidden: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return an on/off option; click passes its value in ``arguments``."""
    return click.option(flag, type=click.BOOL, metavar="", default=default, help=text, hidden=is_hidden)


@functools.cache
def _made(flag: str, **given: Any) -> click.Option:
    """Return an option, made once for all verbs that share it: making one for each takes a tenth of ``-version``."""
    return click.Option([flag], **given)


def _shared(flag: str, **given: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds an option to a command, as ``click.option`` does."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        kept: list[click.Parameter] = vars(command).setdefault("__click_params__", [])  # where click looks for them
        kept.append(_made(flag, **given))
        return command

    return add
