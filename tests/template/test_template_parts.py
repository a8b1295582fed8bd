"""A text proven part by part: a text that passes would also pass as a whole, whatever was proven before."""

import pytest
from budget import examples
from hypothesis import given, settings, strategies as st

from ctemplate.nginx.language.authority import KnownRoutes, Origin
from ctemplate.nginx.language.value_check import ValueReport, check_part, examine
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template.safety import proven_parts
from ctemplate.template.safety.proven_parts import Parts, as_bytes
from ctemplate.template.safety.tainted_text import pieces
from ctemplate.template.safety.text_parts import CutText

KNOWN = KnownRoutes(
    addresses={Origin(address, number) for address in (b"a", b"b", b"c", b"80") for number in range(100)},
    host_names=frozenset({b"a", b"b"}),
    hosts=frozenset({("http upstream", b"c")}),
    routed=frozenset({b"r"}),
)
PLAIN = ("a", "b", "c", "d", "80", "81", "82", '"a b"')
BREAK_OUTS = (
    "",
    "~x",
    "include",
    "default",
    "#",
    "{",
    "}",
    "}\n",
    "\n",
    ";",
    "'",
    '"',
    "\\",
    "a; root /",
    "x\n}\nserver {\nlisten 90",
    "1; } upstream x { server 1",
    "}\n}\nhttp {\n",
    "a\x03b",
    "$x{",
)
BLOCKS = (
    "upstream @ {\nserver @:80;\n}\n",
    "server {\nlisten @;\nserver_name @ @;\nlocation /@ {\nproxy_pass http://@;\n}\n}\n",
    "server {\nlisten 80;\nserver_name @;  # @\n}\n",
    "listen @;\nlocation @ {\n}\n",
    "map $a $b {\n@ @;\ndefault @;\n}\n",
    "map $a $r {\na @;\n}\n",
    "server {\nset $v @;\nlocation / {\nproxy_pass http://$v;\n}\n}\n",
    "server {\nlocation / {\nproxy_pass http://a.b;\n}\n}\n",
    "server {\nserver_name @;\nlocation / {\nproxy_pass http://$server_name;\n}\n}\n",
    "server {\nserver_name .@;\nlocation / {\nroot /r/$server_name;\n}\n}\n",
    "limit_req_zone $a zone=@:1m;\n",
    "log_format j '{\n @ }\n';\n",
    "init_by_lua_block {\nlocal t = {@}\n}\n",
    "# { @\n",
    "@",
    "x @",
    "}\n",
    "http {\n",
    "stream {\n",
    "include @;\n",
    "root @;\n",
    "'\n",
    '"}\n',
    "${x}\n",
    "access_log @;\n",
)
WHOLE = BLOCKS[:4]
AROUND = (
    ("http {\n", "}\n"),
    ("stream {\n", "}\n"),
    ("server {\n", "}\nserver {\nlisten a;\n}\n"),
    ("", ""),
    ("http {\n", ""),
)
SERVER_IN_PARTS = "server {\nlocation / {\n}\nlisten @;\nlocation / {\n}\n}\nserver {\nlisten x;\n}\n"
PLACES = (
    ConfigPlace(),
    ConfigPlace(inside=b"http"),
    ConfigPlace(inside=b"stream"),
    ConfigPlace(inside=b"map"),
    ConfigPlace(inside=b"server"),
    ConfigPlace(taken=frozenset({("http upstream", b"x"), ("tcp port", b"*:80")})),
)


def text_and_shadow(source, values):
    """Put values in the place of each `@`; the shadow has a mark there, numbered by where it stands."""
    first, *rest = source.split("@")
    text = shadow = first
    for number, (own, value) in enumerate(zip(rest, values, strict=False)):
        text += value + own
        shadow += f"\x01{len(value)}:{number}\x02{own}"
    return text, shadow


@st.composite
def texts(draw):
    """A few texts that have most of their blocks in common, as one template's have."""
    blocks = st.sampled_from(WHOLE * 10 + BLOCKS)
    plain = st.lists(st.sampled_from(PLAIN), min_size=6, max_size=6)
    held = draw(st.lists(blocks, min_size=1, max_size=6))
    values = [draw(plain) for _ in held]
    before, after = draw(st.sampled_from(AROUND))
    found = []
    for _ in range(draw(st.integers(1, 6))):
        number = draw(st.integers(0, len(held) - 1))
        match draw(st.sampled_from(("keep", "replace", "insert", "remove"))):
            case "replace":
                held[number] = draw(blocks)
            case "insert":
                held.insert(number, draw(blocks))
                values.insert(number, draw(plain))
            case "remove" if len(held) > 1:
                del held[number], values[number]
                number = 0
        values[number] = draw(plain)
        if draw(st.booleans()):
            values[number][draw(st.integers(0, 5))] = draw(st.sampled_from(BREAK_OUTS))
        source = before + "".join(held) + after
        found.append(
            (source, [value for block, own in zip(held, values, strict=True) for value in own[: block.count("@")]])
        )
    return found


@settings(max_examples=examples(300))
@given(texts(), st.sampled_from(PLACES))
def test_what_is_sound_part_by_part_is_sound_as_a_whole(sources, place):
    parts = Parts()
    for source, values in sources:
        text, shadow = text_and_shadow(source, values)
        is_valid = parts.are_valid(text, shadow, place, KNOWN)
        assert is_valid is Parts().are_valid(text, shadow, place, KNOWN)
        if is_valid or parts.report is not None:
            whole = as_bytes(pieces(text, shadow))
            found = examine(whole, inside=place.inside, taken=place.taken, known=KNOWN)
            assert unordered(found) == unordered(parts.report or ValueReport())


