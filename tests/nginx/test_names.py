import pytest

from ctemplate.nginx.language.parser import parse_config, walk
from ctemplate.nginx.language.unique_names import Clash, name_clashes, names, uses_of


def found(source, *, values=(), inside=b"", taken=()):
    """The clashes in a source in which each value stands for `$0`, `$1` …"""
    real = marked = source
    for number, value in enumerate(values):
        real = real.replace(b"$%d" % number, value)
        marked = marked.replace(b"$%d" % number, b"\x01%d\x02" % number)
    walked = (walk(parse_config(text, where="", inside=inside), inside=inside) for text in (real, marked))
    both = [(depth, parent, one, like) for (depth, parent, one), (_, _, like) in zip(*walked, strict=True)]
    return name_clashes(uses_of(both), taken=frozenset(taken))


def clash(kind, name, *data):
    return (Clash(name=(kind, name), data=tuple(map(frozenset, data))),)


@pytest.mark.parametrize(
    ("source", "values", "expected"),
    [
        pytest.param(
            b"http { upstream $0 { } upstream $1 { } }",
            (b"web", b"WEB"),
            clash("http upstream", b"web", {0}, {1}),
            id="upstreams of one name but for case",
        ),
        pytest.param(b"http { upstream $0 { } } stream { upstream $1 { } }", (b"a", b"a"), (), id="http and stream"),
        pytest.param(
            b"http { upstream fixed { } upstream $0 { } }",
            (b"fixed",),
            clash("http upstream", b"fixed", (), {0}),
            id="an upstream of the template's own",
        ),
        pytest.param(b"http { upstream a { } upstream a { } }", (), (), id="the template's own doubles"),
        pytest.param(
            b"http { server { listen 80; server_name $0.x; } server { listen *:80; server_name b $1.x; } }",
            (b"a", b"A"),
            clash("server_name", b"a.x on *:80", {0}, {1}),
            id="one host on one port",
        ),
        pytest.param(
            b"http { map $host $u$0 { a b; } split_clients x $U$1 { * b; } geo $u$2 { default b; } }",
            (b"a", b"A", b"b"),
            clash("http variable", b"$ua", {0}, {1}),
            id="variables of one name but for case",
        ),
        pytest.param(
            b"http { geo $remote_addr $up { default a; } map $host $$0 { default b; } }",
            (b"up",),
            clash("http variable", b"$up", (), {0}),
            id="a variable of the template's own",
        ),
        pytest.param(b"http { map $a $$0 { } } stream { map $a $$1 { } }", (b"b", b"b"), (), id="http's and stream's"),
        pytest.param(b"http { map $$0 $x { } map $$1 $y { } }", (b"a", b"a"), (), id="variables that are read"),
        pytest.param(
            b"http { server { listen 80; server_name $0; } server { listen 81; server_name $1; } }",
            (b"a", b"a"),
            (),
            id="one host on two ports",
        ),
        pytest.param(
            b"stream { server { listen $0; } server { listen $1 udp; } server { listen 0.0.0.0:$2; } }",
            (b"53", b"53", b"53"),
            clash("tcp port", b"*:53", {0}, {2}),
            id="one port of one protocol",
        ),
        pytest.param(
            b"http { server { listen 80; } } stream { server { listen $0; } }",
            (b"80",),
            clash("tcp port", b"*:80", {0}, ()),
            id="a port of http",
        ),
        pytest.param(
            b"server { location /$0 {} location ^~ /$1 {} location = /$0 {} } server { location /$0 {} }",
            (b"web", b"web"),
            clash("location", b"/web of \0*:80", {0}, {1}),
            id="locations of one path in one server",
        ),
        pytest.param(
            b"server { server_name a; location / { location /$0 {} location /b {} } location /b {} }",
            (b"b",),
            clash("location", b"/b of / of \0a on *:80", {0}, ()),
            id="a location of the template's own, within another",
        ),
        pytest.param(
            b"server { location =/$0 {} location = /$1 {} location @$0 {} location @$1 {}"
            b" location /c {} location /c {} }",
            (b"a", b"a"),
            clash("exact location", b"/a of \0*:80", {0}, {1}) + clash("named location", b"@a of \0*:80", {0}, {1}),
            id="exact and named locations",
        ),
        pytest.param(
            b"server { location ~ ^/$0 {} location ~*^/$0 {} location ~^/$1 {} }",
            (b"a", b"a"),
            clash("location pattern", b"^/a of \0*:80", {0}, {0}, {1}),
            id="locations of one pattern",
        ),
        pytest.param(
            b"map $uri $x { hostnames; default d; .$0 a; $1 b; default $0; } map $uri $y { $0 a; }",
            (b"web", b"WEB"),
            clash("map key", b"web of $x", {0}, {1}),
            id="keys of one map",
        ),
        pytest.param(
            b"geo $x { $0 a; $1 b; } geo $y { $0 a; $1 a; }",
            (b"10.0.0.0/8", b"10.0.0.1/8"),
            clash("geo network", b"10.0.0.0/8 of $x", {0}, {1}),
            id="networks that say different things",
        ),
        pytest.param(
            b"geo $x { default a; $0 b; $1 c; }",
            (b"0.0.0.0/0", b"::/0"),
            clash("geo network", b"0.0.0.0/0 of $x", (), {0}) + clash("geo network", b"::/0 of $x", (), {1}),
            id="networks that are the default",
        ),
        pytest.param(
            b"http { limit_req_zone $uri zone=$0:1m rate=1r/s; proxy_cache_path /x keys_zone=$1:2m;"
            b" upstream a { zone $2 1m; } server { ssl_session_cache shared:$3:1m; } }"
            b" stream { limit_conn_zone $uri zone=$4:1m; }",
            (b"z",) * 5,
            clash("zone", b"z", {0}, {1}, {2}, {3}, {4}),
            id="zones of shared memory",
        ),
        pytest.param(
            b"upstream a { zone own 1m; } upstream b { zone own 1m; } upstream c { zone $0 1m; }"
            b" upstream d { zone $1; }",
            (b"own", b"other"),
            clash("zone", b"own", {0}, ()),
            id="a zone that the template's own upstreams share",
        ),
        pytest.param(
            b"http { log_format $0 x; log_format $1 y; proxy_cache_path /var/$0 keys_zone=a:1m;"
            b" scgi_cache_path /var/$1 keys_zone=b:1m; } stream { log_format $0 x; }",
            (b"a", b"a"),
            clash("http log_format", b"a", {0}, {1}) + clash("http cache folder", b"/var/a", {0}, {1}),
            id="formats of logs, and folders of caches",
        ),
        pytest.param(
            b"server { listen 80 $0 $1; server_name a; } server { listen 80 default_server backlog=1; server_name b; }",
            (b"default", b"bind"),
            clash("default server", b"*:80", {0}, ()) + clash("socket options", b"*:80", {1}, ()),
            id="parameters of listen that one server may have",
        ),
    ],
)
def test_names_that_are_used_twice_are_found(source, values, expected):
    assert found(source, values=values) == expected


def test_names_of_other_files_are_taken():
    taken = names(parse_config(b"upstream web { } server { server_name a; }", where="", inside=b"http"), inside=b"http")
    assert taken == {("http upstream", b"web"), ("server_name", b"a on *:80"), ("tcp port", b"*:80")}
    source = b"upstream $0 { } server { server_name $1; } server { server_name b; }"
    assert found(source, values=(b"Web", b"A"), inside=b"http", taken=taken) == (
        *clash("http upstream", b"web", (), {0}),
        *clash("server_name", b"a on *:80", (), {1}),
    )
