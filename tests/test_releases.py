"""The recipes of each page print what the page says."""

import re
from pathlib import Path

import pytest

from ctemplate.core.model import Snapshot
from ctemplate.sources import contents
from ctemplate.template import Renderer, Template
from ctemplate.template.language.formats import NGINX

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {name: (DOCS / name).read_text() for name in ("releases.md", "recipes.md")}
RECIPE = re.compile(r"^## ([^\n]*)\n(?:(?!^## ).)*?```jinja\n(.*?)```\n+```text\n(.*?)```", re.DOTALL | re.MULTILINE)
RECIPES = [
    pytest.param(page, template, text, id=f"{page.removesuffix('.md')}-{title.strip().replace(' ', '-')}")
    for page, content in PAGES.items()
    for title, template, text in RECIPE.findall(content)
]


def catalog(page):
    """The catalog at the end of a page."""
    return re.findall(r"```yaml\n(.*?)```", PAGES[page], re.DOTALL)[-1]


def rendered(tmp_path, text, data, name="recipe.conf.j2"):
    """The text that a template prints over a catalog."""
    source = tmp_path / name
    source.write_text(text)
    catalogue, answers = contents.parse_catalog(data, name="catalog.yaml"), {}
    renderer = Renderer([Template.load(source, variables={}, environ={}, escape=NGINX)])
    while (rendering := renderer.render(Snapshot(answers))).missing:
        answers |= {query: contents.answer(catalogue, query) for query in rendering.used | rendering.missing}
    return rendering.texts[0]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_its_recipes(page):
    found = [recipe.id for recipe in RECIPES if recipe.values[0] == page]
    assert len(found) == len(set(found)) == PAGES[page].count("```jinja")


@pytest.mark.parametrize(("page", "template", "text"), RECIPES)
def test_a_recipe_prints_what_the_page_says(tmp_path, page, template, text):
    printed = rendered(tmp_path, template, catalog(page))
    assert [line.rstrip() for line in printed.strip().splitlines()] == text.strip().splitlines()
