"""Each of consul-template's keys is translated, or reported with its line."""

import json

import pytest

from ctemplate.config.groups import group_plans
from ctemplate.config.hcl_file import is_consul_templates
from ctemplate.config.hcl_keys import HCL_KEYS, KeyRule
from ctemplate.config.hcl_parser import body_of_json, parse_hcl
from ctemplate.config.hcl_reading import HCL_SECTIONS
from ctemplate.config.hcl_translation import translated
from ctemplate.config.layers import Layer, build, read_layers
from ctemplate.core.errors import ConfigError
from ctemplate.lint.configuration import lint, written

NANOSECONDS = "consul-template takes a bare number for nanoseconds; write it with a unit in quotes, such as '10s'"


def values(text):
    found = translated(parse_hcl(text, "c.hcl"), "c.hcl")
    return found.values


def notices(text):
    return [str(notice) for notice in translated(parse_hcl(text, "c.hcl"), "c.hcl").notices]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('consul = "a:1"', {"consul": {"address": "a:1"}}, id="address alone"),
        pytest.param(
            'consul { auth { enabled = true username = "u" password = "p:q" } }',
            {"consul": {"auth": "u:p:q"}},
            id="credentials",
        ),
        pytest.param('consul { auth { enabled = false username = "u" } }', {}, id="credentials switched off"),
        pytest.param(
            'consul { ssl { ca_cert = "/a" } }', {"consul": {"ssl": True, "ssl_ca_cert": "/a"}}, id="TLS by any key"
        ),
        pytest.param("consul { ssl { enabled = false } }", {"consul": {"ssl": False}}, id="TLS switched off"),
        pytest.param(
            'consul { retry { backoff = "1s" max_backoff = "5s" } }',
            {"consul": {"retry": {"backoff": "1s", "max_backoff": "5s"}}},
            id="retries",
        ),
        pytest.param('wait = "5s"', {"wait": {"min": "5s", "max": "20s"}}, id="wait in short"),
        pytest.param('wait = "5s: 10s"', {"wait": {"min": "5s", "max": "10s"}}, id="wait in short, with max"),
        pytest.param('wait { min = "250ms" }', {"wait": {"min": "250ms", "max": "1s"}}, id="wait without max"),
        pytest.param('wait { min = "1s" bool = false }', {}, id="wait switched off"),
        pytest.param('log_level = "WARN"', {"log_level": "warning"}, id="level"),
        pytest.param('log_level = "TRACE"', {"log_level": "debug"}, id="level that we lack"),
        pytest.param('max_stale = "10m"\nblock_query_wait = "30s"',
                     {"consul": {"max_stale": "10m", "wait": "30s"}}, id="keys of Consul's"),
        pytest.param("max_stale = 0", {"consul": {"max_stale": "0"}}, id="nought needs no unit"),
        pytest.param('wait { min = "1s" }\nwait { max = "9s" min = "2s" }',
                     {"wait": {"max": "9s", "min": "2s"}}, id="last of repeated blocks"),
        pytest.param('kill_signal = "SIGTERM"\nreload_signal = "SIGHUP"', {}, id="signals that are ours"),
    ],
)  # fmt: skip
def test_a_key_goes_where_it_belongs(text, expected):
    assert values(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('source = "a" destination = "b"', {"source": "a", "destination": "b"}, id="plain"),
        pytest.param('contents = "x" destination = ""', {"contents": "x"}, id="contents; an empty text is none"),
        pytest.param('command = "nginx -s reload"', {"command": "nginx -s reload"}, id="command"),
        pytest.param('command = ["nginx -s reload"]', {"command": "nginx -s reload"}, id="list of one"),
        pytest.param('command = ["nginx", "-s"]', {"command": ["nginx", "-s"]}, id="list"),
        pytest.param('command = ""\ncommand_timeout = "1s"', {}, id="no command"),
        pytest.param(
            'command = "a"\ncommand_timeout = "1s"\nexec { command = ["b"] timeout = "2s" }',
            {"command": "b", "timeout": "2s"},
            id="exec wins",
        ),
        pytest.param(
            'command = "a"\nexec { env { pristine = true custom = ["A=b"] whitelist = ["X"] } }',
            {"command": "a", "env": {"pristine": True, "custom": ["A=b"], "allowlist": ["X"]}},
            id="environment",
        ),
        pytest.param('perms = "644"', {"perms": "0644"}, id="mode in quotes"),
        pytest.param("perms = 0640", {"perms": "0640"}, id="octal mode"),
        pytest.param("perms = 644", {"perms": "0644"}, id="mode without a nought"),
        pytest.param('user = "root" group = "adm"', {"owner": "root:adm"}, id="owner"),
        pytest.param("uid = 0", {"owner": "0"}, id="number of a user"),
        pytest.param("gid = 4", {"owner": ":4"}, id="number of a group"),
        pytest.param('wait { min = "1s" }', {"wait": {"min": "1s", "max": "4s"}}, id="wait"),
        pytest.param('wait = "1s:2s"', {"wait": {"min": "1s", "max": "2s"}}, id="wait in short"),
        pytest.param('left_delimiter = "[["', {"left_delimiter": "[["}, id="delimiter"),
    ],
)
def test_a_templates_key_goes_where_it_belongs(text, expected):
    assert values(f"template {{ {text} }}") == {"template": [expected]}


