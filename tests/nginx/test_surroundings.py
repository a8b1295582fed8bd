import pytest

from ctemplate.nginx.command import NginxCommand
from ctemplate.nginx.lookup import Lookup
from ctemplate.nginx.surroundings import ConfigPlace, Surroundings, places


@pytest.fixture
def conf(tmp_path):
    """A configuration with a file of its own and one of ours, which does not exist yet."""
    (tmp_path / "own.conf").write_text("upstream own { server 10.0.0.1:1; }")
    (tmp_path / "nginx.conf").write_text("http { include *.conf.d/*; include own.conf; map $a $b { include keys; } }")
    (tmp_path / "ours.conf.d").mkdir()
    return tmp_path / "nginx.conf"


def test_a_place_tells_the_block_and_the_names_of_others(conf):
    taken = frozenset({("http upstream", b"own"), ("http variable", b"$b")})
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


@pytest.fixture
def folder(tmp_path):
    """A folder that no nginx of this host reads."""
    path = tmp_path / "alone"
    path.mkdir()
    return path


def upstreams(*names):
    return frozenset((f"{kind} upstream", name) for name in names for kind in ("http", "stream"))


async def test_without_a_known_nginx_the_upstreams_of_the_files_beside_count(folder):
    (folder / "a.conf").write_text("upstream A { server 10.0.0.1; } server { location / { } }")
    (folder / "b.conf").write_text("stream { upstream b { server 10.0.0.1; } }")
    for name in ("c.conf.bak", "d.txt", ".e.conf"):
        (folder / name).write_text("upstream other { server 10.0.0.1; }")
    (folder / "broken.conf").write_text("upstream {")
    (folder / "f.conf").mkdir()
    (folder / "own.conf").write_text("upstream own { server 10.0.0.1; }")
    (folder.parent / "nginx.conf").write_text("http { upstream main { server 10.0.0.1; } }")
    around = Surroundings(nginx=None, files=(folder / "own.conf",))
    assert await around.places() == (ConfigPlace(upstreams=upstreams(b"a", b"b", b"main")),)
    (folder / "a.conf").write_text("upstream longer { server 10.0.0.1; }")
    (folder / "b.conf").unlink()
    assert await around.places() == (ConfigPlace(upstreams=upstreams(b"longer", b"main")),)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        pytest.param("http { include own.conf; }", "{conf}", id="read"),
        pytest.param("http { }", "of which only files beside it are seen: {conf} does not read it", id="not read"),
        pytest.param("http {{ }", "of which only files beside it are seen: {conf} does not read it", id="broken"),
        pytest.param(None, "of which only files beside it are seen: no nginx was found", id="no nginx"),
    ],
)
async def test_a_place_says_which_configuration_was_looked_at(folder, monkeypatch, text, seen):
    conf = folder.parent / "nginx.conf"
    program = folder.parent / "nginx"
    if text is not None:
        conf.write_text(text.replace("own.conf", str(folder / "own.conf")))
        (folder / "own.conf").touch()
        program.write_text(f'#!/bin/sh\necho "configure arguments: --conf-path={conf}" >&2\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder.parent}:/usr/bin:/bin" if text is not None else "")
    (place,) = await Surroundings(nginx=None, files=(folder / "own.conf",)).places()
    assert place.seen == seen.format(conf=conf)


async def test_of_a_known_nginx_the_place_says_why_its_configuration_is_not_seen(folder):
    gone, conf = folder / "gone", folder / "nginx.conf"
    program = folder / "nginx"
    program.write_text(f'#!/bin/sh\necho "configure arguments: --conf-path={conf}" >&2\n')
    program.chmod(0o755)
    found = [
        await Surroundings(nginx=Lookup(command=NginxCommand(program=str(path))), files=(folder / "a",)).places()
        for path in (gone, program)
    ]
    assert [place.seen for (place,) in found] == ["nginx cannot be run, so none is seen", f"{conf} cannot be read"]


async def test_a_place_is_open_until_the_files_of_other_groups_exist(folder, tmp_path):
    there, away = folder / "other.conf", tmp_path / "elsewhere" / "x.conf"
    around = Surroundings(nginx=None, files=(folder / "own.conf",), neighbours=(there, away))
    assert await around.places() == (ConfigPlace(is_open=True),)
    there.write_text("upstream web { server 10.0.0.1; }")
    assert await around.places() == (ConfigPlace(upstreams=upstreams(b"web")),)


async def test_planned_files_of_other_groups_stand_in_the_place_of_the_live_ones_beside(folder, tmp_path):
    planned, stale, gone = folder / "other.conf", folder / "stale.conf", folder / "gone.conf"
    for path in (stale, gone):
        path.write_text("upstream old { server 10.0.0.1; }")
    texts = {
        planned: b"upstream web { server 10.0.0.1; }",
        stale: b"upstream new { server 10.0.0.1; }",
        gone: b"",
        folder / "broken.conf": b"upstream {",
        tmp_path / "elsewhere" / "x.conf": b"upstream far { server 10.0.0.1; }",
    }
    around = Surroundings(nginx=None, files=(folder / "own.conf",), neighbours=(planned,), around=lambda: texts)
    assert await around.places() == (ConfigPlace(upstreams=upstreams(b"web", b"new")),)


async def test_of_a_file_that_nothing_says_is_nginx_the_text_decides(folder):
    files = (folder / "a.conf", folder / "b.conf")
    around = Surroundings(nginx=None, files=files, uncertain=frozenset(files[1:]))
    assert await around.places() == (ConfigPlace(), ConfigPlace(is_certain=False))
