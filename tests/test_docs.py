import functools
import re
import tomllib
from pathlib import Path

import pytest

from ctemplate.cli.options import SETTINGS
from ctemplate.config.groups import group_plans
from ctemplate.config.keys import config_keys, value_at
from ctemplate.config.layers import Layer, build, read_layers
from ctemplate.config.schema import Config, GroupSection, ServiceGuardSection
from ctemplate.core.settings import GuardPolicy

ROOT = Path(__file__).parents[1]


def blocks(name, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", blocks("docs/configuration.md", "toml"))
def test_documented_configuration_can_be_used_as_it_is_pasted(text, tmp_path):
    (tmp_path / "ctemplate.toml").write_text(text)
    config = build(read_layers(tmp_path / "ctemplate.toml"))
    (plan,) = group_plans(config)
    assert [template.destination for template in plan.templates] == [Path("/etc/nginx/nginx.conf")]
    named = (config.consul.token_file, config.consul.ca_cert, config.consul.cert, config.catalog)
    assert named == ("", "", "", None)  # nothing that a reader does not have


EXAMPLES = {"vars", "state_dir"}  # values that the page shows as examples, not as defaults
TABLES = {
    "": Config(),
    "consul": Config().consul,
    "wait": Config().wait,
    "data": Config().data,
    "render": Config().render,
    "guard": Config().guard,
    "on_event": Config().on_event,
    "group": GroupSection(name="nginx", reload="nginx -s reload"),
}


def documented_tables():
    """Return the text of each table of the page's full listing, by its name."""
    (_, text) = blocks("docs/configuration.md", "toml")
    parts = re.split(r"^\[+([a-z_]+)(?:\.[^]]*)?\]+", text, flags=re.MULTILINE)
    tables = {"": parts[0]}
    for name, part in zip(parts[1::2], parts[2::2], strict=True):
        tables[name] = tables.get(name, "") + part
    return tables


@pytest.mark.parametrize("path", sorted(config_keys()))
def test_every_key_is_documented(path):
    table, _, rest = path.partition(".")
    shared = {"template.wait": "group", "template.env": "exec", "group.env": "exec", "on_event.env": "exec"}
    table = shared.get(path.rpartition(".")[0], table)
    text = documented_tables()[table if rest else ""]
    assert re.search(rf"\b{path.rpartition('.')[2]}\b", text), f"docs/configuration.md: [{table}] lacks {path}"


@pytest.mark.parametrize("table", TABLES)
def test_documented_defaults_are_the_defaults(table):
    (_, text) = blocks("docs/configuration.md", "toml")
    values = tomllib.loads(text)
    config = build([Layer(where="docs", values=values)])
    if table:
        shown, found = values[table], value_at(config, table)
    else:
        shown, found = {key: value for key, value in values.items() if not isinstance(value, dict | list)}, config
    shown, found = (shown[0], found[0]) if isinstance(shown, list) else (shown, found)
    keys = shown.keys() - EXAMPLES - {"service"}
    differing = [key for key in keys if value_at(found, key) != value_at(TABLES[table], key)]
    assert differing == []


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.flag)
def test_an_option_sets_a_key_that_there_is(setting):
    assert setting.path in set(config_keys())


def test_a_service_may_differ_in_every_point_of_the_guard():
    fields = GuardPolicy.__struct_fields__
    assert ServiceGuardSection.__struct_fields__ == fields
    assert {getattr(ServiceGuardSection(), name) for name in fields} == {None}


DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.glob("**/*.md"))
TRANSLATED = [name.removeprefix("zh-CN/") for name in PAGES if name.startswith("zh-CN/")]


@pytest.mark.parametrize("name", PAGES)
def test_links_between_documents_lead_somewhere(name):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (DOCS / name).read_text())
    places = {link: (DOCS / name).parent.joinpath(link).resolve() for link in links}
    assert [link for link, place in places.items() if not place.exists()] == []
    assert [link for link, place in places.items() if DOCS not in place.parents] == [], "the site has docs/ alone"


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translation_shows_the_same_code(name):
    english, chinese = (
        re.findall(r"^ *```.*?^ *```$", (DOCS / path).read_text(), re.MULTILINE | re.DOTALL)
        for path in (name, f"zh-CN/{name}")
    )
    assert english == chinese
    assert english


def test_files_named_in_the_recipes_exist():
    recipes = (ROOT / "CONTRIBUTING.md").read_text().partition("\n## Recipes\n")[2]
    named = re.findall(r"`([\w./-]+\.(?:py|md|toml))`", recipes)
    assert len(named) > 20  # else the pattern finds nothing
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_page_is_in_the_navigation():
    listed = re.findall(r"^ +- .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == PAGES


@functools.cache
def source_of_the_program():
    return "\n".join(path.read_text() for path in sorted(ROOT.glob("ctemplate/**/*.py")))


def quoted_messages():
    """The headings of the troubleshooting page that quote a message."""
    return re.findall(r"^### `(.+)`$", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("message", quoted_messages())
def test_a_message_of_the_troubleshooting_page_is_one_that_the_program_writes(message):
    parts = [part.strip() for part in message.split("…") if part.strip(" ,;")]
    assert [part for part in parts if part not in source_of_the_program()] == []


def test_the_troubleshooting_page_has_the_messages_that_users_see():
    assert len(set(quoted_messages())) >= 20
