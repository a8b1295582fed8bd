"""Every converted template of the corpus gives the bytes that consul-template 0.42.1 gave with a real Consul."""

import pytest
from corpus import TEMPLATES, converted, expected_of, rendered


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_a_converted_template_gives_the_same_bytes(template, tmp_path):
    assert rendered(converted(template), tmp_path) == expected_of(template).read_bytes()


def test_there_is_a_corpus():
    assert len(TEMPLATES) >= 120
