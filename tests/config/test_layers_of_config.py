import pytest

from ctemplate.config.layers import Layer, build, environment_layer, local_layers, nested, read_layers
from ctemplate.config.schema import Config, ServiceGuardSection, TemplateSection
from ctemplate.core.durations import Duration, Share
from ctemplate.core.errors import ConfigError
from ctemplate.core.settings import ConsulSection


def built(values, names=None):
    return build([Layer(where="ctemplate.toml", values=values, names=names or {})])


def test_nothing_said_is_the_defaults():
    assert build([]) == Config()


def test_later_layers_win_and_templates_add_up():
    low = Layer(where="a.toml", values={"wait": {"min": "1s", "max": "5s"}, "template": [{"source": "a"}]})
    high = Layer(where="b.toml", values={"wait": {"min": "2s"}, "template": [{"source": "b"}]})
    config = build([low, high])
    assert (config.wait.min, config.wait.max) == (2.0, 5.0)
    assert config.template == (TemplateSection(source="a"), TemplateSection(source="b"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(
            {"template": [{"sourse": "x"}]},
            "ctemplate.toml: template[0].sourse: unknown key; did you mean 'source'?",
            id="misspelt-key",
        ),
        pytest.param({"zzz": 1}, "ctemplate.toml: zzz: unknown key", id="key-like-no-other"),
        pytest.param({"template": [{}]}, "ctemplate.toml: template[0]: 'source' is missing", id="missing-key"),
        pytest.param(
            {"wait": {"min": "5"}},
            "ctemplate.toml: wait.min: needs a unit, got '5'; write 5s for seconds",
            id="duration-without-unit",
        ),
        pytest.param(
            {"wait": {"min": 5}},
            "ctemplate.toml: wait.min: must be a duration in quotes like '250ms', got 5",
            id="duration-as-number",
        ),
        pytest.param(
            {"consul": {"max_connections": 3}},
            "ctemplate.toml: consul.max_connections: must be a whole number of at least 8, got 3",
            id="number-too-small",
        ),
        pytest.param(
            {"consul": {"query_interval": "0"}},
            "configuration: consul.query_interval: must be at least 100ms, got '0ms'",
            id="interval-too-short",
        ),
        pytest.param(
            {"consul": {"wait": "0"}}, "configuration: consul.wait: must be at least 100ms, got '0ms'", id="no-wait"
        ),
        pytest.param(
            {"render": {"timeout": "0"}},
            "configuration: render.timeout: must be at least 100ms, got '0ms'",
            id="no-time-to-render",
        ),
        pytest.param(
            {"template": [{"source": "a", "destination": "x\0y"}]},
            "ctemplate.toml: template[0].destination: holds a null character, which no path or command can hold",
            id="null-character",
        ),
        pytest.param(
            {"log_level": "loud"},
            "ctemplate.toml: log_level: must be debug, info, warning or error, got 'loud'",
            id="unknown-word",
        ),
    ],
)
def test_error_names_file_key_and_fix(values, message):
    with pytest.raises(ConfigError) as caught:
        built(values)
    assert str(caught.value) == message


def test_guard_shares_are_written_as_percent_or_number():
    guard = {"max_loss": "25%", "service": {"we.b": {"max_loss": 0.1, "hold": "1m"}}}
    section = built({"guard": guard}).guard
    assert (section.max_loss, section.hold) == (0.25, 300.0)
    assert section.service["we.b"] == ServiceGuardSection(max_loss=Share(0.1), hold=Duration(60.0))


@pytest.mark.parametrize("value", ["150%", "half", -0.1, 50, True, "nan"])
def test_malformed_share_is_explained(value):
    with pytest.raises(ConfigError) as caught:
        built({"guard": {"service": {"web": {"max_loss": value}}}})
    assert str(caught.value).endswith(f"must be a share like '50%' or 0.5, got {value!r}")


def test_error_of_an_option_names_the_option():
    with pytest.raises(ConfigError) as caught:
        built({"wait": {"min": "x"}}, names={"wait.min": "-wait"})
    assert str(caught.value) == "-wait: must be a duration like 250ms, 5s or 1m30s, got 'x'"


def test_token_shows_in_no_error_and_no_repr():
    secret = "d5f6a1f2-hidden"
    with pytest.raises(ConfigError) as caught:
        built({"consul": {"token": [secret]}})
    assert secret not in str(caught.value)
    assert secret not in repr(built({"consul": {"token": secret, "auth": f"u:{secret}"}}))


def test_consul_environment_is_understood_and_files_win():
    environ = {
        "CONSUL_HTTP_ADDR": "10.0.0.1:8500",
        "CONSUL_HTTP_SSL": "true",
        "CONSUL_HTTP_SSL_VERIFY": "0",
        "HOME": "/",
    }
    file = Layer(where="a.toml", values={"consul": {"address": "b:1"}})
    assert build([environment_layer(environ), file]).consul == ConsulSection(addresses=("b:1",), ssl=True, verify=False)