def unordered(report):
    """What is wrong, without the order in which parts of a text are looked at."""
    clashes = {(one.name, tuple(sorted(map(tuple, map(sorted, one.data)))), one.is_host) for one in report.clashes}
    return report.findings, clashes


@settings(max_examples=examples(300))
@given(texts(), st.integers(0, 1))
def test_a_change_of_a_text_gives_what_cutting_it_anew_gives(sources, depth):
    text, shadow = text_and_shadow(*sources[0])
    known = CutText.of(text, shadow, depth=depth)
    for source, values in sources[1:]:
        text, shadow = text_and_shadow(source, values)
        anew = CutText.of(text, shadow, depth=depth)
        if (change := known.change(text, shadow)) is None:
            known = anew
            continue
        known.apply(change, text, shadow)
        assert known == anew


@pytest.fixture
def checked(monkeypatch):
    """The calls that prove a part, or the rest of a text."""
    calls = []
    monkeypatch.setattr(
        proven_parts, "check_part", lambda *given, **more: calls.append(given) or check_part(*given, **more)
    )
    return calls


NINE_BLOCKS = [f"v{number}" for number in range(18)]
NINE_KNOWN = KnownRoutes(addresses={Origin(b"v%d" % each, number) for each in range(40) for number in range(18)})


@pytest.mark.parametrize(
    ("before", "after", "place", "balanced"),
    [
        pytest.param("", "", ConfigPlace(), 9, id="a fragment for an unknown place"),
        pytest.param("", "", ConfigPlace(inside=b"http"), 9, id="a fragment for http"),
        pytest.param("events {\n}\nhttp {\n", "}\n", ConfigPlace(), 9, id="a complete configuration"),
    ],
)
def test_of_a_new_text_each_part_and_the_rest_are_proven_once(checked, before, after, place, balanced):
    text, shadow = text_and_shadow(before + WHOLE[0] * 9 + after, NINE_BLOCKS)
    assert Parts().are_valid(text, shadow, place, NINE_KNOWN)
    assert len(checked) == balanced + 1


def test_only_the_part_that_changed_is_proven(checked):
    source = "http {\n" + WHOLE[0] * 9 + "}\n"
    values, known, parts = list(NINE_BLOCKS), NINE_KNOWN, Parts()
    assert parts.are_valid(*text_and_shadow(source, values), ConfigPlace(), known)
    checked.clear()
    for number, value in ((7, "v30"), (6, "v31"), (7, "v7")):
        values[number] = value
        assert parts.are_valid(*text_and_shadow(source, values), ConfigPlace(), known)
    assert len(checked) == 3
    values[6] = values[4]
    assert not parts.are_valid(*text_and_shadow(source, values), ConfigPlace(), known), "one name for two upstreams"
    values[6] = "}"
    assert not parts.are_valid(*text_and_shadow(source, values), ConfigPlace(), known)


def test_two_texts_that_take_turns_are_proven_once(checked):
    """Without a service all values have other numbers: those of another pass."""
    names = [f"v{number}" for number in range(9)]
    source = "http {\n" + "upstream @ {\n}\n" * 9
    text, shadow = text_and_shadow(source + "}\n", names)
    without = text, shadow.replace(":", ":1")
    with_it = text_and_shadow(source + "upstream @ {\n}\n}\n", [*names, "v0"])
    parts = Parts()
    for turn in range(4):
        assert not parts.are_valid(*with_it, ConfigPlace()), "a name is there twice"
        assert [(clash.name[1], len(clash.data)) for clash in parts.report.clashes] == [(b"v0", 2)]
        assert parts.are_valid(*without, ConfigPlace())
        assert not turn or len(checked) <= 2, "the rest of the text, of which no part is known"
        checked.clear()


@settings(max_examples=examples(100))
@given(st.lists(st.sampled_from(WHOLE), max_size=5))
def test_plain_values_in_whole_blocks_are_sound(blocks):
    source = (
        "user a;\nevents {\n}\nhttp {\nmap $a $b {\nx @;\n}\n" + "".join(blocks) + "}\nstream {\n" + WHOLE[0] + "}\n"
    )
    text, shadow = text_and_shadow(source, [f"v{number}" for number in range(100)])
    marks = [(f"v{number}".encode(), number) for number in range(100)]
    known = KnownRoutes(
        addresses={Origin(*mark) for mark in marks}, upstreams={("http upstream", mark) for mark, _ in marks}
    )
    assert Parts().are_valid(text, shadow, ConfigPlace(), known)


@pytest.mark.parametrize(
    ("source", "place"),
    [
        pytest.param(
            "http {\n}\nhttp {\nupstream @ {\n}\nupstream @ {\n}\n}\n", ConfigPlace(), id="one name in two parts"
        ),
        pytest.param("upstream @ {\n}\n", PLACES[-1], id="a name of another file"),
        pytest.param(SERVER_IN_PARTS, ConfigPlace(), id="a server in two parts"),
        pytest.param("http {\nmap $a $b {\n}\ninclude @;\nmap $a $c {\n}\n}\n", ConfigPlace(), id="what nginx loads"),
        pytest.param("http {\nmap a b {\nx { }\n@ include;\ny {\n}\n}\n}\n", ConfigPlace(), id="blocks within a map"),
    ],
)
def test_what_one_value_spoils_is_not_sound_because_its_parts_are(source, place):
    text, shadow = text_and_shadow(source, ["x", "x"])
    assert not Parts().are_valid(text, shadow, place)
