import pytest

from ctemplate.nginx.surroundings import ConfigPlace, Surroundings, places


@pytest.fixture
def conf(tmp_path):
    """A configuration with a file of its own and one of ours, which does not exist yet."""
    (tmp_path / "own.conf").write_text("upstream own { server 10.0.0.1:1; }")
    (tmp_path / "nginx.conf").write_text("http { include *.conf.d/*; include own.conf; map $a $b { include keys; } }")
    (tmp_path / "ours.conf.d").mkdir()
    return tmp_path / "nginx.conf"


def test_a_place_tells_the_block_and_the_names_of_others(conf):
    taken = frozenset({("http upstream", b"own")})
    ours, keys = conf.parent / "ours.conf.d/x", conf.parent / "keys"
    ours.write_text("upstream ours { server 10.0.0.1:1; }")
    around = ConfigPlace(inside=b"map", taken=taken, variable=b"b")
    assert places(conf, (ours, keys)) == (ConfigPlace(inside=b"http", taken=taken), around)


def test_a_place_tells_where_others_go(conf):
    (conf.parent / "own.conf").write_text("""
        map $a $b { x $c; y host.internal; }
        server { location / { proxy_pass http://$b$request_uri; } location /l { proxy_pass http://Legacy.internal/; } }
        server { location / { fastcgi_pass localhost:9000; } location /w { proxy_pass http://web; } }
    """)
    (place,) = places(conf, (conf.parent / "keys",))
    assert place.routed == {b"b", b"c"}
    assert place.variable == b"b"
    hosts = {b"legacy.internal", b"localhost", b"host.internal"}
    assert {host for _, host in place.hosts} == hosts


def test_the_main_file_stands_in_no_block_and_its_own_names_are_free(conf):
    conf.write_text("http { include own.conf; upstream mine { server 10.0.0.1:1; } }")
    assert places(conf, (conf,)) == (ConfigPlace(inside=b"", taken=frozenset({("http upstream", b"own")})),)


@pytest.mark.parametrize("text", [None, "http {", "include nothing;"])
def test_what_cannot_be_read_counts_as_absent(conf, text):
    conf.unlink() if text is None else conf.write_text(text)
    assert places(conf, (conf.parent / "x",)) == (ConfigPlace(),)


async def test_without_a_known_nginx_nothing_is_around(conf):
    assert await Surroundings(command=None, files=(conf, conf)).places() == (ConfigPlace(), ConfigPlace())
