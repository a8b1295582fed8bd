"""No key of consul-template's configuration vanishes in a conversion: it is converted, or named with file and line."""

import pytest

from ctemplate.config.hcl_keys import HCL_KEYS
from ctemplate.config.hcl_parser import parse_hcl
from ctemplate.config.hcl_translation import COMBINED, translated
from ctemplate.config.layers import read_layers


def notices(text):
    return [str(notice) for notice in translated(parse_hcl(text, "c.hcl"), "c.hcl").notices]


VALUES = {
    "duration_text": ['"1s"', '"0s"'],
    "switch_value": ["true", "false"],
    "level": ['"WARN"'],
    "mode_text": ["0644"],
    "text_list": ['["A=b"]', "[]"],
    "command_words": ['"run it"', '""'],
    "signal_name": ['"SIGINT"'],
    "reload_signal_name": ['"SIGHUP"', '""'],
    "plain_text": ['"x"', '""'],
}
"""Values for each reader of one, those with an effect first."""
ANSWERED = ['"x"', "true", "false", "0", '"SIGINT"', '"SIGHUP"', '"SIGTERM"']


def written(path):
    """The texts of a key, with values of all kinds."""
    rule = HCL_KEYS[path]
    if rule.is_block:
        return [" { enabled = true }", " { enabled = false }", ' { address = "x" }']
    return [f" = {value}" for value in (ANSWERED if rule.answer else VALUES[rule.read.__name__])]


@pytest.mark.parametrize("path", HCL_KEYS)
def test_every_key_alone_is_converted_or_named_with_its_line(path):
    for value in written(path):
        check_one(path, f"{path.rpartition('.')[2]}{value}")


def check_one(path, text):
    for section in reversed(path.split(".")[:-1]):
        text = f"{section} {{\n{text}\n}}"
    found = translated(parse_hcl(text, "c.hcl"), "c.hcl")
    place = f"c.hcl:{path.count('.') + 1}: {path}"
    names = [str(notice) for notice in found.notices]
    is_named = any(name.startswith(f"{place}: ") for name in names)
    is_converted = place in found.names.values() or any(path.startswith(f"{name}.") for name in COMBINED)
    assert is_named or is_converted, (found.values, names)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('template {\nsource = "a"\ncommand = "a"\nexec { command = "b" } }', "3: template.command"),
        (
            'template {\nexec {\ncommand = "b"\ntimeout = "1s" }\ncommand_timeout = "2s" }',
            "5: template.command_timeout",
        ),
        ('template {\ncommand_timeout = "2s" }', "2: template.command_timeout"),
        ('template {\nexec {\nenv { custom = ["A=b"] } } }', "3: template.exec.env.custom"),
        ('template {\nuser = "a"\nuid = 3 }', "3: template.uid"),
        ('wait {\nmin = "1s"\nbool = false }', "2: wait.min"),
        ('consul { auth {\nenabled = false\nusername = "a" } }', "3: consul.auth.username"),
    ],
)
def test_a_key_that_another_one_overrules_is_named(text, path):
    assert any(each.startswith(f"c.hcl:{path}: has no effect here") for each in notices(text))


def test_a_run_reports_only_what_it_does_in_another_way(tmp_path):
    path = tmp_path / "c.hcl"
    path.write_text('kill_signal = "SIGTERM"\nconsul { retry { enabled = true attempts = 3 } }\n')
    (layer,) = read_layers(path)
    assert [notice.is_idle for notice in layer.notices] == [True, True, False]
