"""The configuration as frozen values: what a file may say, with every default and its reason.

The command line and the environment say the same things in the same shape; see ``layers``. Pure.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ctemplate.core.durations import Duration, Share
from ctemplate.core.section import Count, Seconds, Section
from ctemplate.core.settings import COMMAND_TIMEOUT, ConsulSection, DataLimits, GuardPolicy, RenderSection
from ctemplate.core.signal_names import SignalName
from ctemplate.core.timing import Wait

Octal = Annotated[str, Meta(pattern="^[0-7]{1,4}$")]
CommandSetting = str | tuple[str, ...]
Escape = Literal["nginx", "haproxy", "json", "yaml", "shell", "html", "lines", "none"]
Language = Literal["jinja", "go"]
Delimiters = tuple[str, str]


class ServiceGuardSection(Section, frozen=True, kw_only=True):
    """``[guard.service."NAME"]``: what is different for one service."""

    min_instances: Annotated[int, Meta(ge=0)] | None = None
    max_loss: Share | None = None
    hold: Duration | None = None
    panic: bool | None = None
    readd: Duration | None = None


class GuardSection(GuardPolicy, frozen=True, kw_only=True):
    """``[guard]``: the policy for all services, and what is different for some."""

    service: dict[str, ServiceGuardSection] = msgspec.field(default_factory=dict)


class StatusSection(Section, frozen=True, kw_only=True):
    """``[status]``: where the state of a running ctemplate can be read."""

    address: str | None = None  # HOST:PORT, PORT on loopback, or unix:PATH; off where it is not given
    max_age: Duration = Duration(300.0)  # of answers, until /readyz says no
    token: Annotated[str, Meta(min_length=16)] | None = None  # that the page asks for before it releases
    token_file: str | None = None  # a file with it, read at each use; wins over token
    hosts: tuple[str, ...] = ()  # names by which a proxy or others reach the address

    @property
    def has_token(self) -> bool:
        """Return whether anybody may release by the page."""
        return bool(self.token or self.token_file)

    def __repr__(self) -> str:
        """Show nothing: the token must not reach a log."""
        return f"{type(self).__name__}(…)"


class NginxSection(Section, frozen=True, kw_only=True):
    """``nginx`` in ``[[group]]``: its files are nginx's, whatever its reload command looks like."""

    binary: str | None = None  # what the reload command names, else "nginx"
    config: str | None = None  # as -c
    prefix: str | None = None  # as -p
    proof: bool = True  # false where its processes cannot be seen from here, as in another container


class EnvSection(Section, frozen=True, kw_only=True):
    """``env``: a command's environment, which has Consul's credentials only where ``custom`` gives them."""

    pristine: bool = False  # nothing but custom
    custom: tuple[str, ...] = ()  # NAME=VALUE
    allowlist: tuple[str, ...] = ()  # patterns of names that are handed on; empty: all
    denylist: tuple[str, ...] = ()  # patterns of names that are not


class GroupSection(Section, frozen=True, kw_only=True):
    """``[[group]]``: files that are checked, swapped and reloaded together, all or none."""

    name: str
    reload: CommandSetting | None = None
    check: CommandSetting | None = None
    nginx: NginxSection | None = None
    timeout: Seconds = COMMAND_TIMEOUT
    env: EnvSection = EnvSection()  # of these commands
    wait: Wait | None = None  # instead of the common one
    min_interval: Duration = Duration(1.0)  # between reloads
    max_draining: Count = 4  # old worker generations still draining before a reload is delayed
    max_delay: Duration = Duration(60.0)  # such a delay ends here
    refuse_warnings: bool = False
    rollback: bool = False  # for a reload that is not nginx's: a failure proves that the program runs its old files
    on_edit: Literal["repair", "report"] = "repair"
    backups: Annotated[int, Meta(ge=0, le=1000)] = 3


class TemplateSection(Section, frozen=True, kw_only=True):
    """``[[template]]``: one Jinja source and the file it makes."""

    source: str | None = None
    contents: str | None = None  # the template's text itself, instead of a source
    destination: str | None = None
    for_each: str | None = None  # a list in the template's language: one file for each of its items
    command: CommandSetting | None = None
    timeout: Duration | None = None  # for the command
    env: EnvSection | None = None  # of the command
    wait: Wait | None = None  # instead of the common one
    group: str | None = None
    perms: Octal | None = None
    owner: str | None = None  # USER[:GROUP]
    escape: Escape | None = None  # the rule for printed values; by default derived from the program and the destination
    language: Language | None = None  # by default template_language
    left_delimiter: str | None = None  # what begins an expression, or an action of a Go template
    right_delimiter: str | None = None
    block_delimiters: Delimiters | None = None  # of Jinja's {% … %}
    comment_delimiters: Delimiters | None = None  # of Jinja's {# … #}
    backup: bool = False  # what is replaced stays beside the file, as NAME.bak
    create_dest_dirs: bool = True  # false: a missing folder is an error


class ExecSection(Section, frozen=True, kw_only=True):
    """``[exec]``: a program that ctemplate runs once everything is rendered, and ends with."""

    command: CommandSetting | None = None
    reload_signal: SignalName | None = None  # sent when a file has changed; by default the program is restarted
    kill_signal: SignalName = SignalName("SIGTERM")
    kill_timeout: Duration = Duration(30.0)  # from kill_signal until SIGKILL
    splay: Duration = Duration(0.0)  # a random part of it passes before the program hears of a change
    env: EnvSection = EnvSection()


class OnEventSection(Section, frozen=True, kw_only=True):
    """``[on_event]``: a command or a URL that receives events."""

    command: CommandSetting | None = None  # the event is JSON on its stdin
    url: str | None = None  # the event is the JSON body of a POST
    events: tuple[str, ...] = ()  # names of docs/events.md; empty: all of the level and above
    level: Literal["info", "warning", "error"] = "warning"
    timeout: Seconds = Seconds(10.0)
    env: EnvSection = EnvSection()  # of the command

    def __repr__(self) -> str:
        """Show nothing: a URL may hold a secret."""
        return f"{type(self).__name__}(…)"


class Config(Section, frozen=True, kw_only=True):
    """The whole configuration."""

    vars: dict[str, Any] = msgspec.field(default_factory=dict)
    consul: ConsulSection = ConsulSection()
    catalog: str | None = None
    wait: Wait = Wait()
    data: DataLimits = DataLimits()
    guard: GuardSection = GuardSection()
    render: RenderSection = RenderSection()
    status: StatusSection = StatusSection()
    group: tuple[GroupSection, ...] = ()
    template: tuple[TemplateSection, ...] = ()
    template_dirs: tuple[str, ...] = ()  # where includes and imports are looked for, after the template's own folder
    template_language: Language = "jinja"  # "go": consul-template's, converted as it is loaded
    left_delimiter: str | None = None  # of templates that name none
    right_delimiter: str | None = None
    exec: ExecSection = ExecSection()
    state_dir: str | None = None
    pid_file: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    log_file: str | None = None  # beside stderr
    syslog: bool = False  # beside stderr
    syslog_facility: str = "LOCAL0"  # as consul-template's
    syslog_name: str = "ctemplate"
    on_event: OnEventSection = OnEventSection()
    tracing: bool = False  # OpenTelemetry; needs ctemplate[otel]
    timeout: Duration = Duration(60.0)  # for -once and -dry, until every answer is in
