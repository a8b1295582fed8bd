import re
from pathlib import Path

from ctemplate.convert import convert

DOCS = (Path(__file__).parents[2] / "docs" / "convert.md").read_text()


def test_the_documented_example_is_what_comes_out():
    (source,) = re.findall(r"^```go\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
    (expected,) = re.findall(r"^```jinja\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
    assert convert(source, "t").text == expected
