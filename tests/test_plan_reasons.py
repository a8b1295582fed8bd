"""The reasons for a file's change: the keys, nodes and other entries whose texts are in its new lines."""

import pytest

from ctemplate.core.model import Answer, Instance
from ctemplate.nginx.language.semantic_diff import Backend, BackendChange
from ctemplate.queries import CatalogNode, KeyEntry, KeyQuery, NodesQuery, ServiceQuery, TreeQuery
from ctemplate.sinks import plan
from ctemplate.sinks.plan import OWNED_REASONS, FileReview, owned_reasons


def reasons(old, new, *answers):
    diff = ("--- a", "+++ b", "@@ @@", *(f"-{line}" for line in old), *(f"+{line}" for line in new))
    return list(owned_reasons([FileReview(destination="f", diff=diff, live_sha256="1", sha256="2")], answers))


def key(path, value, index=7):
    query = KeyQuery(path=path)
    return Answer(query=query, value=(KeyEntry(path=path, data=value),), index=index)


@pytest.mark.parametrize(
    ("old", "new", "value", "is_named"),
    [
        (["limit 10m;"], ["limit 20m;"], b"20m", True),
        (["limit 10m;"], ["limit 10m; # 20m"], b"20m", True),
        (["limit 10m;"], ["limit 20m;"], b"10m", False),
        (["limit 10m;"], ["limit 20m;"], b"2", False),
        ([], ["location / { return 204; }"], b"location / { return 204; }", True),
        (["a b"], ["a b c"], b"a b", False),
        ([], ["x"], b"", False),
        ([], ["x"], b"\xff", False),
    ],
)
def test_a_key_is_named_whose_value_is_new(old, new, value, is_named):
    expected = ["key 'nginx/limit', Consul index 7"] if is_named else []
    assert reasons(old, new, key("nginx/limit", value)) == expected


def test_nodes_and_keys_of_a_tree_are_named_once():
    nodes = NodesQuery()
    node = Answer(query=nodes, value=(CatalogNode(name="n1", address="10.0.0.1"), CatalogNode(name="n2", address="x")))
    tree = TreeQuery(prefix="a/")
    keys = Answer(query=tree, value=(KeyEntry(path="a/b", data=b"10.0.0.1"), KeyEntry(path="a/c", data=b"other")))
    assert reasons([], ["10.0.0.1 n1"], node, keys) == ["node 'n1'", "key 'a/b'"]


def test_many_are_counted():
    many = OWNED_REASONS + 5
    tree = TreeQuery(prefix="a/")
    keys = Answer(query=tree, value=tuple(KeyEntry(path=f"a/{n}", data=b"v%d" % n) for n in range(many)))
    found = reasons([], [f"v{n}" for n in range(many)], keys)
    assert len(found) == OWNED_REASONS + 1
    assert found[-1] == "and 5 more"


@pytest.mark.parametrize(
    ("upstream", "services"),
    [("web", ["web"]), ("pool", ["api", "web"])],
    ids=["named like one of them", "named like none"],
)
def test_an_address_that_services_share_is_that_of_the_one_meant_or_of_all(upstream, services):
    fields = {"id": "1", "node": "n", "address": "10.0.0.1", "port": 80, "created": 1}
    answers = [Answer(query=ServiceQuery(name=name), value=(Instance(name=name, **fields),)) for name in ("web", "api")]
    new = Backend(state="up")
    (reason,) = plan.reasons([BackendChange(upstream=upstream, address="10.0.0.1:80", old=None, new=new)], answers)
    assert [name for name in ("api", "web") if f"service {name}, instance 1 on n: passing" in reason] == services
