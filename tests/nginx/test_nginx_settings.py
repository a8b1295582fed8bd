from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ctemplate.nginx.command import Build, Installation, NginxCommand
from ctemplate.nginx.language.includes import load_tree
from ctemplate.nginx.language.parser import parse_config
from ctemplate.nginx.settings import Detour, Settings, redirect_side_effects, settings


@pytest.fixture
def site(tmp_path):
    """A configuration's folder, which is nginx's prefix too, with a folder for logs in it."""
    (tmp_path / "logs").mkdir()
    return tmp_path


def installation(site, **options):
    built = {"prefix": str(site), "conf-path": "nginx.conf", "http-log-path": "logs/access.log"}
    command = NginxCommand(program="nginx", **options)
    return Installation(command=command, build=Build(version=(1, 22, 1), options=built), executable=Path("/nginx"))


def tree(site, **files):
    for name, text in files.items():
        (site / f"{name}.conf").write_text(text)
    return load_tree(site / "nginx.conf")


@pytest.mark.parametrize(
    ("text", "options", "pid_file", "error_logs"),
    [
        pytest.param("", {}, "logs/nginx.pid", ["logs/error.log"], id="defaults"),
        pytest.param("pid a.pid; error_log e.log;", {}, "a.pid", ["e.log"], id="relative to the prefix"),
        pytest.param("pid /run/a.pid; error_log /e.log info;", {}, "/run/a.pid", ["/e.log"], id="absolute"),
        pytest.param("error_log a; error_log b;", {}, "logs/nginx.pid", ["a", "b"], id="two logs"),
        pytest.param("error_log stderr; error_log b;", {}, "logs/nginx.pid", ["b"], id="stderr is no file"),
        pytest.param("error_log syslog:server=a;", {}, "logs/nginx.pid", [], id="syslog is no file"),
        pytest.param(
            "http { error_log x; server { error_log y; } }", {}, "logs/nginx.pid", ["logs/error.log"], id="http"
        ),
        pytest.param("include more.conf;", {}, "more.pid", ["logs/error.log"], id="included"),
        pytest.param("http { include more.conf; }", {}, "logs/nginx.pid", ["logs/error.log"], id="included in http"),
        pytest.param("", {"globals": "pid g.pid;"}, "g.pid", ["logs/error.log"], id="-g"),
        pytest.param("", {"error_log": "e"}, "logs/nginx.pid", ["e"], id="-e"),
        pytest.param("error_log f;", {"error_log": "e"}, "logs/nginx.pid", ["f"], id="the file wins over -e"),
    ],
)
def test_pid_file_and_error_logs(site, text, options, pid_file, error_logs):
    found = tree(site, nginx=text, more="pid more.pid;")
    assert settings(found, installation(site, **options)) == Settings(
        pid_file=site / pid_file,
        error_logs=tuple(site / log for log in error_logs),
        size_bytes=sum(map(len, found.sources.values())),
    )


PID = 'pid "/t/pid"; '


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("events {}\n", f"{PID}events {{}}\n", id="no pid"),
        pytest.param("\npid x.pid;\n", '\npid "/t/pid";\n', id="pid"),
        pytest.param("pid 'x\n.pid';\n#", 'pid "/t/pid"\n;\n#', id="lines stay"),
        pytest.param("error_log logs/a info;", f'{PID}error_log "/t/log-0" info;', id="main error log"),
        pytest.param("error_log stderr;", f"{PID}error_log stderr;", id="stderr"),
        pytest.param("error_log nowhere/a;", f"{PID}error_log nowhere/a;", id="missing folder"),
        pytest.param(
            "http { access_log logs/a x buffer=4k; server { access_log logs/a; error_log logs/b; } }",
            f'{PID}http {{ access_log "/t/log-0"; access_log "/t/log-1" x buffer=4k; '
            'server { access_log "/t/log-1"; error_log "/t/log-2"; } }',
            id="new logs",
        ),
        pytest.param(
            "http { access_log off; access_log logs/$host.log; }",
            f'{PID}http {{ access_log "/t/log-0"; access_log off; access_log logs/$host.log; }}',
            id="logs opened later",
        ),
        pytest.param(
            "stream { access_log logs/kept; map $a $b { access_log logs/a; } }",
            f"{PID}stream {{ access_log logs/kept; map $a $b {{ access_log logs/a; }} }}",
            id="logs that exist, and no directives",
        ),
    ],
)
def test_a_detour_leaves_pid_file_and_logs_alone(site, text, expected):
    (site / "logs" / "kept").touch()
    assert redirect_side_effects(tree(site, nginx=text), installation(site), Path("/t")) == Detour(
        replaced={site / "nginx.conf": expected.encode()}, directives=""
    )


def test_a_detour_through_included_files_and_options(site):
    found = tree(site, nginx="include *d.conf;http { include h.conf; }", mod="pid x;", h="access_log logs/new;")
    (site / "logs" / "access.log").touch()
    assert redirect_side_effects(found, installation(site, globals="error_log logs/g;"), Path("/t")) == Detour(
        replaced={site / "mod.conf": b'pid "/t/pid";', site / "h.conf": b'access_log "/t/log-1";'},
        directives='error_log "/t/log-0";',
    )


DIRECTIVES = st.recursive(
    st.sampled_from(["pid a;", "error_log logs/x;", "access_log logs/y z;", "a 'b\nc';", "# pid;\n", "\n"]),
    lambda inner: st.lists(inner, max_size=5).map(lambda pieces: "http {" + "".join(pieces) + "}"),
    max_leaves=12,
)


def shape(directives):
    """Names and lines, without what a detour adds on a line of its neighbours."""
    return [
        (directive.name, directive.last_line, shape(directive.block or ()))
        for directive in directives
        if directive.name not in (b"pid", b"access_log")
    ]


@given(text=DIRECTIVES)
def test_a_detour_keeps_lines_and_structure(tmp_path_factory, text):
    site = tmp_path_factory.mktemp("site", numbered=True)
    (site / "logs").mkdir()
    found = redirect_side_effects(tree(site, nginx=text), installation(site), Path("/t")).replaced[site / "nginx.conf"]
    assert found.count(b"\n") == text.count("\n")
    assert shape(parse_config(found, where="n")) == shape(parse_config(text.encode(), where="n"))
