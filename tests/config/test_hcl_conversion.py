"""`ctemplate convert` of a configuration: TOML with the same meaning, and with the comments."""

import tomllib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, strategies as st

from ctemplate.cli import cli
from ctemplate.config.hcl_conversion import LANGUAGE_COMMENT, convert_configuration, is_configuration
from ctemplate.config.layers import build, read_layers
from ctemplate.config.toml_text import toml_text
from ctemplate.core.errors import ConfigError

HCL = r"""
# Where Consul is
consul {
  address = "10.0.0.1:8500" // an agent
  auth { username = "u" password = "p" }
  retry {
    # often
    backoff = "1s"
    attempts = 5
  }
  # end of consul
}
log_level = "WARN"
max_stale = "1m"
wait { min = "5s" }
exec {
  command = "run \"it\""
  splay = "1s"
  env { custom = ["A=b"] denylist = ["X_*"] }
}
# dropped
log_file { log_rotate_max_files = 3 }

template { # the first
  source = "/etc/a.ctmpl"
  destination = "/etc/a"
  command = ["nginx", "-s", "reload"]
  perms = 0600
  wait = "1s:2s"
  exec { timeout = "9s" }
  backup = true # since 2019
}
template {
  contents = <<EOF
{{ key "a'b" }}	\n
EOF
  destination = "/etc/b"
  user = "root"
}
# end
"""
TOML = f"""\
# {LANGUAGE_COMMENT}
template_language = "go"
log_level = "warning"

# Where Consul is
# end of consul
[consul]
# an agent
address = "10.0.0.1:8500"
# often
retry = {{ backoff = "1s" }}
max_stale = "1m"
auth = "u:p"

[wait]
min = "5s"
max = "20s"

[exec]
command = "run \\"it\\""
splay = "1s"
env = {{ custom = ["A=b"], denylist = ["X_*"] }}

[[template]]
# the first
source = "/etc/a.ctmpl"
destination = "/etc/a"
command = ["nginx", "-s", "reload"]
timeout = "9s"
perms = "0600"
wait = {{ min = "1s", max = "2s" }}
# since 2019
backup = true

[[template]]
contents = \'\'\'
{{{{ key "a'b" }}}}	\\n
\'\'\'
destination = "/etc/b"
owner = "root"

# dropped
# end
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "c.hcl").write_text(HCL)
    return tmp_path / "c.hcl"


def test_it_is_toml_that_one_keeps(file):
    text = convert_configuration([file]).text
    kept, _, answers = text.partition(f"# {file}:")
    assert kept == TOML
    assert answers.count(f"# {file}:") == 1  # each answer once


def test_it_means_the_same(file, tmp_path):
    path = tmp_path / "ctemplate.toml"
    path.write_text(convert_configuration([file]).text)
    config = build(read_layers(path))
    assert config.template_language == "go"
    assert msgspec.structs.replace(config, template_language="jinja") == build(read_layers(file))


def test_files_are_one_and_later_ones_win(tmp_path):
    (tmp_path / "a.hcl").write_text('wait = "1s"\n# one\ntemplate { source = "/a" destination = "/x" }\n# end of a')
    (tmp_path / "b.hcl").write_text('wait = "2s"\n# two\ntemplate { source = "b" destination = "/y" }\n# end of b')
    found = convert_configuration([tmp_path / "a.hcl", tmp_path / "b.hcl"])
    values = tomllib.loads(found.text)
    assert (values["wait"]["min"], [each["source"] for each in values["template"]]) == ("2s", ["/a", "b"])
    assert found.text.index("# one") < found.text.index('"/a"') < found.text.index("# two") < found.text.index('"b"')
    assert "# end of a\n# end of b\n" in found.text
    (said,) = map(str, found.notices)
    assert said.startswith(f"{tmp_path}/b.hcl:3: template.source: 'b' is relative, and counts from the folder")


def test_one_of_ours_is_left_alone(tmp_path):
    (tmp_path / "c.toml").write_text("[wait]\nmin = '1s'\n")
    with pytest.raises(ConfigError) as caught:
        convert_configuration([tmp_path / "c.toml"])
    assert str(caught.value) == f"{tmp_path}/c.toml: is ctemplate's own already; leave it as it is"


@pytest.mark.parametrize(
    ("name", "text", "is_one"),
    [
        ("c.hcl", "anything", True),
        ("c.json", '{"template": {"source": "a"}}', True),
        ("c.json", '{"template": [{"source": "a"}]}', False),
        ("c.json", '{{ key "a" }}', False),
        ("c.conf", "http {\n}\n", False),
    ],
)
def test_a_configuration_is_told_from_a_template(tmp_path, name, text, is_one):
    (tmp_path / name).write_text(text)
    assert is_configuration(tmp_path / name) is is_one


def converted(*args):
    return CliRunner().invoke(cli, ["convert", *map(str, args)])


def test_the_command_says_what_is_left_over(file, tmp_path):
    found = converted(file, "-o", tmp_path / "out.toml")
    assert (found.exit_code, found.stdout) == (1, "")  # rotation is lost
    assert [line.split(": ")[1] for line in found.stderr.splitlines()] == [
        "consul.retry.attempts", "log_file.log_rotate_max_files"
    ]  # fmt: skip
    assert tomllib.loads((tmp_path / "out.toml").read_text())["consul"]["address"] == "10.0.0.1:8500"


def test_the_command_takes_a_folder(tmp_path):
    (tmp_path / "a.hcl").write_text('wait = "1s"')
    (tmp_path / "b.json").write_text('{"max_stale": "1s"}')
    found = converted(tmp_path)
    assert (found.exit_code, found.stderr) == (0, "")
    assert tomllib.loads(found.stdout) == {"wait": {"min": "1s", "max": "4s"}, "consul": {"max_stale": "1s"}}


SCALARS = st.text(max_size=20) | st.booleans() | st.integers(-(2**40), 2**40)
VALUES = SCALARS | st.lists(SCALARS, max_size=3)
KEYS = st.text(max_size=8)
TABLES = st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, min_size=1, max_size=2), max_size=3)
CONFIGURATIONS = st.dictionaries(KEYS, VALUES | TABLES | st.lists(TABLES, min_size=1, max_size=2), max_size=4)


@given(CONFIGURATIONS, st.dictionaries(KEYS, st.lists(st.text("ab #'", max_size=5), max_size=2), max_size=3))
def test_any_configuration_is_read_back_as_it_was(values, comments):
    assert tomllib.loads(toml_text(values, comments)) == values


def test_the_documented_commands_are_there():
    page = (Path(__file__).parents[2] / "docs" / "consul-template-configuration.md").read_text()
    assert "ctemplate convert /etc/consul-template.d -o ctemplate.toml" in page
