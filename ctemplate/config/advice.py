"""What to write instead of a key or a format of other programs: data, and the rules that need code. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.validation import is_hcl

SINGLE = lazy_pattern(r"template|group")
_YAML = lazy_pattern(r"^(?:---|[A-Za-z_]\w*:(?:\s|$)|- )", re.MULTILINE)
_OCTAL = lazy_pattern(r"""^\s*perms\s*=\s*(0[0-7]+)\s*(?:#.*)?$""", re.MULTILINE)
_SIZE_OF_SAMPLE = 65536  # how many characters are examined
_ABOVE = "it belongs above the first table of the file"

KEYS = {
    "command_timeout": "write timeout",
    "exec": "write command in [[template]], or reload in [[group]]; [exec] is a top-level table",
    "user": 'write owner = "USER:GROUP"',
    "mode": "write perms",
    "uid": 'write owner = "USER:GROUP"',
    "gid": 'write owner = "USER:GROUP"',
    "default_delimiters": "write left_delimiter and right_delimiter",
    "error_on_missing_key": "a missing key is always an error; write | default(…) where it may be missing",
    "error_fatal": "a broken edit never ends ctemplate; leave it out",
    "template_error_fatal": "a broken edit never ends ctemplate; leave it out",
    "sandbox_path": "templates read only files in the template folders; leave it out",
    "function_denylist": "templates can call nothing that reaches out of them; leave it out",
    "kill_signal": "SIGTERM, SIGINT and SIGQUIT stop ctemplate; leave it out",
    "reload_signal": "SIGHUP reads everything again; leave it out",
    "deduplicate": "each ctemplate reads Consul itself; leave it out",
    "vault": "Vault is not supported; leave it out",
    "nomad": "Nomad is not supported; leave it out",
    "block_query_wait": "write wait in [consul]",
    "variables": "write vars",
    "var": "write vars",
    "attempts": "retries never end; leave it out",
    "enabled": "a table that is there is used; leave it out",
    "once": "write the option -once",
}
"""Keys of other programs, mostly of consul-template, and what to write instead of each."""


LOG_LEVELS = {"warn": "warning", "err": "error", "trace": "debug", "fatal": "error", "critical": "error"}
"""Names of log levels in other programs."""


def key_advice(path: str, top: frozenset[str]) -> str:
    """Return the advice for an unknown key, empty if there is none; ``top`` are the root keys of the configuration."""
    _, inside, key = path.rpartition(".")
    if inside and key in top:
        return _ABOVE
    return KEYS.get(key, "")


def value_advice(path: str, said: str, values: Mapping[str, object]) -> str:
    """Return what is wrong with a key's value, and what to write instead if that is known."""
    if SINGLE.fullmatch(path) is not None and isinstance(values.get(path), Mapping):
        return f"must be a list of tables; write [[{path}]]"
    if path.rpartition(".")[2] == "perms":
        found = said.rpartition(", got ")[2]
        return f"must be octal in quotes like '0644', got {found}"
    return said


def format_advice(text: str, name: str, error: str = "") -> str:
    """Return which format a configuration that is not TOML seems to have, empty if unknown."""
    sample = text[:_SIZE_OF_SAMPLE]
    if found := _OCTAL.search(sample):
        return f'write perms = "{found[1]}"' if _line_of(found, sample) in error else ""
    if is_hcl(sample, name):
        return "this looks like HCL, consul-template's; name the file *.hcl"
    if name.endswith((".yaml", ".yml")) or _YAML.search(sample):
        return "this looks like YAML; write TOML or JSON, as docs/configuration.md shows"
    return ""


def _line_of(found: re.Match[str], text: str) -> str:
    return f"line {text.count(chr(10), 0, found.start(1)) + 1},"


def looks_like_command(destination: str) -> bool:
    """Return whether a destination looks like a command: it has an option or a word of the shell's."""
    return re.search(r"\s(?:-{1,2}\w|&&|\|\||;|>)", destination) is not None
