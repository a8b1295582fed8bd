import pytest
from hypothesis import given, strategies as st

from ctemplate.convert.query_grammar import NamedQuery, QueryError, parse_query

PASSING = ("passing",)


@pytest.mark.parametrize(
    ("function", "text", "expected"),
    [
        pytest.param("service", "web", NamedQuery(name="web", statuses=PASSING), id="name"),
        pytest.param("service", "blue.web", NamedQuery(name="web", tag="blue", statuses=PASSING), id="tag"),
        pytest.param("service", "a.b.web", NamedQuery(name="web", tag="a.b", statuses=PASSING), id="last dot"),
        pytest.param("service", "v=1:x.web", NamedQuery(name="web", tag="v=1:x", statuses=PASSING), id="odd tag"),
        pytest.param(
            "service",
            "blue.web?ns=n&partition=p@east~_agent|any",
            NamedQuery(name="web", tag="blue", ns="n", partition="p", dc="east", near="_agent", statuses=("any",)),
            id="everything",
        ),
        pytest.param(
            "service", "web|warning,passing", NamedQuery(name="web", statuses=("passing", "warning")), id="sorted"
        ),
        pytest.param("service", "web|,", NamedQuery(name="web"), id="filter that matches nothing"),
        pytest.param("service", "web?ns=a&ns=b", NamedQuery(name="web", ns="a", statuses=PASSING), id="first counts"),
        pytest.param("connect", "web", NamedQuery(name="web", statuses=PASSING), id="connect"),
        pytest.param("service", "", None, id="no service"),
        pytest.param("key", "", None, id="no key"),
        pytest.param("services", "", NamedQuery(), id="services"),
        pytest.param("services", "@east", NamedQuery(dc="east"), id="services of a datacenter"),
        pytest.param("nodes", "@east~a.b", NamedQuery(dc="east", near="a.b"), id="nodes"),
        pytest.param("node", "a.b@east", NamedQuery(name="a.b", dc="east"), id="node"),
        pytest.param("node", "", NamedQuery(), id="this node"),
        pytest.param("key", "/a/b c@east", NamedQuery(name="a/b c", dc="east"), id="one leading slash goes"),
        pytest.param("tree", "//a", NamedQuery(name="/a"), id="only one"),
        pytest.param("keyOrDefault", "ключ:*", NamedQuery(name="ключ:*"), id="any character"),
    ],
)
def test_a_name_is_taken_apart(function, text, expected):
    assert parse_query(function, text) == expected


@pytest.mark.parametrize(
    ("function", "text", "message"),
    [
        pytest.param(
            "service",
            "web@e|any~n",
            "service: 'web@e|any~n' is not of the form tag.name?ns=…@dc~near|status",
            id="order",
        ),
        pytest.param("service", "web|", "service: 'web|' is not of the form tag.name?ns=…@dc~near|status", id="empty"),
        pytest.param("service", "wéb", "service: 'wéb' is not of the form tag.name?ns=…@dc~near|status", id="ASCII"),
        pytest.param(
            "service", "web\n", r"service: 'web\n' is not of the form tag.name?ns=…@dc~near|status", id="line"
        ),
        pytest.param("services", "web", "services: 'web' is not of the form ?ns=…@dc", id="no name"),
        pytest.param(
            "key", "a?b", "unknown parameter 'b' in 'a?b'; known: ns, partition, peer, sameness-group", id="key"
        ),
        pytest.param(
            "service",
            "web|ok",
            "unknown status 'ok' in 'web|ok'; known: any, critical, maintenance, passing, warning",
            id="status",
        ),
        pytest.param(
            "service",
            "web?peer=a&sameness-group=b",
            "peer and sameness-group exclude each other in 'web?peer=a&sameness-group=b'",
            id="both",
        ),
    ],
)
def test_what_consul_template_refuses_is_refused(function, text, message):
    with pytest.raises(QueryError) as error:
        parse_query(function, text)
    assert str(error.value) == message


word = st.text("abz09-_", min_size=1)
place = st.text("abz09-_.", min_size=1)


@given(tag=place, name=word, dc=place, near=place, statuses=st.sets(st.sampled_from(["any", "critical"]), min_size=1))
def test_what_is_put_together_is_taken_apart(tag, name, dc, near, statuses):
    text = f"{tag}.{name}@{dc}~{near}|{','.join(statuses)}"
    expected = NamedQuery(name=name, tag=tag, dc=dc, near=near, statuses=tuple(sorted(statuses)))
    assert parse_query("service", text) == expected


@given(st.sampled_from(["service", "services", "nodes", "node", "key"]), st.text(max_size=30))
def test_no_name_makes_it_raise_anything_else(function, text):
    try:
        parse_query(function, text)
    except QueryError:
        return
