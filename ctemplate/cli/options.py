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
    def described(self) -> str:
        """Return the help, with the default where there is one."""
        default = default_text(self.path)
        return f"{self.help} [{default}]" if default else self.help


SETTINGS = (
    Setting(
        flag="-consul-addr",
        path="consul.address",
        metavar="ADDR",
        help="Consul's address; commas between several",
    ),
    Setting(
        flag="-consul-token", path="consul.token", metavar="TOKEN", help="ACL token; -consul-token-file hides it better"
    ),
    Setting(
        flag="-consul-token-file", path="consul.token_file", metavar="FILE", help="file with the ACL token, re-read"
    ),
    Setting(flag="-consul-auth", path="consul.auth", metavar="USER:PASS", help="HTTP basic authentication"),
    Setting(flag="-consul-namespace", path="consul.namespace", metavar="NAME", help="namespace of the queries"),
    Setting(flag="-consul-partition", path="consul.partition", metavar="NAME", help="partition of the queries"),
    Setting(flag="-consul-ssl", path="consul.ssl", metavar="", help="speak TLS to Consul", is_switch=True),
    Setting(flag="-consul-ssl-verify", path="consul.ssl_verify", metavar="BOOL", help="verify Consul's certificate"),
    Setting(flag="-consul-ssl-ca-cert", path="consul.ssl_ca_cert", metavar="FILE", help="CA certificate"),
    Setting(flag="-consul-ssl-ca-path", path="consul.ssl_ca_path", metavar="DIR", help="folder of CA certificates"),
    Setting(flag="-consul-ssl-cert", path="consul.ssl_cert", metavar="FILE", help="client certificate"),
    Setting(flag="-consul-ssl-key", path="consul.ssl_key", metavar="FILE", help="key of the client certificate"),
    Setting(
        flag="-consul-ssl-server-name", path="consul.ssl_server_name", metavar="NAME", help="name to verify instead"
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
        help="longest such delay",
    ),
    Setting(flag="-max-stale", path="consul.max_stale", metavar="DURATION", help="oldest answer taken from a follower"),
    Setting(flag="-max-connections", path="consul.max_connections", metavar="N", help="connections to Consul at most"),
    Setting(
        flag="-template-language",
        path="template_language",
        metavar="NAME",
        help="jinja, or go: consul-template's, converted as they are loaded",
    ),
    Setting(
        flag="-default-left-delimiter",
        path="left_delimiter",
        metavar="TEXT",
        help="what begins an expression in templates that name nothing else [{{]",
    ),
    Setting(flag="-default-right-delimiter", path="right_delimiter", metavar="TEXT", help="what ends it [}}]"),
    Setting(flag="-catalog", path="catalog", metavar="FILE", help="catalog file (YAML or JSON) instead of Consul"),
    Setting(
        flag="-timeout",
        path="timeout",
        metavar="DURATION",
        help="-once, -dry, plan, apply, capture: longest wait for answers",
    ),
    Setting(flag="-exec", path="exec.command", metavar="COMMAND", help="a program to run once everything is rendered"),
    Setting(
        flag="-exec-reload-signal",
        path="exec.reload_signal",
        metavar="SIGNAL",
        help="what it gets when a file has changed; none for nothing [it is started anew]",
    ),
    Setting(flag="-exec-kill-signal", path="exec.kill_signal", metavar="SIGNAL", help="what it gets to end"),
    Setting(
        flag="-exec-kill-timeout",
        path="exec.kill_timeout",
        metavar="DURATION",
        help="from that signal until it is killed",
    ),
    Setting(
        flag="-exec-splay",
        path="exec.splay",
        metavar="DURATION",
        help="it hears of a change after a random part of this",
    ),
    Setting(
        flag="-exec-env-pristine",
        path="exec.env.pristine",
        metavar="",
        help="give it nothing of the environment but -exec-env-custom",
        is_switch=True,
    ),
    Setting(
        flag="-exec-env-custom",
        path="exec.env.custom",
        metavar="NAME=VALUE",
        help="add to its environment; repeatable",
        is_list=True,
    ),
    Setting(
        flag="-exec-env-allowlist",
        path="exec.env.allowlist",
        metavar="PATTERN",
        help="variables that it is given; repeatable [all]",
        is_list=True,
    ),
    Setting(
        flag="-exec-env-denylist",
        path="exec.env.denylist",
        metavar="PATTERN",
        help="variables that it is not given; repeatable",
        is_list=True,
    ),
    Setting(flag="-state-dir", path="state_dir", metavar="DIR", help="folder of ledger, journal and backups"),
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
        help="file with the token that the page asks for before it releases",
    ),
    Setting(
        flag="-tracing",
        path="tracing",
        metavar="",
        help="send traces by OpenTelemetry; needs ctemplate[otel]",
        is_switch=True,
    ),
    Setting(flag="-log-level", path="log_level", metavar="LEVEL", help="debug, info, warning or error"),
    Setting(flag="-log-format", path="log_format", metavar="FORMAT", help="text or json"),
    Setting(flag="-log-file", path="log_file", metavar="FILE", help="write the log to a file, too"),
    Setting(flag="-syslog", path="syslog", metavar="", help="send the log to syslog, too", is_switch=True),
    Setting(flag="-syslog-facility", path="syslog_facility", metavar="NAME", help="syslog's facility"),
    Setting(flag="-syslog-name", path="syslog_name", metavar="NAME", help="the program's name in syslog"),
)
_FORMATS = ", ".join(typing.get_args(Escape))
NAMES = {setting.path: setting.flag for setting in SETTINGS} | {"wait.min": "-wait", "wait.max": "-wait"}


CONSUL_OPTIONS = tuple(setting.flag for setting in SETTINGS if setting.path.startswith("consul."))
SOURCE = (*CONSUL_OPTIONS, "-catalog", "-timeout")
EXEC_OPTIONS = tuple(setting.flag for setting in SETTINGS if setting.path.startswith("exec."))
LOGGING = ("-log-level", "-log-format", "-log-file", "-syslog", "-syslog-facility", "-syslog-name")
RUNNING = ("-wait", "-pid-file", "-status-addr", "-status-token-file", "-tracing", *EXEC_OPTIONS)
"""Options that only have a meaning for a ctemplate that keeps running."""


def shared_options(*without: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that all verbs share, in the order of ``-help``.

    The verb accepts the options of ``without`` too, so that one set of options works with every verb, but its help does
    not list them.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        waits = default_text("wait.min", "wait.max")
        options = [
            _option("-template", "SRC[:DST[:CMD]]", "a template; repeatable", many=True),
            _option("-escape", "FORMAT", f"rule for values in those templates: {_FORMATS} [by file]"),
            _option("-config", "PATH", "configuration file or folder; repeatable", many=True),
            _option("-var", "NAME=VALUE", "a value for templates: var.NAME; repeatable", many=True),
            _option(
                "-wait",
                "MIN[:MAX]",
                f"gather changes: quiet for MIN, at most MAX [{waits}]",
                without=without,
            ),
            switch("-quiet", "no progress on a terminal", is_hidden="-quiet" in without),
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
