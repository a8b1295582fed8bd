"""The oracle agrees with consul-template: with the recorded bytes of the corpus, and with a table of special cases."""

import pytest
from corpus import CATALOG, ENVIRONMENT, KEYS, TEMPLATES, TRAPS, expected_of
from go_evaluator import evaluated

KNOWN = [template for template in TEMPLATES + TRAPS if not template.name.startswith("sprig_")]
"""The oracle knows neither sprig nor what merges and writes documents."""


@pytest.mark.parametrize("template", KNOWN, ids=lambda path: path.stem)
def test_the_oracle_gives_consul_templates_bytes(template):
    source = template.read_bytes().decode()
    assert evaluated(source, CATALOG, ENVIRONMENT, KEYS).encode() == expected_of(template).read_bytes()