def test_templates_add_up_and_have_the_default_delimiters():
    text = 'default_delimiters { left = "<<" }\ntemplate { source = "a" }\ntemplate = [{ left_delimiter = "[" }, {}]'
    assert values(text) == {"left_delimiter": "<<", "template": [{"source": "a"}, {"left_delimiter": "["}, {}]}


def test_default_delimiters_hold_for_the_templates_of_all_files(tmp_path):
    (tmp_path / "a.hcl").write_text('template { contents = "a" destination = "/a" }')
    (tmp_path / "b.hcl").write_text('default_delimiters { left = "[[" right = "]]" }')
    config = build(read_layers(tmp_path))
    assert (config.left_delimiter, config.right_delimiter) == ("[[", "]]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_stale = 10", f"c.hcl:1: max_stale: {NANOSECONDS}, got 10"),
        ('\nwait = "x"', "c.hcl:2: wait: must be a duration like 250ms, 5s or 1m30s, got 'x'"),
        ("template { sorce = 1 }", "c.hcl:1: template.sorce: unknown key; did you mean 'source'?"),
        ("tempalte {}", "c.hcl:1: tempalte: unknown key; did you mean 'template'?"),
        ('template { perms = "rw" }', "c.hcl:1: template.perms: must be octal in quotes like '0644', got 'rw'"),
        ("consul { ssl { verify = 3 } }", "c.hcl:1: consul.ssl.verify: must be true or false, got 3"),
        ("consul { token { } }", "c.hcl:1: consul.token: must be text, got a block"),
        ("consul = 3", "c.hcl:1: consul: must be a block, got 3"),
        ('template "x" { }', "c.hcl:1: template: takes no name, got 'x'"),
        ("template = 3", "c.hcl:1: template: must be a block, got 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error_with_its_line(text, message):
    with pytest.raises(ConfigError) as caught:
        values(text)
    assert str(caught.value) == message


def test_a_block_that_a_later_one_replaces_is_named():
    told = "is there again below, and only the last counts, in consul-template as well"
    text = 'wait { min = "1s" }\ntemplate { }\nwait { min = "2s" }\ntemplate { }'
    assert notices(text) == [f"c.hcl:1: wait: {told}"]


@pytest.mark.parametrize("path", [path for path, rule in HCL_KEYS.items() if rule.answer])
def test_a_key_without_a_counterpart_is_answered_with_its_line(path):
    rule = HCL_KEYS[path]
    text = f"{path.rpartition('.')[2]} " + ('{ address = "x" }' if rule.is_block else '= "x"')
    for section in reversed(path.split(".")[:-1]):
        text = f"{section} {{\n{text}\n}}"
    line = path.count(".") + 1
    assert f"c.hcl:{line}: {path}: {rule.answer}" in notices(text)


@pytest.mark.parametrize(
    "text",
    ["vault { enabled = false }", "deduplicate { enabled = false }", "consul { retry { attempts = 0 } }",
     "once = false", "template { error_on_missing_key = false }"],
)  # fmt: skip
def test_a_key_that_changes_nothing_is_named_by_a_conversion_alone(text):
    found = translated(parse_hcl(text, "c.hcl"), "c.hcl").notices
    assert [(notice.is_idle, notice.is_loss) for notice in found] == [(True, False)]


def test_what_is_not_done_is_told_apart_from_what_needs_no_doing():
    found = translated(parse_hcl('vault { address = "x" }\nonce = true', "c.hcl"), "c.hcl")
    assert [notice.is_loss for notice in found.notices] == [True, False]


def test_json_means_the_same():
    said = {"consul": {"auth": {"username": "u"}}, "template": [{"source": "a", "perms": 644}], "wait": "1s"}
    assert translated(body_of_json(said), "c.json").values == {
        "consul": {"auth": "u:"},
        "template": [{"source": "a", "perms": "0644"}],
        "wait": {"min": "1s", "max": "4s"},
    }


@pytest.mark.parametrize(
    ("said", "is_theirs"),
    [
        ({"template": [{"source": "a", "destination": "b"}]}, False),
        ({"template": [{"source": "a", "command_timeout": "1s"}]}, True),
        ({"template": {"source": "a"}}, True),
        ({"consul": {"auth": {"enabled": True}}}, True),
        ({"consul": {"auth": "u:p"}}, False),
        ({"consul": {"ssl": {"enabled": True}}}, True),
        ({"consul": {"ssl": True}}, False),
        ({"consul": "a:1"}, True),
        ({"max_stale": "1s"}, True),
        ({"max_stale": "1s", "vars": {}}, False),
        ({"vault": {}}, True),
    ],
)
def test_json_is_consul_templates_where_only_that_knows_its_keys(said, is_theirs):
    assert is_consul_templates(said) is is_theirs


def test_every_key_below_a_section_has_a_section():
    assert {path.rpartition(".")[0] for path in HCL_KEYS} == HCL_SECTIONS | {""}
    assert not HCL_SECTIONS & HCL_KEYS.keys()
    assert all(isinstance(rule, KeyRule) and bool(rule.ours) is not bool(rule.answer) for rule in HCL_KEYS.values())


def test_a_folder_is_read_in_order_with_its_folders(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.hcl").write_text('wait = "2s"\ntemplate { source = "b" destination = "/b" }')
    (tmp_path / "a.json").write_text(json.dumps({"wait": "1s", "template": {"source": "a", "destination": "/a"}}))
    (tmp_path / "sub" / "c.hcl").write_text('template { source = "c" destination = "/c" }')
    (tmp_path / ".hidden.hcl").write_text("garbage")
    (tmp_path / "README.md").write_text("garbage")
    config = build(read_layers(tmp_path))
    assert [template.source for template in config.template] == ["a", "b", "c"]  # from where ctemplate is started
    assert config.wait.min == 2.0


@pytest.mark.parametrize("name", ["c.hcl", "c.conf", "c"])
def test_a_file_of_hcl_is_known_by_its_name_or_its_text(tmp_path, name):
    (tmp_path / name).write_text('consul {\n  address = "a:1"\n}\n')
    assert build(read_layers(tmp_path / name)).consul.addresses == ("a:1",)


def test_a_file_of_hcl_may_hold_json(tmp_path):
    (tmp_path / "c.hcl").write_text('{"consul": {"address": "a:1"}}')
    assert build(read_layers(tmp_path / "c.hcl")).consul.addresses == ("a:1",)


def test_a_wrong_value_is_told_by_the_line_of_its_key(tmp_path):
    path = tmp_path / "c.hcl"
    path.write_text('\nlog_level = "loud"')
    with pytest.raises(ConfigError) as caught:
        build(read_layers(path))
    assert str(caught.value) == f"{path}:2: log_level: must be debug, info, warning or error, got 'loud'"


@pytest.mark.parametrize(
    ("text", "what"),
    [('template { destination = "/a" }', "'source' is missing"),
     ('template { source = "a" contents = "b" }', "has source and contents; write one of them")],
)  # fmt: skip
def test_a_template_has_a_source_or_contents(tmp_path, text, what):
    (tmp_path / "c.hcl").write_text(text)
    with pytest.raises(ConfigError) as caught:
        build(read_layers(tmp_path / "c.hcl"))
    assert str(caught.value) == f"{tmp_path}/c.hcl:1: template: {what}"


def test_templates_with_one_command_have_its_longest_limit_and_wait(tmp_path):
    (tmp_path / "c.hcl").write_text(
        """
        template { source = "a" destination = "/a" command = "x" command_timeout = "5s" wait = "1s" }
        template { source = "b" destination = "/b" command = "x" command_timeout = "50s" wait = "3s:4s" }
        template { source = "c" destination = "/c" command = "x" }
        """
    )
    (plan,) = group_plans(build(read_layers(tmp_path / "c.hcl")))
    assert (plan.settings.timeout, plan.settings.wait.min, plan.settings.wait.max) == (50.0, 3.0, 4.0)
    assert len(plan.templates) == 3


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('left_delimiter = "{%"', "expressions, blocks and comments must begin differently, got '{%', '{%', '{#'"),
        ('left_delimiter = " "', "a delimiter is empty or has white space around it"),
    ],
)
def test_delimiters_that_cannot_be_told_apart_are_refused(tmp_path, keys, said):
    (tmp_path / "c.hcl").write_text(f'template {{ source = "a" destination = "/a" {keys} }}')
    with pytest.raises(ConfigError) as caught:
        group_plans(build(read_layers(tmp_path / "c.hcl")))
    assert str(caught.value) == f"template[0] (a): {said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('\nlog_level = "loud"', "2:1: CT701 log_level: must be debug, info, warning or error, got 'loud'"),
        ("\n\ntempalte {}", "3:1: CT701 tempalte: unknown key; did you mean 'template'?"),
        ("consul {", "1:8: CT701 this brace is never closed"),
    ],
)
def test_lint_names_file_and_line(tmp_path, text, said):
    path = tmp_path / "c.hcl"
    path.write_text(text)
    nothing = Layer(where="command line", values={})
    (found,) = lint(written([path], environment=nothing, flags=nothing, environ={}), {})
    assert f"{found.path}:{found.line}:{found.column}: {found.code} {found.message}" == f"{path}:{said}"


