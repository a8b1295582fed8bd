"""A template that needs unlimited resources ends with an error."""

import pytest
from rendering import load, message, render, text_of, web, world

from ctemplate.core.errors import TemplateError
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template import Renderer
from ctemplate.template.safety.greed import greedy

BIG = "{% set big = range(100000) %}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(
            BIG + "{% for a in big %}{% for b in big %}{% endfor %}{% endfor %}",
            "more than 300000 loop steps",
            id="loops",
        ),
        pytest.param(
            "{% set few = [1] * 900 %}{% for a in few %}{% for b in few %}{% endfor %}{% endfor %}",
            "more than 300000 loop steps",
            id="short loops",
        ),
        pytest.param(
            BIG + "{% for a in big | map('string') | map('upper') %}{% for b in big %}{% endfor %}{% endfor %}",
            "more than 300000 loop steps",
            id="lazy loops",
        ),
        pytest.param(
            BIG + "{% for a in big recursive %}{{ loop(big) }}{% endfor %}",
            "macros or includes call each other without end",
            id="recursive loops",
        ),
        pytest.param(
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
            "still rendering after 0.5s",
            id="calls",
        ),
        pytest.param(
            "{% for a in range(100000) %}0123456789{% endfor %}", "more than 100000 bytes of output", id="output"
        ),
        pytest.param(
            "{% set n = namespace(x='ab') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            "a text of more than 16777216 characters",
            id="doubling by ~",
        ),
        pytest.param(
            "{% set n = namespace(x='ab') %}{% for a in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
            "a text of more than 16777216 characters",
            id="doubling by +",
        ),
        pytest.param(
            "{% set n = namespace(x=[1]) %}{% for a in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
            "more than 1000000 items",
            id="doubling a list",
        ),
        pytest.param("{{ 'a' * 10 ** 10 }}", "a text of more than 16777216 characters", id="times"),
        pytest.param("{{ 10 ** 10 * 'a' }}", "a text of more than 16777216 characters", id="times, turned round"),
        pytest.param("{{ [0] * 10 ** 9 }}", "more than 1000000 items", id="list times"),
        pytest.param("{{ 9 ** 99999999 }}", "the number is too big", id="power"),
        pytest.param("{{ (2 ** 4000) * (2 ** 4000) }}", "the number is too big", id="product"),
        pytest.param("{{ range(10 ** 9) | length }}", "more than 1000000 items", id="range"),
        pytest.param("{{ 'a' | center(10 ** 9) }}", "1000000000 is more than 10000", id="center"),
        pytest.param("{{ 'a'.ljust(10 ** 9) }}", "1000000000 is more than 10000", id="method"),
        pytest.param("{{ 'a' | indent(10 ** 9) }}", "1000000000 is more than 10000", id="indent"),
        pytest.param("{{ 5 | round(-10 ** 9) }}", "-1000000000 is more than 10000", id="round"),
        pytest.param("{{ [1] | batch(10 ** 9, 0) | list }}", "1000000000 is more than 10000", id="batch"),
        pytest.param("{{ [1] | slice(10 ** 9) | list }}", "1000000000 is more than 10000", id="slice"),
        pytest.param("{{ {} | json(10 ** 9) }}", "1000000000 is more than 10000", id="json"),
        pytest.param("{{ '%999999999d' | format(1) }}", "a format's width is more than 10000", id="format"),
        pytest.param("{{ '%999999999d' % 1 }}", "a format's width is more than 10000", id="percent"),
        pytest.param(
            "{{ '%*d' % (999999999, 1) }}",
            "a width from an argument ('*') is not supported in a format",
            id="percent, argument",
        ),
        pytest.param("{{ '{:999999999}'.format(1) }}", "a format's width is more than 10000", id="method format"),
        pytest.param("{{ '{:{}}'.format(1, 999999999) }}", "a format's width is more than 10000", id="nested format"),
        pytest.param(
            "{{ ('a' * 90000) | replace('a', 'b' * 90000) }}", "a text of more than 16777216 characters", id="replace"
        ),
        pytest.param("{{ (['a' * 90000] * 900) | join }}", "a text of more than 16777216 characters", id="join"),
        pytest.param(
            "{{ 'a'.join(['a' * 90000] * 900) }}", "a text of more than 16777216 characters", id="method join"
        ),
    ],
)
def test_too_much_is_an_error(text, sentence):
    timeout = 0.5 if sentence.startswith("still rendering") else 600.0
    with pytest.raises(TemplateError) as error:
        render(text, timeout=timeout, steps=300_000, output_bytes=100_000)
    assert message(error) == f"t.j2:1: {sentence}"