def test_empty_environment_variable_says_nothing():
    assert environment_layer({"CONSUL_HTTP_ADDR": ""}).values == {}


def test_dotted_paths_become_tables():
    assert nested({"wait.min": 1, "wait.max": 2, "pid_file": "x"}) == {"wait": {"min": 1, "max": 2}, "pid_file": "x"}


def test_toml_and_json_of_one_folder_are_read_in_order_of_names(tmp_path):
    (tmp_path / "10.toml").write_text('[[template]]\nsource = "a.j2"\ndestination = "/tmp/a"\n')
    (tmp_path / "20.json").write_text('{"template": [{"source": "/abs/b.j2"}]}')
    (tmp_path / "README.md").write_text("not a configuration")
    config = build(read_layers(tmp_path))
    assert [template.source for template in config.template] == [str(tmp_path / "a.j2"), "/abs/b.j2"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param("c.toml", "a = ", "{path}: is not TOML: invalid value (at end of document)", id="toml"),
        pytest.param("c.json", '{"a": }', "{path}:1:7: is not JSON: expecting value", id="json"),
        pytest.param(
            "c.json",
            '{"consul": {"token": "a", "wait": "1m", "token": "b"}}',
            "{path}: holds the key 'token' twice; write it once",
            id="json-repeated",
        ),
        pytest.param("c.json", "[]", "{path}: must hold a table, got list", id="no-table"),
    ],
)
def test_broken_file_is_one_line_with_the_place(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_layers(path)
    assert str(caught.value) == message.format(path=path)


def test_missing_file_and_empty_folder_are_named(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_layers(tmp_path / "none.toml")
    assert str(caught.value) == f"{tmp_path}/none.toml: cannot be read: no such file or directory"
    with pytest.raises(ConfigError) as caught:
        read_layers(tmp_path)
    assert str(caught.value) == f"{tmp_path}: no *.toml, *.json or *.hcl file in this folder"


def test_variables_keep_what_they_are():
    config = built({"vars": {"domain": "example.com", "ports": [80, 443], "deep": {"a": True}}})
    assert config.vars == {"domain": "example.com", "ports": [80, 443], "deep": {"a": True}}


@pytest.mark.parametrize(("name", "text"), [("a.toml", "a = {}"), ("a.json", '{{"a": {}}}'), ("a.hcl", "a = {}")])
def test_a_number_of_too_many_digits_is_an_error_with_its_place(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text.format("9" * 5000))
    with pytest.raises(ConfigError) as raised:
        read_layers(path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize(
    "text",
    ['consul { address = "c:1" }\nmax_stale = "9s"', '{"consul": {"address": "c:1"}, "max_stale": "9s"}'],
    ids=["hcl", "json"],
)
def test_the_configuration_in_a_variable_wins_over_files_and_not_over_options(tmp_path, text):
    (tmp_path / "c.toml").write_text('[consul]\naddress = "b:1"\nmax_stale = "1s"\nwait = "7s"')
    flags = Layer(where="command line", values={"consul": {"address": "d:1"}})
    layers = [*read_layers(tmp_path / "c.toml"), *local_layers({"CT_LOCAL_CONFIG": text}), flags]
    consul = build(layers).consul
    assert (consul.addresses, consul.max_stale, consul.wait) == (("d:1",), 9.0, 7.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("consul {\n  adress = 1\n}", "CT_LOCAL_CONFIG:2: consul.adress: unknown key; did you mean 'address'?"),
        ('{"consul": }', "CT_LOCAL_CONFIG:1:12: is not JSON: expecting value"),
    ],
)
def test_an_error_in_the_variable_names_it(text, said):
    with pytest.raises(ConfigError) as caught:
        local_layers({"CT_LOCAL_CONFIG": text})
    assert str(caught.value) == said


def test_an_empty_variable_says_nothing():
    assert local_layers({"CT_LOCAL_CONFIG": " "}) == local_layers({}) == []


def test_consul_templates_own_variables_win_over_consuls():
    environ = {"CONSUL_HTTP_TOKEN": "a", "CONSUL_TOKEN": "b", "CT_LOG": "WARN", "CONSUL_TEMPLATE_LOG": "ERR"}
    layer = environment_layer(environ)
    config = build([layer])
    assert (config.consul.token, config.log_level) == ("b", "warning")
    assert layer.names["consul.token"] == "CONSUL_TOKEN"
    assert environment_layer({"CONSUL_HTTP_TOKEN": "a"}).names["consul.token"] == "CONSUL_HTTP_TOKEN"