SAMPLE = """
# as the example in its documentation, with the values that people leave in it
consul {
  auth { enabled = false username = "test" password = "test" }
  address = "127.0.0.1:8500"
  namespace = ""
  token = ""
  retry { enabled = true attempts = 12 backoff = "250ms" max_backoff = "1m" }
  ssl {
    enabled = false
    verify = false
    cert = ""
    ca_cert = ""
    server_name = "my-server.com"
  }
  transport { dial_keep_alive = "30s" disable_keep_alives = false }
}
reload_signal = "SIGHUP"
kill_signal = "SIGINT"
max_stale = "10m"
block_query_wait = "60s"
log_level = "warn"
pid_file = ""
wait { min = "5s" max = "10s" }
vault { address = "https://vault.service.consul:8200" token = "" renew_token = false ssl { enabled = true } }
syslog { enabled = false facility = "LOCAL5" }
deduplicate { enabled = false prefix = "consul-template/dedup/" }
exec {
  # command = "/usr/bin/app"
  splay = "5s"
  env { pristine = false custom = ["PATH=$PATH:/etc/myapp/bin"] allowlist = ["CONSUL_*"] denylist = ["VAULT_*"] }
  reload_signal = ""
  kill_signal = "SIGINT"
  kill_timeout = "2s"
}
template {
  source = "/path/on/disk/to/template.ctmpl"
  destination = "/path/on/disk/where/template/will/render.txt"
  create_dest_dirs = true
  contents = ""
  command = "restart service foo"
  command_timeout = "60s"
  error_on_missing_key = false
  perms = 0600
  backup = true
  left_delimiter = "{{"
  right_delimiter = "}}"
  wait { min = "2s" max = "10s" }
}
"""


