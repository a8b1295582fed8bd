import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from ctemplate.config.layers import Layer, build
from ctemplate.config.schema import Config

ROOT = Path(__file__).parents[1]


def blocks(name, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL)


def test_documented_configuration_is_valid():
    (text,) = blocks("docs/configuration.md", "toml")
    build([Layer(where="docs", values=tomllib.loads(text))])


def test_documented_defaults_are_the_defaults():
    (text,) = blocks("docs/configuration.md", "toml")
    config = build([Layer(where="docs", values=tomllib.loads(text))])
    assert (config.wait, config.data, config.log_level, config.timeout) == (
        Config().wait,
        Config().data,
        Config().log_level,
        Config().timeout,
    )
    assert msgspec.structs.replace(config.guard, service={}) == Config().guard
    assert config.consul.max_stale == Config().consul.max_stale


@pytest.mark.parametrize("name", sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md")))
def test_links_between_documents_lead_somewhere(name):
    text = (ROOT / name).read_text()
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []
