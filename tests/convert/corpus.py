"""The corpus: templates of consul-template, the catalog that they are rendered with, and their output."""

from pathlib import Path

import jinja2
import msgspec

from ctemplate.convert.conversion import convert
from ctemplate.core.model import Snapshot
from ctemplate.sources.catalog_file import read_catalog
from ctemplate.sources.contents import answer
from ctemplate.template import Renderer, Template

FOLDER = Path(__file__).parent / "corpus"
KEYS = msgspec.yaml.decode((FOLDER / "keys.yaml").read_bytes())
FILES = {f"../traps/{name}": (FOLDER.parent / "traps" / name).read_text() for name in ("banner.txt",)}
CATALOG = msgspec.structs.replace(read_catalog(FOLDER / "catalog.yaml"), kv=KEYS, files=FILES)
TEMPLATES = sorted(FOLDER.glob("*.ctmpl"))
TRAPS = sorted((FOLDER.parent / "traps").glob("*.ctmpl"))
"""Templates for the oracle alone, with what the converter refuses."""
CALLS = msgspec.yaml.decode((FOLDER.parent / "function_calls.yaml").read_bytes())
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
