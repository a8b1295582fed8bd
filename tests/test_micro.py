"""Reading go-micro's tags; other tags are skipped, and sizes are limited."""

import json
import zlib

import pytest
from hypothesis import given, strategies as st

from ctemplate.core.micro import MAX_MICRO_TEXT, MAX_MICRO_TEXTS, NO_MICRO, MicroService, micro_service

ENDPOINT = (
    "e-789c5ccc410a02310c85e1bbbc75f100b980aebd41c0b7cb74c62415a4f4ee6eaad8d97ef0ff1dce676324a4a3ea4608ee530af27dacf0526b"
    "0c486d66a3c019c75e834b3ce9affec929df98fad054481fe53bb83a99f4cb8d663bc6270000ffff87ca376b"
)
GREETER = (
    "t-789caa562a28ca2fc94fcecf51b252ca2d4d2e50aa05040000ffff46a906e2",
    "t-789caa562a4a4dcf2c2e29aa54b2524acecf2b2ecd51aa05040000ffff560f07c8",
    "t-789caa562a4e2d2a4b2d52b252ca2d4d2e50aa05040000ffff37200607",
    "t-789caa562a294acc2b2ec82f2a51b252ca28292950aa05040000ffff4f930768",
    "t-789caa564a2acacf4e2d52b252ca28292950aa05040000ffff364d0600",
    ENDPOINT,
    "v-789cca492c492d2e01040000ffff08cc028e",
)


def packed(kind, text):
    return f"{kind}-{zlib.compress(text.encode()).hex()}"


def test_tags_as_go_micro_writes_them_are_read():
    assert micro_service(("http", *GREETER)) == MicroService(
        version="latest",
        metadata={"broker": "http", "protocol": "mucp", "registry": "consul", "server": "mucp", "transport": "http"},
        endpoints=("Greeter.Hello",),
    )


@pytest.mark.parametrize(
    ("tags", "read"),
    [
        pytest.param(
            ('t={"protocol":"grpc"}', 'e={"name":"A.B"}', "v=1.0"), ("1.0", {"protocol": "grpc"}, ("A.B",)), id="old"
        ),
        pytest.param((packed("v", "1"), "v=2"), ("1", {}, ()), id="first-form"),
        pytest.param((packed("v", "1"), packed("v", "2")), ("1", {}, ()), id="first-version"),
        pytest.param(("v-zz", packed("v", "2")), ("2", {}, ()), id="no-digits"),
        pytest.param(("v-00", "v-", "t-", "e="), ("", {}, ()), id="no-stream"),
        pytest.param((packed("t", "[1]"), packed("t", '{"a": 1, "b": "2"}')), ("", {"b": "2"}, ()), id="other-json"),
        pytest.param((packed("t", "[" * 9999),), ("", {}, ()), id="deep"),
        pytest.param((packed("e", '{"name": ["x"]}'), packed("e", '{"name": "b"}')), ("", {}, ("b",)), id="no-name"),
        pytest.param((packed("v", "x" * (MAX_MICRO_TEXT + 1)),), ("", {}, ()), id="bomb"),
        pytest.param((packed("v", "x" * MAX_MICRO_TEXT),), ("x" * MAX_MICRO_TEXT, {}, ()), id="longest"),
        pytest.param(("tcp", "env=prod", "v1", "eu-west", ""), ("", {}, ()), id="others"),
    ],
)
def test_what_tags_say(tags, read):
    version, metadata, endpoints = read
    assert micro_service(tags) == MicroService(version=version, metadata=metadata, endpoints=endpoints)


def test_all_tags_of_an_instance_have_a_limit_together():
    each = MAX_MICRO_TEXT // 2
    tags = tuple(packed("t", json.dumps({f"k{number}": "x" * (each - 20)})) for number in range(40))
    assert len(micro_service(tags).metadata) <= MAX_MICRO_TEXTS // (each - 20)


@given(st.lists(st.one_of(st.text(), st.from_regex(r"[tev][-=][0-9a-f]*", fullmatch=True))))
def test_any_tags_can_be_read(tags):
    assert isinstance(micro_service(tuple(tags)), MicroService)


@given(
    st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable()),
    st.dictionaries(st.text(), st.text(), max_size=5),
)
def test_what_is_written_is_read(version, metadata):
    tags = [packed("v", version), *(packed("t", json.dumps({key: value})) for key, value in metadata.items())]
    assert micro_service(tuple(tags)) == MicroService(version=version, metadata=metadata)


def test_unused_tags_cost_nothing():
    assert micro_service(("http", "eu")) is NO_MICRO
