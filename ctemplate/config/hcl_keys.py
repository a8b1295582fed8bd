"""Every key of consul-template's configuration: its key here, or what to do instead. Data.

docs/consul-template-configuration.md has the same table; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ctemplate.config import hcl_values as read
from ctemplate.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRule:
    """How one key is translated.

    ``ours`` is our dotted path, empty if the key has no counterpart; ``answer`` says what to do instead, unless the
    value is one of ``quiet``, with which both do the same. ``is_loss``: consul-template does something here that
    ctemplate does not do. ``is_block``: the answer is for everything in the block.
    """

    ours: str = ""
    read: Callable[[Any], Any] = read.plain_text
    answer: str = ""
    quiet: tuple[Any, ...] = ()
    is_loss: bool = False
    is_block: bool = False


def _to(ours: str, reader: Callable[[Any], Any] = read.plain_text) -> KeyRule:
    return KeyRule(ours=ours, read=reader)


def _note(answer: str, *quiet: Any) -> KeyRule:
    return KeyRule(answer=answer, quiet=quiet)


def _loss(answer: str, *quiet: Any) -> KeyRule:
    return KeyRule(answer=answer, quiet=quiet, is_loss=True)


def _block(answer: str, *, is_loss: bool = False) -> KeyRule:
    return KeyRule(answer=answer, is_loss=is_loss, is_block=True)


_RETRIES = "retries never end; leave it out"
_CONNECTIONS = "ctemplate keeps its connections itself; max_connections in [consul] limits their number"
_ROTATION = "ctemplate does not rotate its log; let logrotate do it: the file is opened anew by itself"
_EDITS = "a broken edit never ends ctemplate, and the last good version stays in use; leave it out"
_FUNCTIONS = "templates can call nothing that reaches out of them; leave it out"
_SIGNALLED = "has no effect on a reload command, nor in consul-template; leave it out"

CONSUL_KEYS = {
    "consul.address": _to("consul.address"),
    "consul.namespace": _to("consul.namespace"),
    "consul.token": _to("consul.token"),
    "consul.token_file": _to("consul.token_file"),
    "consul.auth.enabled": _to("consul.auth", read.switch_value),
    "consul.auth.username": _to("consul.auth"),
    "consul.auth.password": _to("consul.auth"),
    "consul.retry.enabled": _note(_RETRIES, True),
    "consul.retry.attempts": _note(_RETRIES, 0),
    "consul.retry.backoff": _to("consul.retry.backoff", read.duration_text),
    "consul.retry.max_backoff": _to("consul.retry.max_backoff", read.duration_text),
    "consul.ssl.enabled": _to("consul.ssl", read.switch_value),
    "consul.ssl.verify": _to("consul.ssl_verify", read.switch_value),
    "consul.ssl.cert": _to("consul.ssl_cert"),
    "consul.ssl.key": _to("consul.ssl_key"),
    "consul.ssl.ca_cert": _to("consul.ssl_ca_cert"),
    "consul.ssl.ca_cert_bytes": _note("has no effect on Consul's connection, in consul-template neither; leave it out"),
    "consul.ssl.ca_path": _to("consul.ssl_ca_path"),
    "consul.ssl.server_name": _to("consul.ssl_server_name"),
    "consul.transport.dial_keep_alive": _note(_CONNECTIONS),
    "consul.transport.dial_timeout": _note(_CONNECTIONS),
    "consul.transport.disable_keep_alives": _note(_CONNECTIONS, False),
    "consul.transport.idle_conn_timeout": _note(_CONNECTIONS),
    "consul.transport.max_idle_conns": _note(_CONNECTIONS),
    "consul.transport.max_idle_conns_per_host": _note(_CONNECTIONS),
    "consul.transport.max_conns_per_host": _note(_CONNECTIONS, 0),
    "consul.transport.tls_handshake_timeout": _note(_CONNECTIONS),
}

TOP_KEYS = {
    "max_stale": _to("consul.max_stale", read.duration_text),
    "block_query_wait": _to("consul.wait", read.duration_text),
    "wait.min": _to("wait.min", read.duration_text),
    "wait.max": _to("wait.max", read.duration_text),
    "wait.bool": _to("wait", read.switch_value),
    "log_level": _to("log_level", read.level),
    "pid_file": _to("pid_file"),
    "default_delimiters.left": _to("left_delimiter"),
    "default_delimiters.right": _to("right_delimiter"),
    "reload_signal": _loss("SIGHUP reads everything again, and no other signal; leave it out", "SIGHUP"),
    "kill_signal": _loss(
        "SIGTERM, SIGINT and SIGQUIT stop ctemplate, and no other signal; leave it out", "SIGINT", "SIGTERM", "SIGQUIT"
    ),
    "template_error_fatal": _note(_EDITS),
    "err_on_failed_lookup": _note("a query that fails is retried and logged; leave it out", False),
    "once": _note("has no effect in a file, in consul-template neither; write the option -once", False),
    "parse_only": _note("has no effect in a file, in consul-template neither; write 'ctemplate lint'", False),
    "parseonly": _note("has no effect in a file, in consul-template neither; write 'ctemplate lint'", False),
    "deduplicate": _block("each ctemplate reads Consul itself, by few requests; leave it out"),
    "syslog.enabled": _to("syslog", read.switch_value),
    "syslog.facility": _to("syslog_facility"),
    "syslog.name": _to("syslog_name"),
    "log_file.path": _to("log_file"),
    "log_file.log_rotate_bytes": _loss(_ROTATION, 0),
    "log_file.log_rotate_duration": _loss(_ROTATION),
    "log_file.log_rotate_max_files": _loss(_ROTATION, 0),
    "vault": _block("Vault is not read; let vault agent write the secret to a file; leave it out", is_loss=True),
    "nomad": _block("Nomad is not read; services that it registers in Consul are; leave it out", is_loss=True),
}

TEMPLATE_KEYS = {
    "template.source": _to("template.source"),
    "template.contents": _to("template.contents"),
    "template.destination": _to("template.destination"),
    "template.command": _to("template.command", read.command_words),
    "template.command_timeout": _to("template.timeout", read.duration_text),
    "template.perms": _to("template.perms", read.mode_text),
    "template.user": _to("template.owner"),
    "template.group": _to("template.owner"),
    "template.uid": _to("template.owner"),
    "template.gid": _to("template.owner"),
    "template.left_delimiter": _to("template.left_delimiter"),
    "template.right_delimiter": _to("template.right_delimiter"),
    "template.wait.min": _to("template.wait.min", read.duration_text),
    "template.wait.max": _to("template.wait.max", read.duration_text),
    "template.wait.bool": _to("template.wait", read.switch_value),
    "template.backup": _to("template.backup", read.switch_value),
    "template.create_dest_dirs": _to("template.create_dest_dirs", read.switch_value),
    "template.error_on_missing_key": _note("a converted template prints nothing for a missing key of meta", False),
    "template.error_fatal": _note(_EDITS),
    "template.sandbox_path": _note("templates read only files in the template folders; leave it out"),
    "template.function_denylist": _note(_FUNCTIONS),
    "template.function_blacklist": _note(_FUNCTIONS),
    "template.exec.command": _to("template.command", read.command_words),
    "template.exec.timeout": _to("template.timeout", read.duration_text),
    "template.exec.enabled": _note("a command that is given is run, in consul-template as well; leave it out", True),
    "template.exec.kill_signal": _note(_SIGNALLED),
    "template.exec.kill_timeout": _note(_SIGNALLED),
    "template.exec.reload_signal": _note(_SIGNALLED),
    "template.exec.splay": _note(_SIGNALLED),
    "template.exec.env.pristine": _to("template.env.pristine", read.switch_value),
    "template.exec.env.custom": _to("template.env.custom", read.text_list),
    "template.exec.env.allowlist": _to("template.env.allowlist", read.text_list),
    "template.exec.env.whitelist": _to("template.env.allowlist", read.text_list),
    "template.exec.env.denylist": _to("template.env.denylist", read.text_list),
    "template.exec.env.blacklist": _to("template.env.denylist", read.text_list),
}

EXEC_KEYS = {
    "exec.command": _to("exec.command", read.command_words),
    "exec.enabled": _note("a program that is given is run, in consul-template as well; leave it out", True),
    "exec.reload_signal": _to("exec.reload_signal", read.reload_signal_name),
    "exec.kill_signal": _to("exec.kill_signal", read.signal_name),
    "exec.kill_timeout": _to("exec.kill_timeout", read.duration_text),
    "exec.splay": _to("exec.splay", read.duration_text),
    "exec.timeout": _note("has no effect on this program, in consul-template neither; leave it out", 0),
    "exec.env.pristine": _to("exec.env.pristine", read.switch_value),
    "exec.env.custom": _to("exec.env.custom", read.text_list),
    "exec.env.allowlist": _to("exec.env.allowlist", read.text_list),
    "exec.env.whitelist": _to("exec.env.allowlist", read.text_list),
    "exec.env.denylist": _to("exec.env.denylist", read.text_list),
    "exec.env.blacklist": _to("exec.env.denylist", read.text_list),
}

HCL_KEYS = CONSUL_KEYS | TOP_KEYS | TEMPLATE_KEYS | EXEC_KEYS