def test_limits_start_anew_with_each_render():
    text = "{% for a in range(200000) %}{% endfor %}x"
    assert [text_of(text, steps=300_000) for _ in range(3)] == ["x"] * 3


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000, 2001])
def test_pacing_keeps_every_item(count):
    text = f"{{% for a in range({count}) %}}{{{{ loop.index }}}}{{% if loop.last %}}!{{% endif %}},{{% endfor %}}"
    expected = "".join(f"{n}," for n in range(1, count)) + (f"{count}!," if count else "")
    assert text_of(text) == expected


def test_many_empty_prints_do_not_end_the_text():
    assert text_of("{% for a in range(5000) %}{{ '' }}{% endfor %}end") == "end"


TAGS = (
    "{% for s in services() %}# {{ s.name }}:{% for i in service(s.name) %}"
    "{% for t in i.tags %}{{ t }} {% endfor %}{% endfor %}\n{% endfor %}"
)


def test_a_few_with_more_than_their_share_do_not_use_up_what_is_there_for_all():
    """Five with a thousand tags each, over a limit that twenty with three instances are far from."""
    honest = [web(name=f"web{number}", count=3) for number in range(20)]
    evil = [web(name=f"evil{number}", tags=[f"t{tag}" for tag in range(1000)]) for number in range(5)]
    renderer = Renderer([load(TAGS, steps=2500)])
    for _ in range(2):
        rendering = renderer.render(world(*honest, *evil), [ConfigPlace()])
        left_out = {rejection.service: rejection.reason for rejection in rendering.quarantined}
        assert left_out.keys() <= {f"evil{number}" for number in range(5)}
        assert left_out["evil0"].startswith("2002 instances, tags and meta; ")
        assert left_out["evil0"].endswith("more than 2500 loop steps")
        assert all(f"web{number}:http http http" in rendering.texts[0] for number in range(20))
    assert renderer.render(world(*honest), [ConfigPlace()]).quarantined == ()


def test_where_all_have_their_share_the_template_is_at_fault():
    with pytest.raises(TemplateError, match="more than 50 loop steps"):
        render(TAGS, world(*[web(name=f"web{number}", count=3) for number in range(20)]), steps=50)


@pytest.mark.parametrize(
    ("known", "found"),
    [
        pytest.param({}, (), id="nobody"),
        pytest.param({"a": 10, "b": 90, "c": 10}, (), id="not ten times as much"),
        pytest.param({"a": 10, "b": 150, "c": 10, "d": 200, "e": 10}, ("d",), id="half of it"),
        pytest.param({"a": 10, "b": 30_000, "c": 30_020}, ("c",), id="many beside few"),
        pytest.param({"a": 19_000, "b": 19_001}, (), id="much, but alike"),
        pytest.param(
            {f"good{n}": 3 for n in range(5)} | {f"evil{n}": 2000 for n in range(6)},
            ("evil0", "evil1", "evil2", "evil3"),
            id="more greedy than honest",
        ),
    ],
)
def test_the_greedy_have_more_than_their_share(known, found):
    assert greedy(known) == found


