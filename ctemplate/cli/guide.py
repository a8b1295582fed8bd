"""The text of ``-help`` below the options: examples of each verb, exit codes, environment variables. Pure."""

from __future__ import annotations

_AS_IT_IS = "\b\n"  # click does not wrap a paragraph that begins so

EXAMPLES = {
    "plan": (
        'ctemplate plan -template "nginx.conf.j2:/etc/nginx/nginx.conf:nginx -s reload"',
        "ctemplate plan -config /etc/ctemplate -o plan.json",
        "ctemplate plan -config /etc/ctemplate -exit-code -format json",
    ),
    "apply": ("ctemplate apply -config /etc/ctemplate plan.json",),
    "capture": (
        "ctemplate capture -config /etc/ctemplate -o catalog.yaml",
        "ctemplate capture -config /etc/ctemplate -mask '*secret*' -o catalog.yaml",
    ),
    "convert": (
        "ctemplate convert nginx.ctmpl -o nginx.conf.j2",
        "ctemplate convert /etc/consul-template.d -o ctemplate.toml",
    ),
    "init": ("ctemplate init", "ctemplate init -complete -consul-addr 10.0.0.5:8500 /etc/ctemplate"),
    "lint": (
        "ctemplate lint -config /etc/ctemplate",
        "ctemplate lint -template nginx.conf.j2 -var domain=example.com -format sarif",
    ),
    "doctor": ("ctemplate doctor -config /etc/ctemplate",),
    "test": (
        "ctemplate test -config ctemplate.toml tests/nginx",
        "ctemplate test -config ctemplate.toml -update tests/nginx",
    ),
    "restore": (
        "ctemplate restore -config /etc/ctemplate",
        "ctemplate restore -config /etc/ctemplate 12 -diff",
        "ctemplate restore -config /etc/ctemplate original /etc/nginx/nginx.conf",
    ),
    "status": (
        "ctemplate status -config /etc/ctemplate",
        "ctemplate status -status-addr 127.0.0.1:9117 -watch",
    ),
    "release": ("ctemplate release -config /etc/ctemplate web", "ctemplate release -state-dir /var/lib/ctemplate"),
}

EPILOG = f"""{_AS_IT_IS}Examples:
  ctemplate -template "nginx.conf.j2:/etc/nginx/nginx.conf:nginx -s reload"
  ctemplate -config /etc/ctemplate
  ctemplate -catalog catalog.yaml -template nginx.conf.j2 -dry

Long options take one dash or two, and may stand before the verb or behind it. Durations are written like 250ms,
5s or 1m30s.

{_AS_IT_IS}Exit codes:
  0    done, or stopped by SIGTERM or SIGINT
  1    a group failed; lint, doctor or test found something; release SERVICE released nothing
  2    the command line, the configuration, a template or the state folder cannot be used
  3    no answer from Consul within -timeout
  4    plan -exit-code: changes are pending; status: not ready
  130  interrupted before it was done
  any  with -exec, that of the program

{_AS_IT_IS}Environment:
  CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE, CONSUL_HTTP_AUTH, CONSUL_HTTP_SSL,
  CONSUL_HTTP_SSL_VERIFY, CONSUL_CACERT, CONSUL_CAPATH, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY,
  CONSUL_TLS_SERVER_NAME, CONSUL_NAMESPACE, CONSUL_PARTITION   as for Consul's own programs
  STATE_DIRECTORY, XDG_STATE_HOME   where the state folder is, unless -state-dir says so
  NO_COLOR   no colours in plan

The whole reference: docs/configuration.md of the source, and the README.
"""


def examples(verb: str) -> str:
    """Return the examples of how to call a verb."""
    return "\n  ".join((f"{_AS_IT_IS}Examples:", *EXAMPLES[verb]))
