"""Calls of every function of consul-template, each with several arguments, print what consul-template printed.

Where ``consul-template`` is on ``PATH``, ``test_corpus_live.py`` asks it again.
"""

import re

from corpus import CALLS, convert, rendered

from ctemplate.convert.functions import FUNCTIONS

OLDER = {"key_exists", "key_or_default", "toTOML"}
"""Names that consul-template 0.42.1 no longer has, and what is always refused."""

MESH = {"caLeaf", "caRoots", "exportedServices", "importedServices", "partitions", "peerings"}
"""What needs a newer Consul than calls are recorded with; ``test_mesh_conversion.py`` has them."""


def test_calls_print_what_consul_template_prints(tmp_path):
    different = {}
    for call in CALLS:
        result = convert(call["template"], "t")
        assert result.findings == (), call["template"]
        shown = rendered(result.text, tmp_path).decode()
        if shown != call["prints"]:
            different[call["template"]] = shown
    assert different == {}


def test_every_function_is_called_in_more_than_one_way():
    words = [set(re.findall(r"\b[a-zA-Z]\w*\b", call["template"])) for call in CALLS]
    counted = {name: sum(name in each for each in words) for name in FUNCTIONS.keys() - OLDER - MESH}
    assert {name for name, count in counted.items() if count < 2} == set()
