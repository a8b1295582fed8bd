"""Configuration of other programs is recognised, and the message says what to write here."""

from pathlib import Path

import pytest

from ctemplate.config.groups import group_plans
from ctemplate.config.layers import Layer, build, read_layers
from ctemplate.config.spec import parse_template
from ctemplate.core.errors import ConfigError
from ctemplate.sources.contents import parse_catalog

HCL = 'consul {\n  address = "127.0.0.1:8500"\n}\n'
TEMPLATE = '[[template]]\nsource = "a.j2"\n'
SHOWN = "write TOML or JSON, as docs/configuration.md shows"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        pytest.param("c.toml", HCL, "this looks like HCL, consul-template's; name the file *.hcl", id="hcl"),
        pytest.param("c.yaml", "template:\n  - source: a\n", f"this looks like YAML; {SHOWN}", id="yaml"),
        pytest.param("c.toml", TEMPLATE + "perms = 0644\n", '; write perms = "0644"', id="octal without quotes"),
        pytest.param("c.toml", TEMPLATE + 'perms = "rw-"\n', "template[0].perms: must be octal", id="letters"),
        pytest.param("c.toml", TEMPLATE + "perms = 644\n", "in quotes like '0644', got 644", id="a number"),
        pytest.param("c.toml", "[template]\n", "must be a list of tables; write [[template]]", id="one"),
        pytest.param("c.toml", TEMPLATE + 'command_timeout = "1s"\n', "unknown key; write timeout", id="timeout"),
        pytest.param("c.toml", TEMPLATE + 'log_level = "info"\n', "it belongs above the first table", id="below"),
        pytest.param("c.toml", "[vault]\n", "vault: unknown key; Vault is not supported", id="vault"),
        pytest.param("c.toml", "vras = {}\n", "vras: unknown key; did you mean 'vars'?", id="slip"),
    ],
)
def test_a_file_of_another_kind_is_recognised(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        build(read_layers(path))
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_a_broken_line_of_toml_is_not_taken_for_anything_else(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("x = \n")
    with pytest.raises(ConfigError, match=r"is not TOML: invalid value \(at line 1, column 5\)$"):
        read_layers(path)


@pytest.mark.parametrize(
    "text", ["a.j2:out nginx -s reload", "a.j2:nginx.conf -s reload", "a.j2:out && nginx", "a.j2:out; nginx -s reload"]
)
def test_a_command_in_place_of_the_destination_is_refused(text):
    with pytest.raises(ConfigError, match="the destination looks like a command"):
        parse_template(text)


@pytest.mark.parametrize("text", ["a.j2:out", "a.j2:my file.conf", "a.j2:out-s", "a.j2:out:nginx -s reload"])
def test_a_destination_may_have_spaces_and_dashes(text):
    assert parse_template(text)["source"] == "a.j2"


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        ("-", "its destination '-' is no file; leave it out and add -dry to print"),
        ("/dev/stdout", "its destination '/dev/stdout' is no file; leave it out and add -dry to print"),
        (
            "nginx.conf -s reload",
            "its destination looks like a command, got 'nginx.conf -s reload'; write the command as command",
        ),
        (".", "is a folder; write the path"),
    ],
)
def test_a_destination_is_a_file(destination, said):
    config = build([Layer(where="c", values={"template": [{"source": "a.j2", "destination": destination}]})])
    with pytest.raises(ConfigError) as caught:
        group_plans(config)
    assert said in str(caught.value)


def test_a_destination_with_too_long_a_name_is_no_folder():
    config = build([Layer(where="c", values={"template": [{"source": "a.j2", "destination": "x" * 300}]})])
    assert len(group_plans(config)) == 1


@pytest.mark.parametrize("place", ["a.j2", "./a.j2", "link", "b.j2", "catalog.yaml"])
def test_a_destination_is_no_file_that_is_read(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("a.j2")
    templates = [{"source": "a.j2", "destination": place}, {"source": "b.j2", "destination": "out"}]
    config = build([Layer(where="c", values={"catalog": "catalog.yaml", "template": templates})])
    with pytest.raises(ConfigError, match="would be written over what is read; write the path of"):
        group_plans(config)


@pytest.mark.parametrize("text", ['service "web" {\n  port = 1\n}\n', 'service {\n  name = "web"\n}\n'])
def test_a_catalog_in_hcl_is_recognised(text):
    with pytest.raises(ConfigError, match="this looks like HCL; write YAML or JSON, as 'ctemplate capture' does"):
        parse_catalog(text, name="catalog.yaml")
