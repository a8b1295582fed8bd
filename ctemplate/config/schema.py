"""The configuration as frozen values: what a file may say, with every default and its reason.

The command line and the environment say the same things in the same shape; see ``layers``. Pure.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ctemplate.core.durations import Duration, Share
from ctemplate.core.signal_names import SignalName

Count = Annotated[int, Meta(ge=1)]
Octal = Annotated[str, Meta(pattern="^[0-7]{1,4}$")]
CommandSetting = str | tuple[str, ...]
Escape = Literal["nginx", "haproxy", "json", "yaml", "shell", "html", "lines", "none"]
Language = Literal["jinja", "go"]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration file; unknown keys are errors."""


class RetrySection(Section, frozen=True, kw_only=True):
    """``[consul.retry]``: trouble is retried for ever; these bound the delay between tries."""

    backoff: Duration = Duration(0.25)  # quick enough that an agent's restart is hardly seen
    max_backoff: Duration = Duration(60.0)  # a minute keeps a fleet from hammering a struggling server


class ConsulSection(Section, frozen=True, kw_only=True):
    """``[consul]``: where Consul is and how to speak to it."""

    address: str | tuple[str, ...] = "127.0.0.1:8500"
    token: str | None = None
    token_file: str | None = None
    auth: str | None = None
    namespace: str | None = None
    partition: str | None = None
    datacenter: str | None = None
    ssl: bool | None = None
    ssl_verify: bool = True
    ssl_ca_cert: str | None = None
    ssl_ca_path: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None
    ssl_server_name: str | None = None
    max_connections: Annotated[int, Meta(ge=8, le=10_000)] = 64  # Consul allows 200 per client by default
    max_stale: Duration = Duration(2.0)  # an older answer is asked again from the leader; 0 asks the leader always
    wait: Duration = Duration(60.0)  # how long a blocking query may hang; Consul's own default is 5 minutes
    query_interval: Duration = Duration(10.0)  # a prepared query cannot wait for a change, and is executed so often
    max_answer_bytes: Count = 64 * 1024 * 1024  # fifty thousand instances of one service
    retry: RetrySection = RetrySection()

    def __repr__(self) -> str:
        """Show nothing: the token must not reach a log."""
        return "ConsulSection(…)"


class WaitSection(Section, frozen=True, kw_only=True):
    """``[wait]``: a burst of changes is gathered until it was quiet for min, but never longer than max."""

    min: Duration = Duration(0.1)
    max: Duration = Duration(2.0)


class DataSection(Section, frozen=True, kw_only=True):
    """``[data]``: what may enter from Consul; an instance or service beyond a limit is left out and named."""

    allow_hostnames: bool = False  # nginx resolves names at reload, and refuses everything when one is unknown
    allow_loopback: bool = False  # a loopback address on another node would reach the balancer's own ports
    allowed_networks: tuple[str, ...] = ()  # empty: every unicast address
    max_instances: Count = 1000  # per service
    max_values: Count = 40_000  # per service, tags and meta pairs of all instances together
    max_tags: Count = 256  # per instance; go-micro writes many
    max_tag_bytes: Count = 16 * 1024  # per instance, all tags together
    max_meta_bytes: Count = 48 * 1024  # per instance, keys and values together
    max_name_bytes: Count = 512  # a service's name, an instance's id, a node's name


class RenderSection(Section, frozen=True, kw_only=True):
    """``[render]``: what one render of one template may take, so that a loop without end ends in an error."""

    timeout: Duration = Duration(10.0)
    max_output_bytes: Count = 64 * 1024 * 1024


class ServiceGuardSection(Section, frozen=True, kw_only=True):
    """``[guard.service."NAME"]``: what is different for one service."""

    min_instances: Annotated[int, Meta(ge=0)] | None = None
    max_loss: Share | None = None
    hold: Duration | None = None
    panic: bool | None = None
    readd: Duration | None = None


class GuardSection(Section, frozen=True, kw_only=True):
    """``[guard]``: when the last good answer is kept instead of a suspicious new one."""

    min_instances: Annotated[int, Meta(ge=0)] = 0  # a loss that leaves fewer is doubted
    max_loss: Share = Share(0.5)  # so is one of more, at once, of three or more
    hold: Duration = Duration(300.0)  # agents register their services again within a minute or two; 0: no guard
    panic: bool = False  # keep the instances of a service that all fail
    readd: Duration = Duration(0.0)  # how long an instance that failed must pass before it is used again
    service: dict[str, ServiceGuardSection] = {}


class StatusSection(Section, frozen=True, kw_only=True):
    """``[status]``: where the state of a running ctemplate can be read."""

    address: str | None = None  # HOST:PORT, PORT on loopback, or unix:PATH; off where it is not given
    max_age: Duration = Duration(300.0)  # of answers, until /readyz says no


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
    timeout: Duration = Duration(30.0)  # for the check and for a reload that is a plain command
    env: EnvSection = EnvSection()  # of these commands
    wait: WaitSection | None = None  # instead of the common one
    min_interval: Duration = Duration(1.0)  # between reloads
    max_draining: Count = 4  # old worker generations still draining before a reload is delayed
    max_delay: Duration = Duration(60.0)  # such a delay ends here
    refuse_warnings: bool = False
    on_edit: Literal["repair", "report"] = "repair"
    backups: Annotated[int, Meta(ge=0, le=1000)] = 3


class TemplateSection(Section, frozen=True, kw_only=True):
    """``[[template]]``: one Jinja source and the file it makes."""

    source: str | None = None
    contents: str | None = None  # the template's text itself, instead of a source
    destination: str | None = None
    command: CommandSetting | None = None
    timeout: Duration | None = None  # for the command
    env: EnvSection | None = None  # of the command
    wait: WaitSection | None = None  # instead of the common one
    group: str | None = None
    perms: Octal | None = None
    owner: str | None = None  # USER[:GROUP]
    escape: Escape | None = None  # the rule for printed values; by default as the program and the destination tell
    language: Language | None = None  # by default template_language
    left_delimiter: str | None = None  # what begins an action of a Go template
    right_delimiter: str | None = None


class ExecSection(Section, frozen=True, kw_only=True):
    """``[exec]``: a program that ctemplate runs once everything is rendered, and ends with."""

    command: CommandSetting | None = None
    reload_signal: SignalName | None = None  # sent when a file has changed; by default the program is started anew
    kill_signal: SignalName = SignalName("SIGTERM")
    kill_timeout: Duration = Duration(30.0)  # from kill_signal until SIGKILL
    splay: Duration = Duration(0.0)  # a random part of it passes before the program hears of a change
    env: EnvSection = EnvSection()


class Config(Section, frozen=True, kw_only=True):
    """The whole configuration."""

    vars: dict[str, Any] = {}
    consul: ConsulSection = ConsulSection()
    catalog: str | None = None
    wait: WaitSection = WaitSection()
    data: DataSection = DataSection()
    guard: GuardSection = GuardSection()
    render: RenderSection = RenderSection()
    status: StatusSection = StatusSection()
    group: tuple[GroupSection, ...] = ()
    template: tuple[TemplateSection, ...] = ()
    template_dirs: tuple[str, ...] = ()  # where includes and imports are looked for, after the template's own folder
    template_language: Language = "jinja"  # "go": consul-template's, converted as it is loaded
    exec: ExecSection = ExecSection()
    state_dir: str | None = None
    pid_file: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    timeout: Duration = Duration(60.0)  # for -once and -dry, until every answer is in
