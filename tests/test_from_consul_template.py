"""The page for users of consul-template lists everything that it has, and nothing that does not exist here."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness.foreign_options import CONSUL_TEMPLATE_OPTIONS

from ctemplate.cli import cli
from ctemplate.convert.values import CHECK, INSTANCE, PAIR, VALUE_FIELDS
from ctemplate.core.model import CheckState, Instance
from ctemplate.queries.tree import KeyPair
from ctemplate.template.language import filters as language
from ctemplate.template.language.fields import FIELDS
from ctemplate.template.language.functions import Functions

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "from-consul-template.md").read_text()
ROWS = [re.split(r"(?<!\\)\|", line)[1:3] for line in PAGE.splitlines() if line.startswith("| `")]

OPTIONS = [*CONSUL_TEMPLATE_OPTIONS, "vault-…", "nomad-…"]
"""Of consul-template 0.42.1."""

FUNCTIONS = [
    "service",
    "connect",
    "services",
    "nodes",
    "node",
    "datacenters",
    "key",
    "keyExists",
    "keyOrDefault",
    "ls",
    "tree",
    "safeLs",
    "safeTree",
    "partitions",
    "exportedServices",
    "importedServices",
    "peerings",
    "caRoots",
    "caLeaf",
    "file",
    "secret",
    "secrets",
    "pkiCert",
    "nomadService",
    "nomadServices",
    "nomadVar",
    "nomadVarExists",
    "nomadVarList",
    "nomadVarListSafe",
    "scratch",
    "base64Decode",
    "base64Encode",
    "base64URLDecode",
    "base64URLEncode",
    "byKey",
    "byTag",
    "byPort",
    "byMeta",
    "contains",
    "in",
    "containsAll",
    "containsAny",
    "containsNone",
    "containsNotAll",
    "env",
    "mustEnv",
    "envOrDefault",
    "executeTemplate",
    "explode",
    "explodeMap",
    "mergeMap",
    "mergeMapWithOverride",
    "indent",
    "join",
    "split",
    "splitToMap",
    "trim",
    "trimPrefix",
    "trimSuffix",
    "trimSpace",
    "loop",
    "parseBool",
    "parseInt",
    "parseUint",
    "parseFloat",
    "parseJSON",
    "parseYAML",
    "plugin",
    "regexMatch",
    "regexReplaceAll",
    "replaceAll",
    "sha256Hex",
    "md5sum",
    "hmacSHA256Hex",
    "timestamp",
    "toJSON",
    "toJSONPretty",
    "toUnescapedJSON",
    "toUnescapedJSONPretty",
    "toLower",
    "toUpper",
    "toTitle",
    "toYAML",
    "toTOML",
    "sockaddr",
    "writeToFile",
    "spew_dump",
    "spew_sdump",
    "spew_printf",
    "spew_sprintf",
    "sprig_…",
    "add",
    "subtract",
    "multiply",
    "divide",
    "modulo",
    "minimum",
    "maximum",
    "and",
    "or",
    "not",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "len",
    "index",
    "slice",
    "print",
    "printf",
    "println",
    "html",
    "js",
    "urlquery",
    "call",
    "range",
    "else",
    "with",
    "define",
    "template",
    "block",
    "break",
    "continue",
]


def named(row, *, options):
    """What a row says of consul-template."""
    names = (name for name in re.findall(r"`([^`]+)`", row[0]) if not name.startswith("."))
    return [name.lstrip("-") for name in names if name.startswith("-") == options]


@pytest.mark.parametrize(("names", "options"), [(OPTIONS, True), (FUNCTIONS, False)], ids=["options", "functions"])
def test_all_that_consul_template_has_is_there_once(names, options):
    assert sorted(name for row in ROWS for name in named(row, options=options)) == sorted(names)


def test_options_of_ours_exist():
    known = {option.lstrip("-") for parameter in cli.params for option in parameter.opts} | {"version", "help"}
    ours = {name for row in ROWS for name in re.findall(r"`-([a-z-]+)`", row[1])}
    assert ours - known == set()


def test_filters_tests_and_functions_of_ours_exist():
    texts = [text for row in ROWS if "not yet" not in row[1] for text in re.findall(r"`([^`]+)`", row[1])]
    known = language.filters().keys() | {"random"}
    assert {name for text in texts for name in re.findall(r"\\\| (\w+)", text)} - known == set()
    assert {name for text in texts for name in re.findall(r" is (\w+)", text)} - language.tests().keys() == set()
    calls = {name for text in texts if "|" not in text and " is " not in text for name in re.findall(r"^(\w+)\(", text)}
    assert calls - Functions({}, {}).table().keys() == set()


def test_every_field_that_convert_knows_is_there():
    named = {name for row in ROWS for name in re.findall(r"`\.(\w+)`", row[0])}
    known = {name for kind in (INSTANCE, CHECK, PAIR) for name in VALUE_FIELDS[kind]}
    assert known - named == set()


def test_fields_of_ours_exist():
    kinds = {"i": Instance, "check": CheckState, "pair": KeyPair}
    found = {
        (owner, name)
        for row in ROWS
        for text in re.findall(r"`([^`]+)`", row[1])
        for owner, name in re.findall(r"^(i|check|pair)\.(\w+)", text)
    }
    assert {kinds[owner] for owner, _ in found} == set(kinds.values())
    assert {(owner, name) for owner, name in found if name not in FIELDS[kinds[owner]]} == set()


CONSUL_TEMPLATE = shutil.which("consul-template")

if CONSUL_TEMPLATE is not None:

    def test_every_flag_of_the_installed_consul_template_is_there():
        done = subprocess.run([CONSUL_TEMPLATE, "-h"], capture_output=True, text=True, timeout=60, check=True)
        flags = set(re.findall(r"^ +-([a-z0-9-]+)", done.stdout, re.MULTILINE))
        assert "consul-addr" in flags
        assert {flag for flag in flags if not flag.startswith(("vault-", "nomad-"))} - set(OPTIONS) == set()
