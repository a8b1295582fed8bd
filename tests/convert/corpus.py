"""The corpus: templates of consul-template, the catalog that they are rendered with, and their output."""

from pathlib import Path

import jinja2
import msgspec
import yaml
from jinja2 import nodes

from ctemplate.convert.conversion import convert
from ctemplate.core.model import Snapshot
from ctemplate.sources.catalog_file import read_catalog
from ctemplate.sources.contents import answer
from ctemplate.template import Renderer, Template
from ctemplate.template.language.filters import filters, tests
from ctemplate.template.language.functions import Functions

FOLDER = Path(__file__).parent / "corpus"
KEYS = yaml.safe_load((FOLDER / "keys.yaml").read_text())
FILES = {f"../traps/{name}": (FOLDER.parent / "traps" / name).read_text() for name in ("banner.txt",)}
CATALOG = msgspec.structs.replace(read_catalog(FOLDER / "catalog.yaml"), kv=KEYS, files=FILES)
TEMPLATES = sorted(FOLDER.glob("*.ctmpl"))
TRAPS = sorted((FOLDER.parent / "traps").glob("*.ctmpl"))
"""Templates for the oracle alone, with what the converter refuses."""
CALLS = yaml.safe_load((FOLDER.parent / "function_calls.yaml").read_text())
"""Calls of functions, and what consul-template printed for them."""
ENVIRONMENT = {"CT_TEST": "set"}
JINJA = jinja2.Environment(autoescape=True, extensions=["jinja2.ext.loopcontrols"])


def expected_of(template):
    """The file that holds the bytes that consul-template gave."""
    return template.with_suffix(".expected")


def converted(template):
    """The template as one of ours; nothing of the corpus is beyond the converter."""
    source = template.read_bytes().decode()
    result = convert(source, template.name)
    assert [str(finding) for finding in result.findings] == []
    return result.text


def lacking(text):
    """The names in a template of ours that the language does not have yet."""
    tree = JINJA.parse(text)
    macros = {node.name for node in tree.find_all(nodes.Macro)}
    called = {node.node.name for node in tree.find_all(nodes.Call) if isinstance(node.node, nodes.Name)}
    names = called - macros - set(Functions({}, {}).table())
    names |= {node.name for node in tree.find_all(nodes.Filter)} - set(filters())
    names |= {node.name for node in tree.find_all(nodes.Test)} - set(tests())
    return names


def rendered(text, folder):
    """What a template of ours gives with the catalog."""
    source = folder / "t.j2"
    source.write_bytes(text.encode())
    renderer = Renderer([Template.load(source, variables={}, environ=ENVIRONMENT, escape="none")])
    answers = {}
    while True:
        rendering = renderer.render(Snapshot(answers))
        assert rendering.quarantined == ()
        if not rendering.missing:
            return rendering.texts[0].encode()
        answers |= {query: answer(CATALOG, query) for query in rendering.missing}
