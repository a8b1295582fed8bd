"""`-show-config` prints the merged configuration and the place of each value, and no secret."""

import os
import subprocess
import sys
import tomllib

import pytest
from hypothesis import given, strategies as st

from ctemplate.cli.flags import NEVER_EMPTY, flags_layer
from ctemplate.config.keys import config_keys, value_at
from ctemplate.config.layers import Layer, build, environment_layer, read_layers
from ctemplate.config.show import SHOWN_INSTEAD, shown_config
from ctemplate.core.errors import ConfigError

FILE = """
vars = { domain = "example.com", db_password = "hunter2" }
log_level = "debug"
[consul]
address = ["http://user:hunter3@h:1", "b:2"]
auth = "user:hunter4"
[guard.service."we b.x"]
hold = "1m30s"
max_loss = 0.333
[[group]]
name = "g"
reload = ["nginx", "-s", "reload"]
nginx = { proof = false }
wait = { min = "1500us", max = "61.25s" }
[[template]]
source = "x.j2"
destination = "/tmp/x"
group = "g"
"""
MORE = '{"wait": {"max": "3s"}, "template": [{"contents": "a\\n\\"b\\"", "destination": "z"}]}'
SECRETS = ("hunter2", "hunter3", "hunter4", "hunter5")


@pytest.fixture
def layers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text(FILE)
    (tmp_path / "b.json").write_text(MORE)
    environ = {"CONSUL_HTTP_TOKEN": "hunter5", "CONSUL_CACERT": "/ca"}
    flags = flags_layer({"template": ["c:d:echo 'q'"], "var": ["n=1"], "wait": "1s:4s", "max_connections": "20"})
    return [environment_layer(environ), *read_layers(tmp_path), flags]


def places(lines):
    """Return the place of each value, by its table and key; entries of lists by their number."""
    found, table, counts = {}, "", {}
    for line in lines:
        if line.startswith("[["):
            table = line.strip("[]")
            counts[table] = counts.get(table, -1) + 1
            table = f"{table}[{counts[table]}]"
        elif line.startswith("["):
            table = line.strip("[]")
        elif line:
            text, _, place = line.rpartition("  # ")
            found[f"{table}.{text.partition(' = ')[0]}".lstrip(".")] = place.rpartition("/")[2]
    return found


def test_each_value_has_the_place_that_it_comes_from(layers):
    found = places(shown_config(layers))
    expected = {
        "log_level": "a.toml",
        "log_format": "default",
        "vars.domain": "a.toml",
        "vars.n": "-var",
        "consul.address": "a.toml",
        "consul.token": "CONSUL_HTTP_TOKEN",
        "consul.ssl_ca_cert": "CONSUL_CACERT",
        "consul.max_connections": "-max-connections",
        "consul.retry.backoff": "default",
        "wait.min": "-wait",
        'guard.service."we b.x".hold': "a.toml",
        "group[0].name": "a.toml",
        "group[0].timeout": "default",
        "group.nginx.proof": "a.toml",
        "template[0].source": "a.toml",
        "template[1].contents": "b.json",
        "template[2].source": "-template",
        "template[2].command": "-template",
    }
    assert {key: found.get(key) for key in expected} == expected


def test_no_secret_is_shown(layers):
    text = "\n".join(shown_config(layers))
    assert [secret for secret in SECRETS if secret in text] == []
    assert text.count(SHOWN_INSTEAD) == 4


def test_what_is_shown_is_the_configuration(layers):
    text = "\n".join(shown_config(layers))
    again, config = build([Layer(where="again", values=tomllib.loads(text))]), build(layers)
    masked = {"vars", "consul.address", "consul.token", "consul.auth"}
    plain = [path for path in config_keys() if not {"group", "template"} & {path.partition(".")[0]} and "*" not in path]
    assert [path for path in plain if path not in masked and value_at(again, path) != value_at(config, path)] == []
    assert (again.group, again.template, again.guard.service) == (config.group, config.template, config.guard.service)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | st.datetimes() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(VALUES, TEXTS)
def test_any_variable_can_be_read_again(value, name):
    lines = shown_config([Layer(where="a", values={"vars": {"x": value, "y": {name: value}}})])
    text = "\n".join(lines)
    shown = tomllib.loads(text)["vars"]
    if "://" not in text:  # where a user may be masked
        assert shown == {"x": value, "y": {name: value}}


def test_the_program_prints_it_and_nothing_else(tmp_path):
    (tmp_path / "c.toml").write_text('log_level = "error"\n')
    command = [sys.executable, "-m", "ctemplate", "-config", str(tmp_path), "-show-config", "-consul-addr", "a:1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    assert (done.returncode, done.stderr) == (0, "")
    found = tomllib.loads(done.stdout)
    assert (found["log_level"], found["consul"]["address"]) == ("error", ["a:1"])
    assert list(tmp_path.iterdir()) == [tmp_path / "c.toml"]


def test_an_unknown_key_is_an_error(tmp_path):
    (tmp_path / "c.toml").write_text('log_levle = "error"\n')
    command = [sys.executable, "-m", "ctemplate", "-config", str(tmp_path), "-show-config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{tmp_path}/c.toml: log_levle: unknown key; did you mean 'log_level'?\n"


def test_variables_of_commands_that_look_like_secrets_are_masked():
    layer = Layer(where="f", values={"exec": {"command": ["x"], "env": {"custom": ["API_KEY=hunter2", "LANG=C"]}}})
    shown = "\n".join(shown_config([layer]))
    assert "hunter2" not in shown
    assert f"API_KEY={SHOWN_INSTEAD}" in shown
    assert '"LANG=C"' in shown


@pytest.mark.parametrize(("flag", "wanted"), NEVER_EMPTY.items())
def test_an_option_that_may_not_be_empty_is_refused(flag, wanted):
    value = ("a.toml", "") if flag == "-config" else ""
    with pytest.raises(ConfigError) as caught:
        flags_layer({flag.lstrip("-").replace("-", "_"): value})
    assert str(caught.value) == f"{flag}: is empty; write {wanted}, or leave the option out"


def test_other_options_may_be_empty():
    assert flags_layer({"consul_token": "", "pid_file": ""}).values == {"consul": {"token": ""}, "pid_file": ""}
