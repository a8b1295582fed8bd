import pytest

from ctemplate.nginx.language.parser import parse_config
from ctemplate.nginx.language.semantic_diff import Backend, TrafficModel, changes, meaning

OLD = b"""
events {}
http {
    upstream web { zone web 64k; server 10.0.0.3:8080; server 10.0.0.4:8080 weight=2; server 10.0.0.5:80; }
    upstream gone { server 10.0.0.9:1 backup; }
    server { listen 80 default_server; server_name _; }
    server { listen 80; server_name web.test www.test; location / { proxy_pass http://web; } }
}
stream { upstream db-5432 { server 10.0.1.1:5432; } server { listen 5432; proxy_pass db-5432; } }
"""
NEW = b"""
events {}
http {
    upstream web { server 10.0.0.7:8080; server 10.0.0.4:8080 weight=2 down; server 10.0.0.5:80 weight=3; }
    upstream api { server 10.0.0.8:1; }
    server { listen 80 default_server; server_name _; }
    server { listen 8080; server_name web.test; }
}
stream { upstream db-5432 { server 10.0.1.1:5432; } server { listen 5432 udp; proxy_pass db-5432; } }
"""


def read(text):
    return meaning(parse_config(text, where="test"))


def test_meaning_is_upstreams_hosts_and_listeners():
    assert read(OLD) == TrafficModel(
        upstreams={
            "web": {
                "10.0.0.3:8080": Backend(),
                "10.0.0.4:8080": Backend(weight="2"),
                "10.0.0.5:80": Backend(),
            },
            "gone": {"10.0.0.9:1": Backend(state="backup")},
            "stream db-5432": {"10.0.1.1:5432": Backend()},
        },
        hosts=frozenset({"_", "web.test", "www.test"}),
        listeners=frozenset({"80 (http)", "5432 (tcp)"}),
    )


def test_changes_are_told_in_nginx_terms():
    assert changes(read(OLD), read(NEW)).sentences == (
        "upstream api added: +10.0.0.8:1",
        "upstream gone removed: −10.0.0.9:1",
        "web: −10.0.0.3:8080, 10.0.0.4:8080 down, 10.0.0.5:80 weight 3, +10.0.0.7:8080",
        "server www.test removed",
        "listener 5432 (udp) added",
        "listener 8080 (http) added",
        "listener 5432 (tcp) removed",
    )


@pytest.mark.parametrize("text", [OLD, NEW, b""], ids=["old", "new", "empty"])
def test_a_configuration_does_not_differ_from_itself(text):
    assert changes(read(text), read(text)).sentences == ()


def test_fragment_outside_of_http_counts_as_http():
    assert read(b"upstream web { server 10.0.0.1:80; }") == TrafficModel(upstreams={"web": {"10.0.0.1:80": Backend()}})