def test_its_own_example_runs(tmp_path):
    (tmp_path / "c.hcl").write_text(SAMPLE)
    (layer,) = read_layers(tmp_path / "c.hcl")
    config = build([layer, Layer(where="command line", values={"template_language": "go"})])
    assert (config.consul.token, config.consul.ssl, config.exec.reload_signal) == ("", False, None)
    (plan,) = group_plans(config)
    assert (plan.settings.reload, plan.settings.timeout, plan.settings.wait.max) == ("restart service foo", 60.0, 10.0)
    assert [str(notice).split(": ")[1] for notice in layer.notices if not notice.is_idle] == [
        "consul.retry.attempts",
        "consul.transport.dial_keep_alive",
        "vault",
        "exec",
    ]
    assert (config.template[0].backup, config.template[0].create_dest_dirs) == (True, True)


def test_the_command_of_exec_may_come_from_elsewhere(tmp_path):
    (tmp_path / "c.hcl").write_text('exec { splay = "5s" }')
    flags = Layer(where="command line", values={"exec": {"command": "run"}})
    config = build([*read_layers(tmp_path / "c.hcl"), flags])
    assert (config.exec.command, config.exec.splay) == ("run", 5.0)
    with pytest.raises(ConfigError, match=r"configuration: exec\.command: is missing; write the program"):
        build([Layer(where="c.toml", values={"exec": {"splay": "5s"}})])
