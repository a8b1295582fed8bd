import pytest

from ctemplate.assembly import Assembler, Mode, consul_settings
from ctemplate.catalog import Catalog
from ctemplate.config.layers import Layer
from ctemplate.config.schema import Config, ConsulSection
from ctemplate.errors import TemplateError
from ctemplate.sources.consul import ConsulSettings


@pytest.mark.parametrize(
    ("template", "render", "message"),
    [
        pytest.param("{{ 'x' * 200 }}", {"max_output_bytes": 100}, "more than 100 bytes", id="output"),
        pytest.param(
            "{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}",
            {"timeout": "1ms"},
            "still rendering after 0.001s",
            id="time",
        ),
    ],
)
async def test_limits_of_the_configuration_bound_a_render(tmp_path, template, render, message):
    source = tmp_path / "t.j2"
    source.write_text(template)
    values = {"catalog": "/dev/null", "template": [{"source": str(source)}], "render": render}
    assembler = Assembler(paths=(), flags=Layer(where="test", values=values), environ={}, mode=Mode.DRY)
    with assembler.assemble().workers(Catalog()) as (worker,):
        await worker.step()
    assert isinstance(worker.error, TemplateError)
    assert message in str(worker.error)


def test_the_defaults_of_the_configuration_are_those_of_the_source():
    assert consul_settings(Config()) == ConsulSettings()


def test_the_size_of_an_answer_can_be_bounded():
    assert consul_settings(Config(consul=ConsulSection(max_answer_bytes=1000))).max_body_bytes == 1000
