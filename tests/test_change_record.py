"""The record of a change: figures, a bounded diff without secrets, and the data that caused it."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ctemplate.apply import LiveChange
from ctemplate.core.model import Answer, CheckState, Instance, Status
from ctemplate.queries import CaLeafQuery, KeyQuery, ServiceQuery
from ctemplate.queries.ca_leaf import CaLeaf
from ctemplate.queries.key import KeyEntry
from ctemplate.queries.kind import OwnText
from ctemplate.runtime.change_record import DIFF_LINES, change_record
from ctemplate.sinks.masks import MASKED

CONF = Path("/etc/nginx/nginx.conf")


def recorded(before, after, answers=()):
    return change_record(LiveChange(files=(CONF,), before={CONF: before}, after={CONF: after}), answers)


def key(path, value):
    return Answer(query=KeyQuery(path=path), value=(KeyEntry(path=path, data=value.encode()),))


def instance(**changes):
    return Instance(**({"id": "a", "name": "web", "node": "n1", "address": "10.0.0.1", "port": 80} | changes))


def test_lines_servers_and_causes_are_told():
    before = b"upstream web {\n    server 10.0.0.1:80;\n    server 10.0.0.2:80;\n}\n"
    after = b"upstream web {\n    server 10.0.0.1:80 weight=5;\n    server 10.0.0.3:80;\n}\n"
    failing = instance(
        id="c", address="10.0.0.3", status=Status.WARNING, checks=(CheckState(id="disk", status="warning"),)
    )
    answer = Answer(query=ServiceQuery(name="web"), value=(instance(), failing), index=7)
    record = recorded(before, after, [answer])
    assert record.figures == {"lines_added": 2, "lines_removed": 2, "servers_added": 1, "servers_removed": 1}
    assert record.diff == (
        f"--- {CONF}",
        f"+++ {CONF}",
        "@@ -1,4 +1,4 @@",
        " upstream web {",
        "-    server 10.0.0.1:80;",
        "-    server 10.0.0.2:80;",
        "+    server 10.0.0.1:80 weight=5;",
        "+    server 10.0.0.3:80;",
        " }",
    )
    assert record.causes == (
        "10.0.0.1:80: service web, instance a on n1: passing, Consul index 7",
        "10.0.0.2:80: no longer registered",
        "10.0.0.3:80: service web, instance c on n1: warning (check disk), Consul index 7",
    )


def test_a_place_in_a_long_file_has_the_number_of_its_line():
    lines = [f"line {number};" for number in range(1, 5001)]
    before = "\n".join(lines).encode()
    lines[3999] = "changed;"
    record = recorded(before, "\n".join(lines).encode())
    assert record.diff[2] == "@@ -3997,7 +3997,7 @@"
    assert (record.lines_added, record.lines_removed) == (1, 1)


def test_a_new_file_is_all_added():
    assert recorded(None, b"a;\nb;\n").lines_added == 2


@pytest.mark.parametrize("count", [500, 20_000])
def test_a_large_change_is_cut(count):
    record = recorded(b"old;\n" * count, "".join(f"new {number};\n" for number in range(count)).encode())
    assert (record.lines_added, record.lines_removed) == (count, count)
    assert len(record.diff) <= DIFF_LINES + 1


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_the_figures_are_those_of_the_lines(before, after):
    record = recorded("\n".join(before).encode(), "\n".join(after).encode())
    assert record.lines_added - record.lines_removed == len(after) - len(before)
    assert (record.lines_added == record.lines_removed == 0) == (sorted(before) == sorted(after))


LEAF = CaLeaf(service="web", pem=OwnText(""), private_key=OwnText("never printed"))


@given(st.lists(st.sampled_from("aab{ü\r"), max_size=14), st.lists(st.sampled_from("aab{ü\r"), max_size=14), st.data())
def test_contents_that_are_cut_first_give_the_same_record(before, after, data):
    """Contents of a group with secrets are laid side by side whole, others without their equal ends."""
    ends = st.sampled_from(["", "\n", "\n\n", "x"])
    one, other = ("\n".join(lines) + data.draw(ends) for lines in (before, after))
    whole = Answer(query=CaLeafQuery(name="web"), value=(LEAF,))
    assert recorded(one.encode(), other.encode()) == recorded(one.encode(), other.encode(), [whole])


SECRET = "s3cr3t-of-the-vault"


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        pytest.param(f'set $x "{SECRET}";', [key("site/x", SECRET)], id="the value of a key"),
        pytest.param(f"set $x '{SECRET}';", [key("site/x", f"{SECRET}\n")], id="a value with a line break"),
        pytest.param(f"set $x {SECRET};", [key("c", json.dumps({"a": [SECRET]}))], id="a part of JSON"),
        pytest.param(f"set $x {SECRET};", [key("c", f"a: {SECRET}\nb: 1")], id="a part of YAML"),
        pytest.param(f"set $x {SECRET};", [key("c", base64.b64encode(SECRET.encode()).decode())], id="base64 decoded"),
        pytest.param(f"password {SECRET};", [], id="password"),
        pytest.param(f'proxy_set_header Authorization "Basic {SECRET}";', [], id="authorization"),
        pytest.param(f'set $api_key "{SECRET}";', [], id="API key"),
        pytest.param(f"client_secret={SECRET}", [], id="an assignment"),
    ],
)
def test_secrets_are_masked(line, answers):
    record = recorded(b"a;\n", f"a;\n{line}\n".encode(), answers)
    assert SECRET not in "\n".join(record.diff)
    assert MASKED in record.diff[-1]


def test_a_private_key_is_masked():
    body = "MIIEvgIBADANBgkqhkiG9w0BAQEFAASC"
    pem = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    shown = "\n".join(recorded(b"", pem.encode()).diff + recorded(pem.encode(), b"x;\n").diff)
    assert body not in shown
    assert "masked" in shown


@pytest.mark.parametrize(
    "line",
    ["proxy_pass http://web;", "server_tokens off;", "limit_req_zone $key zone=a:1m;", "server 10.0.0.5:80 weight=5;"],
)
def test_ordinary_lines_are_shown(line):
    assert recorded(b"", f"{line}\n".encode(), [key("limit", "5")]).diff[-1] == f"+{line}"


def test_a_short_value_is_masked_where_it_stands_alone_only():
    diff = recorded(b"", b"a open;\nb reopened;\n", [key("door", "open")]).diff
    assert diff[-2:] == (f"+a {MASKED};", "+b reopened;")
