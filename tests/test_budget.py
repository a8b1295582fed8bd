"""How many examples properties try: a campaign has all of them try more."""

import re
from pathlib import Path

from budget import examples
from hypothesis import settings


def test_every_property_tries_more_in_a_campaign():
    files = {file: file.read_text("utf-8") for file in Path(__file__).parent.rglob("*.py") if file != Path(__file__)}
    assert [file.name for file, text in files.items() if re.search(r"max_examples=(?!examples\()", text)] == []
    assert settings().max_examples == examples(100)
