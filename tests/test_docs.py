import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from ctemplate.config.groups import group_plans
from ctemplate.config.layers import Layer, build, read_layers
from ctemplate.config.schema import Config

ROOT = Path(__file__).parents[1]


def blocks(name, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", blocks("docs/configuration.md", "toml"))
def test_documented_configuration_can_be_used_as_it_is_pasted(text, tmp_path):
    (tmp_path / "ctemplate.toml").write_text(text)
    config = build(read_layers(tmp_path / "ctemplate.toml"))
    (plan,) = group_plans(config)
    assert [template.destination for template in plan.templates] == [Path("/etc/nginx/nginx.conf")]
    named = (config.consul.token_file, config.consul.ssl_ca_cert, config.consul.ssl_cert, config.catalog)
    assert named == (None, None, None, None)  # nothing that a reader does not have


def test_documented_defaults_are_the_defaults():
    (_, text) = blocks("docs/configuration.md", "toml")
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
