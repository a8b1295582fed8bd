"""The recipes of each page print what the page says."""

import re
from pathlib import Path

import pytest

from ctemplate.core.errors import TemplateError
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


RULE = "traefik.http.routers.x.rule="
WEB = "services: {{web: {{tags: {tags}, instances: [{{address: 10.0.0.1, port: 80}}]}}}}"
ROUTES = """\
{% import "ctemplate/nginx.j2" as nginx %}
{% import "ctemplate/routes.j2" as routes %}
{{ nginx.http_upstreams() }}
{{ routes.servers(["example.com"]) }}
"""


@pytest.mark.parametrize(
    ("tag", "places"),
    [
        pytest.param("route=/a", ["= /a", "/a/"], id="path"),
        pytest.param("route=shop.example.com", ["shop.example.com"], id="host"),
        pytest.param("urlprefix-shop.example.com/a", ["shop.example.com", "= /a", "/a/"], id="fabio"),
        pytest.param(f"{RULE}Host(`a.example.com`)", ["a.example.com"], id="traefik"),
        pytest.param(
            "traefik.http.routers.x.rule=PathPrefix(`/a`) && Host(`a.example.com`)",
            ["a.example.com", "= /a"],
            id="both",
        ),
        pytest.param("traefik.http.routers.x.rule=Path(`/a`)", [], id="another-rule"),
        pytest.param(
            "traefik.http.routers.x.rule=Host(`a.example.com`) && ClientIP(`10.0.0.0/8`)", [], id="restricted"
        ),
        pytest.param("traefik.http.routers.x.rule=Host(`a.example.com`) || Path(`/a`)", [], id="alternatives"),
        pytest.param("urlprefix-:3306 proto=tcp", [], id="fabio-tcp"),
        pytest.param("urlprefix-/a strip=/a", [], id="fabio-option"),
        pytest.param("route=", [], id="empty"),
        pytest.param("route=bank.example.org", [], id="domain-of-others"),
    ],
)
def test_a_tag_that_says_more_than_host_and_path_is_no_route(tmp_path, tag, places):
    printed = rendered(tmp_path, ROUTES, WEB.format(tags=["http", tag]))
    assert ("proxy_pass" in printed) == bool(places)
    assert all(f"{place} {{" in printed or f"server_name {place};" in printed for place in places)


def test_a_route_that_two_tags_name_is_there_once(tmp_path):
    tags = ["http", "route=/a", "urlprefix-/a", f"{RULE}PathPrefix(`/a`)"]
    printed = rendered(tmp_path, ROUTES, WEB.format(tags=tags))
    assert printed.count("location = /a {") == 1


@pytest.mark.parametrize(("count", "has_routes"), [(256, True), (257, False)])
def test_one_service_has_no_more_than_256_tags_that_name_routes(tmp_path, count, has_routes):
    tags = ["http", "other", *(f"route=/a{number}" for number in range(count))]
    web = WEB.format(tags=tags)
    honest = "\n  shop: {tags: [http, route=/shop], instances: [{address: 10.0.0.2, port: 80}]}\n"
    printed = rendered(tmp_path, ROUTES, "services:\n  " + web.removeprefix("services: {")[:-1] + honest)
    assert printed.count("location = /a") == (count if has_routes else 0)
    assert ("# web: more than 256 tags name routes, so it has none" in printed) == (not has_routes)
    assert "location = /shop {" in printed
    assert "upstream web {" in printed


def test_bad_go_micro_data_costs_only_its_registrant(tmp_path):
    catalog = """
services:
  good: {instances: [{address: 10.0.0.3, port: 80, tags: ["v=2"]}]}
  web:
    instances:
      - {address: 10.0.0.1, port: 80, tags: ["v=1; }"]}
      - {address: 10.0.0.2, port: 80, tags: ["v=1"]}
"""
    each = "# {{ i.address }}\nset $v {{ i.micro.version }};\n"
    loops = "{% for s in services() %}{% for i in service(s.name) %}\n" + each + "{% endfor %}{% endfor %}"
    printed = rendered(tmp_path, loops, catalog)
    assert "10.0.0.1" not in printed
    assert "set $v 2;" in printed


SPLIT = """\
{% import "ctemplate/nginx.j2" as nginx %}
{% import "ctemplate/releases.j2" as releases %}
http {
{{- releases.split("shop", {"2.0": 10}) }}
{% for svc in services(tag="http") if svc.name != "shop" %}
{{- nginx.upstream("http", svc, svc.name | identifier, service(svc.name)) }}
{%- endfor %}
}
"""
SHOP = "{tags: [http], instances: [{address: 10.0.0.1, port: 80, created: 50, meta: {version: '2.0'}}]}"
FOREIGN = "{tags: [http, tcp, udp], instances: [{address: 10.6.6.6, port: 80, created: 1}]}"
TAKEN = ["shop-2.0", "shop_2.0", "shop_2.0-074a672946e831df", "shop//2.0"]


@pytest.mark.parametrize("name", TAKEN)
def test_no_older_service_takes_the_upstream_of_a_release(tmp_path, name):
    printed = rendered(tmp_path, SPLIT, f'services: {{shop: {SHOP}, "{name}": {FOREIGN}}}')
    (own,) = re.findall(r"10% (\S+);", printed)
    block = printed[printed.index(f"upstream {own} {{") :].partition("}")[0]
    assert "10.0.0.1:80" in block
    assert "10.6.6.6" not in block


@pytest.mark.parametrize("name", ["dns-udp", "dns_udp", "dns//udp"])
def test_no_older_service_takes_the_upstream_of_a_udp_service(tmp_path, name):
    text = '{% import "ctemplate/nginx.j2" as nginx %}\nstream {\n{{- nginx.stream_upstreams() }}\n}\n'
    dns = "{tags: [udp], instances: [{address: 10.0.0.1, port: 53, created: 50}]}"
    printed = rendered(tmp_path, text, f'services: {{dns: {dns}, "{name}": {FOREIGN.replace("http, ", "")}}}')
    assert "10.0.0.1:53" in printed


def test_each_service_has_its_own_variable(tmp_path):
    names = ["web", "web-a", "web.a", "web_a", "web--a", "web_da", "web_share", "web_cookie", "webda"]
    calls = "".join(f"{{{{ releases.variable({name!r}) }}}}\n" for name in names)
    text = f'{{% import "ctemplate/releases.j2" as releases %}}\n{calls}'
    made = [line for line in rendered(tmp_path, text, "services: {}").split("\n") if line]
    assert len(set(made) | {"$release_web_share", "$release_web_cookie"}) == len(names) + 2


@pytest.mark.parametrize("share", ['"abc"', '"nan" | float', "-5", "101", "1.234", "none", '"10"', '"inf" | float'])
def test_a_share_that_is_no_percentage_is_refused(tmp_path, share):
    text = SPLIT.replace("10}", f"{share}}}")
    with pytest.raises(TemplateError, match=r"share of shop's release 2\.0 must be a number from 0 to 100"):
        rendered(tmp_path, text, f"services: {{shop: {SHOP}}}")


@pytest.mark.parametrize(("share", "printed"), [("0", None), ("100", "100%"), ("33.33", "33.33%"), ('"7" | int', "7%")])
def test_a_share_that_is_a_percentage_is_printed(tmp_path, share, printed):
    text = rendered(tmp_path, SPLIT.replace("10}", f"{share}}}"), f"services: {{shop: {SHOP}}}")
    assert (f"{printed} shop_2.0" in text) is (printed is not None)
