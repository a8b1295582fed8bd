"""What replaces an option or a verb that other programs have: one line each, as data. Pure."""

from __future__ import annotations

_ROTATION = "logrotate rotates the file of -log-file, which is reopened automatically; leave it out"
_SIGNALS = "SIGTERM, SIGINT and SIGQUIT stop ctemplate, SIGHUP reads everything again; these signals are fixed"
_VAULT = "Vault is not supported; let vault agent write the secret to a file that nginx includes"
_CONNECTIONS = "ctemplate keeps its connections itself; -max-connections limits their number"

OPTIONS = (
    (r"-dedup(licate)?", "each ctemplate reads Consul itself, by few requests; leave it out"),
    (r"-log-rotate-.*", _ROTATION),
    (r"-(kill|reload)-signal", _SIGNALS),
    (r"-parse-only", "write 'ctemplate lint' to check templates, 'ctemplate plan' to see what would change"),
    (r"-(check|validate|test)", "write 'ctemplate lint' to check templates, 'ctemplate plan' to see what changes"),
    (r"-consul-retry(-attempts)?", "retries never end; leave it out, or set -consul-retry-max-backoff"),
    (r"-retry", "write -consul-retry-backoff"),
    (r"-consul", "write -consul-addr"),
    (r"-(addr|address)", "write -consul-addr"),
    (r"-(token|auth|ssl|ssl-.*)", "write it with -consul in front, such as -consul-token"),
    (
        r"-consul-datacenter|-dc|-datacenter",
        "write datacenter in [consul] of a file, or dc= in a query",
    ),
    (r"-consul-transport-.*", _CONNECTIONS),
    (
        r"-template-error-fatal",
        "a broken edit never ends ctemplate, the last good text stays; leave it out",
    ),
    (r"-vault-.*", _VAULT),
    (r"-nomad-.*", "Nomad is not supported; services that it registers in Consul are"),
    (r"-(d|daemon)", "ctemplate runs until it is stopped; let the service manager put it into the background"),
    (r"-(interval|splay|min|max)", "write -wait MIN:MAX"),
)
"""Options by regular expression, the first that matches counts. Most are consul-template's."""

COMMANDS = {
    "validate": "write 'ctemplate lint' for templates and configuration, 'ctemplate plan' for nginx's verdict",
    "check": "write 'ctemplate lint' for templates and configuration, 'ctemplate plan' for nginx's verdict",
    "diff": "write 'ctemplate plan'",
    "render": "write the options alone, with -dry to print or -once to write",
    "once": "write -once",
    "dry": "write -dry",
    "run": "write the options alone; ctemplate then runs until it is stopped",
    "start": "write the options alone; ctemplate then runs until it is stopped",
    "daemon": "write the options alone; ctemplate then runs until it is stopped",
    "reload": "send SIGHUP to the running ctemplate, which reads everything again",
    "stop": "send SIGTERM to the running ctemplate",
    "true": "write the option alone, or with an equals sign, such as -once=true",
    "false": "write it with an equals sign, such as -once=false",
}
"""Verbs that do not exist, and what to write instead."""
