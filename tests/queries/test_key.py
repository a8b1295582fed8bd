"""Keys of the KV store: decoding, paths, their values in templates, and how they are stored."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Instance, Snapshot
from ctemplate.guard import Guard, GuardPolicy, Memory, Policies
from ctemplate.queries import KeyEntry, KeyQuery, ServiceQuery, kind_of, resource_of
from ctemplate.queries.key import key_path
from ctemplate.runtime.answer_store import load_answers, save_answers
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.paths import FailureKind, Meta, NotFound, diagnose
from ctemplate.sources.consul.endpoints.settings import ConsulSettings, DataLimits
from ctemplate.sources.contents import answer, dump, parse_catalog, recorded
from ctemplate.template import Renderer, Template

BAD = "x; } evil {"


def key(path, **scope):
    return KeyQuery(path=path, **scope)


def entry(path, value):
    return KeyEntry(path=path, data=value if isinstance(value, bytes) else value.encode())


def decoded(body):
    return kind_of(key("a")).decode(key("a"), body, Decoder(DataLimits()))


def rendered(text, folder, *, more=None, trusted_keys=(), **values):
    """Render a text where these keys have these values, None for a key that is not there."""
    source = Path(folder) / "t.j2"
    source.write_text(text)
    template = Template.load(source, variables={}, environ={}, trusted_keys=trusted_keys)
    answers = {
        key(path): Answer(query=key(path), value=() if value is None else (entry(path, value),))
        for path, value in values.items()
    }
    return Renderer([template]).render(Snapshot(answers | (more or {})))


def text_of(text, folder, **values):
    rendering = rendered(text, folder, **values)
    assert rendering.missing == frozenset()
    return rendering.texts[0]


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"", ()),
        (b"[]", ()),
        (b'[{"Key": "a", "Value": "djE=", "ModifyIndex": 3, "Flags": 0}]', (entry("a", "v1"),)),
        (b'[{"Key": "a", "Value": null}]', (entry("a", ""),)),
        (b'[{"Key": "a", "Value": "//4="}]', (entry("a", b"\xff\xfe"),)),
    ],
)
def test_an_answer_is_decoded(body, value):
    assert decoded(body) == (value, ())


@pytest.mark.parametrize(
    "body", [b"{}", b"[1]", b'[{"Value": "djE="}]', b'[{"Key": "a", "Value": "\xff"}]', b"[" * 9999]
)
def test_another_shape_is_undecodable(body):
    with pytest.raises(Undecodable):
        decoded(body)


@given(st.binary(max_size=40))
def test_every_value_is_decoded_to_its_bytes(value):
    body = json.dumps([{"Key": "a", "Value": base64.b64encode(value).decode() or None}]).encode()
    assert decoded(body)[0] == (entry("a", value),)


@pytest.mark.parametrize(
    ("query", "target"),
    [
        (key("nginx/limit"), "/v1/kv/nginx/limit"),
        (key("a b/ü?#%"), "/v1/kv/a%20b/%C3%BC%3F%23%25"),
        (key("a", dc="east", ns="n", partition="p"), "/v1/kv/a?dc=east&ns=n&partition=p"),
    ],
)
def test_a_key_has_a_target(query, target):
    assert resource_of(query, ConsulSettings()).target() == target


def test_a_key_that_is_not_there_is_an_answer_only_where_consul_says_so():
    not_found = resource_of(key("a"), ConsulSettings()).not_found
    assert not_found is NotFound.NOTHING
    assert diagnose(404, Meta(index=7), b"", not_found=not_found) is None
    assert diagnose(404, Meta(), b"", not_found=not_found) == (FailureKind.REFUSED, "status 404")
    assert diagnose(404, Meta(index=7), b"<html>", not_found=not_found) == (
        FailureKind.REFUSED,
        "status 404; is this Consul's HTTP address?",
    )
    assert diagnose(404, Meta(index=7), b"") == (FailureKind.REFUSED, "status 404")


@pytest.mark.parametrize(("given_path", "path"), [("a", "a"), ("/a", "a"), ("a/b", "a/b"), ("a/", "a/"), ("", "")])
def test_a_leading_slash_is_dropped(given_path, path):
    assert key_path("key", given_path) == path


@pytest.mark.parametrize("path", ["//a", "a//b", "a/../b", "..", "a/.", "a\nb"])
def test_a_path_that_consul_takes_for_another_is_refused(path):
    with pytest.raises(ValueError, match="is no path of a key"):
        key_path("key", path)


WAITS = [
    "{{ key('a') }}",
    "{{ key('a') ~ 'x' }}",
    "{{ key('a') | upper }}",
    "{{ key('a') | quote }}",
    "{{ key('a') | int }}",
    "{{ key('a') | length }}",
    "{{ key('a').split(',')[0] }}",
    "{{ '%s' % key('a') }}",
    "{% if key('a') == 'x' %}{% endif %}",
    "{% if key('a') != 'x' %}{% endif %}",
    "{% for x in key('a') %}{% endfor %}",
    "{% set x = key('a') %}{{ x }}",
    "{{ key('a') or key('a') }}",
]


@pytest.mark.parametrize("text", WAITS)
def test_to_use_a_value_that_is_not_there_waits_for_it(text, tmp_path):
    assert rendered(text, tmp_path, a=None).missing == {key("a")}


@pytest.mark.parametrize("text", WAITS)
def test_one_pass_finds_out_what_else_is_missing(text, tmp_path):
    assert key("b") in rendered(text + "{{ key('b') }}", tmp_path, a=None).missing


@pytest.mark.parametrize(
    ("text", "absent", "empty", "there"),
    [
        ("{{ key('a', default='d') }}", "d", None, "v"),
        ("{{ key('a', 'd') }}", "d", None, "v"),
        ("{{ key('a') or 'd' }}", "d", "d", "v"),
        ("{{ key('a') | default('d') }}", "d", None, "v"),
        ("{{ key('a') | default('d', true) }}", "d", "d", "v"),
        ("{% if key('a') %}y{% else %}n{% endif %}", "n", "n", "y"),
        ("{{ 'y' if key('a') is defined else 'n' }}", "n", "y", "y"),
        ("{{ key_exists('a') }}", "False", "True", "True"),
        ("{% if key('a', default='d') == '' %}e{% endif %}", "", "e", ""),
    ],
)
def test_absent_empty_and_there_are_told_apart_without_waiting(text, absent, empty, there, tmp_path):
    assert text_of(text, tmp_path, a=None) == absent
    assert text_of(text, tmp_path, a="v") == there
    if empty is not None:
        assert text_of(text, tmp_path, a="") == empty


def test_a_key_without_an_answer_yet_is_waited_for_whatever_its_default(tmp_path):
    for text in ("{{ key('a', default='d') }}", "{{ key('a') or 'd' }}", "{{ key_exists('a') }}"):
        assert rendered(text, tmp_path).missing == {key("a")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n{{ key('a') }}", "t.j2:2: key 'a': 'x; } evil {' is no plain token"),
        ("\n{{ key('a').split(' ')[1] }}", "t.j2:2: key 'a': '}' is no plain token"),
        ("\n{{ key('a') | upper }}", "t.j2:2: key 'a': 'X; } EVIL {' is no plain token"),
        (
            "{% set x = key('a') %}{% for i in service('web') %}\n{{ i.address }} {{ x[1:] }}{% endfor %}",
            "t.j2:2: key 'a': '; } evil {' is no plain token",
        ),
        (
            "{% for i in service('web') %}\n{{ key('a') ~ i.id }}{% endfor %}",
            "t.j2:2: key 'a': 'x; } evil {web-1' is no plain token",
        ),
    ],
)
def test_a_forbidden_value_refuses_the_render_and_names_key_and_line(text, said, tmp_path):
    instance = Instance(id="web-1", name="web", node="n1", address="10.0.0.1", port=80)
    web = ServiceQuery(name="web")
    with pytest.raises(TemplateError) as error:
        rendered(text, tmp_path, more={web: Answer(query=web, value=(instance,))}, a=BAD)
    assert str(error.value).partition("t.j2")[2].startswith(said.removeprefix("t.j2"))


def test_a_bad_instance_beside_a_key_is_left_out_alone(tmp_path):
    web, db = ServiceQuery(name="web"), ServiceQuery(name="db")
    good = Instance(id="good", name="web", node="n1", address="10.0.0.1", port=80, meta={"m": "fine"})
    bad = Instance(id="bad", name="web", node="n2", address="10.0.0.2", port=80, meta={"m": BAD})
    other = Instance(id="other", name="db", node="n1", address="10.0.0.3", port=80, meta={"m": "fair"})
    more = {web: Answer(query=web, value=(good, bad)), db: Answer(query=db, value=(other,))}
    text = "{{ key('a') }}{% for i in service('web') + service('db') %} {{ i.meta.m }} {{ key('a') }};{% endfor %}"
    rendering = rendered(text, tmp_path, more=more, a="v")
    assert rendering.texts == ("v fine v; fair v;",)
    assert [rejection.instance for rejection in rendering.quarantined] == ["bad"]


def test_values_below_a_trusted_prefix_are_the_operators_text(tmp_path):
    assert rendered("{{ key('a') }}", tmp_path, trusted_keys=("a",), a=BAD).texts == (BAD,)
    with pytest.raises(TemplateError):
        rendered("{{ key('b') }}", tmp_path, trusted_keys=("a",), b=BAD)


def test_bytes_are_usable_and_not_printed(tmp_path):
    assert text_of("{{ key('a') | length }}", tmp_path, a=b"\xff\xfe") == "2"
    with pytest.raises(TemplateError, match="cannot be printed"):
        rendered("{{ key('a') }}", tmp_path, a=b"\xff\xfe")


def test_keys_are_recorded_and_read_again():
    answers = [
        Answer(query=key("a/b"), value=(entry("a/b", "1"),)),
        Answer(query=key("empty"), value=(entry("empty", ""),)),
        Answer(query=key("bin"), value=(entry("bin", b"\xff\xfe"),)),
        Answer(query=key("none"), value=()),
        Answer(query=key("a", dc="east"), value=(entry("a", "far"),)),
        Answer(query=key("a", ns="other"), value=(entry("a", "own"),)),
    ]
    contents = parse_catalog(dump(recorded(answers)), name="c")
    assert [answer(contents, each.query).value for each in answers] == [each.value for each in answers]
    assert contents.kv == {"a/b": "1", "empty": ""}


def test_masked_keys_are_not_written():
    answers = [Answer(query=key("a/token"), value=(entry("a/token", "secret"),))]
    assert recorded(answers, masks=["tok*"]).kv == {"a/token": "masked"}


def test_a_guard_lets_every_change_of_a_key_pass():
    guard = Guard(Policies(default=GuardPolicy()))
    for value in ((entry("a", "1"),), (), (entry("a", "2"),), ()):
        shown = guard.take(Answer(query=key("a"), value=value, index=3, session=1.0), 10.0)
        assert shown is not None
        assert shown.value == value
        assert guard.doubts() == ()
    assert not guard.is_busy


def test_keys_outlive_the_process(tmp_path):
    memory = Memory(answer=Answer(query=key("a", dc="east"), value=(entry("a", b"\xff"),), index=3, seen_at=1.5))
    path = tmp_path / "state" / "answers.json"
    assert save_answers(path, [memory], wall=10.0)
    assert load_answers(path, wall=10.0) == (memory,)
