from pathlib import Path

import pytest

from ctemplate.catalog import Catalog
from ctemplate.config.layers import Layer
from ctemplate.config.schema import Config
from ctemplate.core.errors import TemplateError
from ctemplate.core.settings import ConsulSection
from ctemplate.runtime.assembly import Assembler, RunMode, consul_settings
from ctemplate.sources.consul.endpoints.settings import ConsulSettings


@pytest.mark.parametrize(
    ("template", "render", "message"),
    [
        pytest.param("{{ 'x' * 200 }}", {"max_output_bytes": 100}, "more than 100 bytes", id="output"),
        pytest.param(
            "{% for i in range(9000) %}{% for j in range(9000) %}{% endfor %}{% endfor %}",
            {"timeout": "100ms"},
            "still rendering after 0.1s",
            id="time",
        ),
    ],
)
async def test_limits_of_the_configuration_bound_a_render(tmp_path, template, render, message):
    source = tmp_path / "t.j2"
    source.write_text(template)
    values = {"catalog": "/dev/null", "template": [{"source": str(source)}], "render": render}
    assembler = Assembler(paths=(), flags=Layer(where="test", values=values), environ={}, mode=RunMode.DRY)
    with assembler.assemble().workers(Catalog()) as (worker,):
        await worker.step()
    assert isinstance(worker.error, TemplateError)
    assert message in str(worker.error)


def test_the_defaults_of_the_configuration_are_those_of_the_source():
    assert consul_settings(Config()) == ConsulSettings()


def test_the_size_of_an_answer_can_be_bounded():
    assert consul_settings(Config(consul=ConsulSection(max_body_bytes=1000))).max_body_bytes == 1000


def test_templates_that_did_not_change_are_taken_over(tmp_path):
    (tmp_path / "a.j2").write_text("a")
    (tmp_path / "b.j2").write_text("b")
    templates = [{"source": str(tmp_path / f"{name}.j2")} for name in ("a", "b", "a")]
    values = {"catalog": "/dev/null", "template": templates}
    assembler = Assembler(paths=(), flags=Layer(where="test", values=values), environ={}, mode=RunMode.DRY)
    first = assembler.assemble()
    loaded = [template for group in first.templates for template in group]
    assert len(set(map(id, loaded))) == 3  # two groups render at once; they share none
    (tmp_path / "b.j2").write_text("c")
    again = [template for group in assembler.assemble(first).templates for template in group]
    # those of one group stand together: a, a, b
    assert [new is old for new, old in zip(again, loaded, strict=True)] == [True, True, False]


@pytest.mark.parametrize(
    ("paths", "values", "found"),
    [
        pytest.param(("/a.toml", "/b.toml"), {}, "/a.toml, /b.toml", id="files"),
        pytest.param((), {}, "", id="no file"),
        pytest.param(("/a.toml",), {"template": [{"source": "x"}]}, "", id="templates of options"),
    ],
)
def test_only_files_that_name_all_templates_identify_a_configuration(paths, values, found):
    flags = Layer(where="test", values=values)
    assert Assembler(paths=tuple(map(Path, paths)), flags=flags, environ={}).configuration == found
