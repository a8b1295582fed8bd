"""Options are accepted in every place and form in which operators write them."""

import shlex

import click
import pytest
from harness.foreign_options import CONSUL_TEMPLATE_OPTIONS

from ctemplate.cli import cli
from ctemplate.cli.arguments import arranged
from ctemplate.cli.guide import EXAMPLES


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        pytest.param("-once -template a:b", ["-once", "true", "-template", "a:b"], id="no verb"),
        pytest.param("--once --template=a:b", ["-once", "true", "-template", "a:b"], id="two dashes"),
        pytest.param("-config c plan -o f", ["plan", "-config", "c", "-o", "f"], id="options before the verb"),
        pytest.param("-consul-addr plan plan", ["plan", "-consul-addr", "plan"], id="a value named like a verb"),
        pytest.param("-var a=-once plan", ["plan", "-var", "a=-once"], id="a value that looks like an option"),
        pytest.param("-once=true", ["-once", "true"], id="on as Go writes it"),
        pytest.param("-consul-ssl-verify -once", ["-consul-ssl-verify", "true", "-once", "true"], id="all switches"),
        pytest.param("-consul-ssl-verify=false", ["-consul-ssl-verify", "false"], id="certificate not verified"),
        pytest.param("-consul-ssl=false", ["-consul-ssl", "false"], id="off as Go writes it"),
        pytest.param("release web -config c", ["release", "web", "-config", "c"], id="argument of a verb"),
        pytest.param("-o f plan", ["plan", "-o", "f"], id="the verb's own option before it"),
        pytest.param("help", ["-help"], id="help"),
        pytest.param("--help", ["-help"], id="help with two dashes"),
        pytest.param("plan -h", ["plan", "-help"], id="short help of a verb"),
        pytest.param("help plan", ["plan", "-help"], id="help of a verb"),
        pytest.param("version", ["-version"], id="version"),
        pytest.param("-V", ["-version"], id="capital V"),
        pytest.param("lint -consul-ssl-key k", ["lint", "-consul-ssl-key", "k"], id="taken where it means nothing"),
    ],
)
def test_words_are_arranged(given, wanted):
    assert arranged(given.split(), cli) == wanted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param("-vault-addr=x", "no such option -vault-addr: Vault is not supported", id="vault"),
        pytest.param("-vault-token x", "no such option -vault-token: Vault is not supported", id="vault token"),
        pytest.param("-consul-retry=false", "no such option -consul-retry: retries never end", id="retry"),
        pytest.param("-consul 1:2", "no such option -consul: write -consul-addr", id="consul"),
        pytest.param("-dedup", "no such option -dedup: each ctemplate reads Consul itself", id="dedup"),
        pytest.param("-log-rotate-bytes 1", "no such option -log-rotate-bytes: logrotate rotates", id="log rotation"),
        pytest.param(
            "-kill-signal x", "no such option -kill-signal: SIGTERM, SIGINT and SIGQUIT stop", id="kill signal"
        ),
        pytest.param("-nomad-addr x", "no such option -nomad-addr: Nomad is not supported", id="nomad"),
        pytest.param("-parse-only", "no such option -parse-only: write 'ctemplate lint'", id="parse only"),
        pytest.param("-retry 5s", "no such option -retry: write -consul-retry-backoff", id="old retry"),
        pytest.param("-tempate a", "no such option -tempate; did you mean -template?", id="slip"),
        pytest.param("--log-levle info", "no such option --log-levle; did you mean -log-level?", id="slip, two dashes"),
        pytest.param("-xyzzy", "no such option -xyzzy", id="nothing near"),
        pytest.param("-template", "option '-template' requires an argument", id="no value"),
        pytest.param("-once plan", "option -once has no meaning with plan", id="not with this verb"),
        pytest.param("-o f", "option -o has no meaning without a verb", id="without a verb"),
        pytest.param("plna", "no such command 'plna'; did you mean plan?", id="slip of a verb"),
        pytest.param("validate", "no such command 'validate': write 'ctemplate lint'", id="validate"),
        pytest.param("-once true", "no such command 'true': write the option alone", id="a value behind a switch"),
        pytest.param("extra", "no such command 'extra'", id="stranger"),
    ],
)
def test_what_does_not_exist_is_told_what_to_write(given, message):
    with pytest.raises(click.UsageError) as caught:
        arranged(given.split(), cli)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize("verb", EXAMPLES)
def test_examples_are_valid(verb):
    for line in EXAMPLES[verb]:
        words = shlex.split(line)[1:]
        assert arranged(words, cli)[0] == verb


def test_every_verb_has_examples():
    assert EXAMPLES.keys() == cli.commands.keys()


def test_a_verb_lists_the_options_that_mean_something_to_it():
    lint = {option.opts[0] for option in cli.commands["lint"].params if not getattr(option, "hidden", False)}
    delimiters = {"-default-left-delimiter", "-default-right-delimiter"}
    assert lint == {"-template", "-config", "-escape", "-template-language", "-var", "-format", *delimiters}


THEIRS = [
    *CONSUL_TEMPLATE_OPTIONS,
    "vault-addr",
    "vault-token",
    "vault-agent-token-file",
    "vault-renew-token",
    "vault-unwrap-token",
    "vault-default-lease-duration",
    "vault-client-user-agent",
    "vault-retry",
    "vault-retry-attempts",
    "vault-retry-backoff",
    "vault-retry-max-backoff",
    "vault-ssl",
    "vault-ssl-ca-cert",
    "vault-ssl-ca-path",
    "vault-ssl-cert",
    "vault-ssl-key",
    "vault-ssl-server-name",
    "vault-ssl-verify",
    "vault-transport-dial-keep-alive",
    "vault-transport-dial-timeout",
    "vault-transport-disable-keep-alives",
    "vault-transport-max-idle-conns-per-host",
    "vault-transport-max-conns-per-host",
    "vault-transport-tls-handshake-timeout",
]


@pytest.mark.parametrize("flag", THEIRS)
def test_each_flag_of_consul_template_works_or_says_what_to_write(flag):
    known = {name for option in cli.params for name in option.opts} | set(cli.context_settings["help_option_names"])
    if f"-{flag}" in known:
        return
    with pytest.raises(click.UsageError, match=rf"^no such option -{flag}: \w+") as caught:
        arranged([f"-{flag}=x"], cli)
    assert "did you mean" not in caught.value.message