@pytest.mark.parametrize(
    ("known", "live", "found"),
    [
        pytest.param(
            {"good": 3, "x": 900, "y": 900, "z": 900, "zz": 900}, {"good"}, ("x", "y", "z"), id="new majority"
        ),
        pytest.param({"good": 3000, "small": 3, "x": 900, "y": 2900}, {"good", "small"}, ("y", "x"), id="new first"),
        pytest.param({"good": 900, "x": 900, "y": 1000}, {"good"}, (), id="new, but alike"),
        pytest.param({"good": 3, "fair": 3, "grown": 900, "x": 3}, {"good", "fair", "grown"}, ("grown",), id="grown"),
    ],
)
def test_new_services_have_the_share_of_live_ones_and_are_left_out_first(known, live, found):
    assert greedy(known, live) == found


@pytest.mark.parametrize("is_running", [False, True])
def test_strangers_that_outnumber_the_others_use_up_nothing(is_running):
    """More with a thousand tags than honest ones; three times as many where the others are live."""
    honest = [web(name=f"web{number}", count=3) for number in range(5)]
    evil = [
        web(name=f"evil{number}", tags=[f"t{tag}" for tag in range(1000)]) for number in range(15 if is_running else 6)
    ]
    renderer = Renderer([load(TAGS, steps=2500)])
    if is_running:
        renderer.render(world(*honest))
        renderer.accept()
    rendering = renderer.render(world(*honest, *evil))
    assert {rejection.service for rejection in rendering.quarantined} <= {name for name, _, _ in evil}
    assert all(f"web{number}:http http http" in rendering.texts[0] for number in range(5))


LINES = "{% for s in services() %}{{ s.name }}{% for i in service(s.name) %} {{ i.address }}{% endfor %}\n{% endfor %}"
HONEST = [web(name=f"m{number}", count=3) for number in range(10)]


def running(*services, text=LINES, **limits):
    renderer = Renderer([load(text, **limits)])
    renderer.render(world(*services))
    renderer.accept()
    return renderer


def left_out(rendering):
    return {rejection.service for rejection in rendering.quarantined}


@pytest.mark.parametrize("limit", [{"output_bytes": 700}, {"steps": 90}])
@pytest.mark.parametrize("name", ["a{}", "z{}"])
@pytest.mark.parametrize("count", [1, 8, 60])
def test_many_small_new_services_do_not_use_up_what_is_there_for_all(limit, name, count):
    """Each has its share; together they are too many: those that were live stay, and no error freezes the group."""
    renderer = running(*HONEST, **limit)
    rendering = renderer.render(world(*HONEST, *[web(name=name.format(number)) for number in range(count)]))
    assert left_out(rendering) <= {name.format(number) for number in range(count)}
    assert all(f"m{number} " in rendering.texts[0] for number in range(10))
    assert (count > 8) == bool(left_out(rendering))
    renderer.accept()
    assert renderer.render(world(*HONEST)).quarantined == ()


def test_a_live_service_that_grows_beyond_a_limit_keeps_its_last_good_data():
    renderer = running(*HONEST, output_bytes=430)
    grown = [web(name="m3", count=40) if name == "m3" else (name, *rest) for name, *rest in HONEST]
    rendering = renderer.render(world(*grown))
    assert left_out(rendering) == set()
    assert [rejection.service for rejection in rendering.kept] == ["m3"]
    assert rendering.texts == running(*HONEST).texts


def test_one_new_service_that_exceeds_a_limit_alone_is_found_among_others():
    dots = "{% for n in range(service(s.name)[0].port) %}.{% endfor %}"
    honest = [web(name=f"m{number}", port=1) for number in range(10)]
    renderer = running(*honest, text=f"{{% for s in services() %}}{dots}{{% endfor %}}", steps=30_000)
    rendering = renderer.render(
        world(*honest, web(name="b", port=1), web(name="bomb", port=60_000), web(name="c", port=1))
    )
    assert left_out(rendering) == {"bomb"}


def test_where_nothing_new_is_there_the_limit_blames_no_service():
    renderer = running(*HONEST)
    edited = Renderer([load(LINES, output_bytes=100)], before=renderer)
    with pytest.raises(TemplateError, match="more than 100 bytes of output"):
        edited.render(world(*HONEST))
