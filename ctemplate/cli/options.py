"""The options that all verbs share, declared once: flag, place in the configuration, help."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from ctemplate.config.durations import parse_wait
from ctemplate.config.layers import Layer, nested
from ctemplate.config.schema import Escape
from ctemplate.config.spec import parse_template, parse_variable
from ctemplate.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An option that sets one key of the configuration: ``path`` is the key, dotted."""

    flag: str
    path: str
    metavar: str
    help: str
    is_switch: bool = False


SETTINGS = (
    Setting(
        flag="-consul-addr",
        path="consul.address",
        metavar="ADDR",
        help="Consul's address; commas between several [127.0.0.1:8500]",
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
    Setting(
        flag="-consul-ssl-verify", path="consul.ssl_verify", metavar="BOOL", help="verify Consul's certificate [true]"
    ),
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
        help="first delay between retries [250ms]",
    ),
    Setting(
        flag="-consul-retry-max-backoff",
        path="consul.retry.max_backoff",
        metavar="DURATION",
        help="longest such delay [1m]",
    ),
    Setting(
        flag="-max-stale", path="consul.max_stale", metavar="DURATION", help="oldest answer taken from a follower [2s]"
    ),
    Setting(
        flag="-max-connections", path="consul.max_connections", metavar="N", help="connections to Consul at most [64]"
    ),
    Setting(flag="-catalog", path="catalog", metavar="FILE", help="catalog file (YAML or JSON) instead of Consul"),
    Setting(
        flag="-timeout",
        path="timeout",
        metavar="DURATION",
        help="-once, -dry, plan, apply, capture: longest wait for answers [1m]",
    ),
    Setting(flag="-state-dir", path="state_dir", metavar="DIR", help="folder of ledger, journal and backups"),
    Setting(flag="-pid-file", path="pid_file", metavar="FILE", help="file for the daemon's process id"),
    Setting(flag="-log-level", path="log_level", metavar="LEVEL", help="debug, info, warning or error [info]"),
    Setting(flag="-log-format", path="log_format", metavar="FORMAT", help="text or json [text]"),
)
_FORMATS = ", ".join(typing.get_args(Escape))
NAMES = {setting.path: setting.flag for setting in SETTINGS} | {"wait.min": "-wait", "wait.max": "-wait"}


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that all verbs share, in the order of ``--help``."""
    for setting in reversed(SETTINGS):
        command = _option(setting.flag, metavar=setting.metavar, text=setting.help, is_switch=setting.is_switch)(
            command
        )
    command = _option("-quiet", metavar="", text="no progress on a terminal", is_switch=True)(command)
    command = _option("-wait", metavar="MIN[:MAX]", text="gather changes: quiet for MIN, at most MAX [100ms:2s]")(
        command
    )
    command = _option("-var", metavar="NAME=VALUE", text="a value for templates: var.NAME; repeatable", many=True)(
        command
    )
    command = _option("-escape", metavar="FORMAT", text=f"rule for values in those templates: {_FORMATS} [by file]")(
        command
    )
    command = _option("-config", metavar="PATH", text="configuration file or folder; repeatable", many=True)(command)
    return _option("-template", metavar="SRC[:DST[:CMD]]", text="a template; repeatable", many=True)(command)


def _option(
    flag: str, *, metavar: str, text: str, is_switch: bool = False, many: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    if is_switch:
        return click.option(flag, is_flag=True, default=None, help=text)
    return click.option(flag, metavar=metavar, multiple=many, help=text)


def flags_layer(given: Mapping[str, Any]) -> Layer:
    """Return what the command line says; raises ConfigError for a malformed value."""
    settings: dict[str, Any] = {}
    for setting in SETTINGS:
        value = given.get(setting.flag.lstrip("-").replace("-", "_"))
        if value is not None:
            settings[setting.path] = value
    if isinstance(level := settings.get("log_level"), str):
        settings["log_level"] = level.lower()
    if (wait := given.get("wait")) is not None:
        try:
            settings["wait.min"], settings["wait.max"] = parse_wait(wait)
        except ValueError as exc:
            raise ConfigError("-wait", str(exc)) from exc
    values = nested(settings)
    if given.get("template"):
        values["template"] = [parse_template(text) for text in given["template"]]
    names = NAMES | _with_escape(values.get("template", ()), given.get("escape"))
    if given.get("var"):
        values["vars"] = dict(parse_variable(text) for text in given["var"])
    return Layer(where="command line", values=values, names=names)


def _with_escape(templates: Sequence[dict[str, str]], escape: str | None) -> dict[str, str]:
    """Give the templates of the command line their format; return the option's name for each place it went to."""
    if escape is None:
        return {}
    if not templates:
        what = "is for the templates of -template, and there is none; in a file write escape under [[template]]"
        raise ConfigError("-escape", what)
    for section in templates:
        section["escape"] = escape
    return {f"template[{number}].escape": "-escape" for number in range(len(templates))}
