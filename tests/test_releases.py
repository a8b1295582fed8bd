"""The recipes for releases and routes print what their page shows, and nginx accepts it."""

import re
from pathlib import Path

import pytest

from ctemplate.core.model import Snapshot
from ctemplate.sources import contents
from ctemplate.template import Renderer, Template
from ctemplate.template.language.formats import NGINX

PAGE = (Path(__file__).parents[1] / "docs/releases.md").read_text()
CATALOG = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[-1]
RECIPES = [
    pytest.param(template, text, id=title.strip().replace(" ", "-"))
    for title, template, text in re.findall(
        r"^## ([^\n]*)\n(?:(?!^## ).)*?```jinja\n(.*?)```\n+```text\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE
    )
]


def rendered(tmp_path, text, catalog=CATALOG, name="recipe.conf.j2"):
    """The text that a template prints over a catalog, and what it leaves out."""
    source = tmp_path / name
    source.write_text(text)
    catalogue, answers = contents.parse_catalog(catalog, name="catalog.yaml"), {}
    renderer = Renderer([Template.load(source, variables={}, environ={}, escape=NGINX)])
    while (rendering := renderer.render(Snapshot(answers))).missing:
        answers |= {query: contents.answer(catalogue, query) for query in rendering.used | rendering.missing}
    return rendering.texts[0]


def test_the_page_has_its_recipes():
    assert len(RECIPES) == len(re.findall(r"```jinja", PAGE))


@pytest.mark.parametrize(("template", "text"), RECIPES)
def test_a_recipe_prints_what_the_page_says(tmp_path, template, text):
    printed = rendered(tmp_path, template)
    assert [line.rstrip() for line in printed.strip().splitlines()] == text.strip().splitlines()
