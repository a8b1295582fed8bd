from pathlib import Path

import pytest

from ctemplate.errors import CommandFailed
from ctemplate.nginx.command import Build, Installation, Lookup, NginxCommand, recognise


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        pytest.param("nginx -s reload", NginxCommand(program="nginx"), id="plain"),
        pytest.param(["nginx", "-s", "reload"], NginxCommand(program="nginx"), id="list"),
        pytest.param("/usr/sbin/nginx -s reload", NginxCommand(program="/usr/sbin/nginx"), id="path"),
        pytest.param("openresty -s reload", NginxCommand(program="openresty"), id="openresty"),
        pytest.param("nginx -c /a/n.conf -s reload", NginxCommand(program="nginx", conf="/a/n.conf"), id="conf"),
        pytest.param("nginx -s reload -c n.conf", NginxCommand(program="nginx", conf="n.conf"), id="conf after"),
        pytest.param("nginx -p /a/ -sreload", NginxCommand(program="nginx", prefix="/a/"), id="joined value"),
        pytest.param("nginx -qs reload", NginxCommand(program="nginx"), id="quiet"),
        pytest.param("nginx -e stderr -s reload", NginxCommand(program="nginx", error_log="stderr"), id="error log"),
        pytest.param(
            'nginx -g "pid /run/a.pid;" -s reload',
            NginxCommand(program="nginx", globals="pid /run/a.pid;"),
            id="globals",
        ),
        pytest.param(
            ["nginx", "-g", "pid $x;", "-s", "reload"],
            NginxCommand(program="nginx", globals="pid $x;"),
            id="globals, list",
        ),
        pytest.param("", None, id="nothing"),
        pytest.param([], None, id="empty list"),
        pytest.param("nginx", None, id="start"),
        pytest.param("nginx -s stop", None, id="stop"),
        pytest.param("nginx -s", None, id="no signal"),
        pytest.param("nginx -t -s reload", None, id="test"),
        pytest.param("nginx -x -s reload", None, id="unknown option"),
        pytest.param("nginx reload", None, id="no option"),
        pytest.param("nginx -s reload -c", None, id="no value"),
        pytest.param("sudo nginx -s reload", None, id="sudo"),
        pytest.param("systemctl reload nginx", None, id="systemctl"),
        pytest.param("A=1 nginx -s reload", None, id="environment"),
        pytest.param("nginx -t && nginx -s reload", None, id="and"),
        pytest.param("nginx -s reload; true", None, id="then"),
        pytest.param("nginx -s reload > /dev/null", None, id="redirected"),
        pytest.param("nginx -c $CONF -s reload", None, id="variable"),
        pytest.param("nginx -c ~/n.conf -s reload", None, id="home"),
        pytest.param("nginx -c 'n.conf -s reload", None, id="open quote"),
        pytest.param("my-nginx -s reload", None, id="another program"),
    ],
)
def test_only_a_reload_by_nginx_itself_is_recognised(command, expected):
    assert recognise(command) == expected


DEBIAN = """\
nginx version: nginx/1.22.1
built with OpenSSL 3.0.20
configure arguments: --with-cc-opt='-g -O2 -fPIC' --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf \
--http-log-path=/var/log/nginx/access.log --error-log-path=stderr --pid-path=/run/nginx.pid --with-stream=dynamic
"""


def installation(text, **options):
    command = NginxCommand(program="nginx", **options)
    return Installation(command=command, build=Build.from_output(text), executable=Path("/usr/sbin/nginx"))


def test_a_build_is_read_with_its_version_and_options():
    build = Build.from_output(DEBIAN)
    assert build.version == (1, 22, 1)
    assert build.options["with-cc-opt"] == "-g -O2 -fPIC"
    assert build.options["pid-path"] == "/run/nginx.pid"


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        pytest.param(
            DEBIAN,
            {},
            ("/etc/nginx/nginx.conf", "/run/nginx.pid", "stderr", "/var/log/nginx/access.log"),
            id="as built",
        ),
        pytest.param(
            "nginx version: nginx/1.27.3\nconfigure arguments:\n",
            {},
            (
                "/usr/local/nginx/conf/nginx.conf",
                "/usr/local/nginx/logs/nginx.pid",
                "logs/error.log",
                "/usr/local/nginx/logs/access.log",
            ),
            id="nginx's own defaults",
        ),
        pytest.param(
            "nginx version: nginx/1.27.3\nconfigure arguments:\n",
            {"prefix": "/srv/n", "conf": "n.conf", "error_log": "/a/e.log"},
            ("/srv/n/n.conf", "/srv/n/logs/nginx.pid", "/a/e.log", "/srv/n/logs/access.log"),
            id="arguments win",
        ),
    ],
)
def test_paths_follow_arguments_then_the_build(text, options, expected):
    found = installation(text, **options)
    paths = (found.conf, found.default_pid_file, found.default_error_log, found.default_access_log)
    assert tuple(map(str, paths)) == expected


def test_a_test_has_the_arguments_of_the_reload():
    found = installation(DEBIAN, prefix="/p/", conf="/a.conf", globals="pid /x;", error_log="/live.log")
    argv = found.test(Path("/b.conf"), error_log=Path("/tmp/e.log"), directives="pid /y;")
    assert argv == (
        *("/usr/sbin/nginx", "-t", "-c", "/b.conf", "-p", "/p/"),
        *("-g", "pid /y;", "-e", "/tmp/e.log"),
    )


def test_an_old_nginx_gets_no_error_log_option():
    found = installation(DEBIAN.replace("1.22.1", "1.18.0"))
    assert found.test(Path("/b.conf"), error_log=Path("/e"), directives="") == (
        "/usr/sbin/nginx",
        "-t",
        "-c",
        "/b.conf",
    )


@pytest.fixture
def program(tmp_path):
    """A program that says what nginx says, and notes each time that it is asked."""
    path = tmp_path / "nginx"

    def write(version):
        new = tmp_path / "new"
        new.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\necho nginx version: nginx/{version}\n")
        new.chmod(0o755)
        new.replace(path)
        return path

    return write


async def test_nginx_is_asked_for_its_build_once_and_again_after_an_upgrade(program, tmp_path):
    lookup = Lookup(command=NginxCommand(program=str(program("1.22.1"))))
    assert [(await lookup.installation()).build.version for _ in range(3)] == [(1, 22, 1)] * 3
    program("1.27.4")
    assert [(await lookup.installation()).build.version for _ in range(2)] == [(1, 27, 4)] * 2
    assert (tmp_path / "asked").read_text() == "asked\n" * 2


async def test_a_program_that_has_gone_is_an_error_again_and_again(program):
    path = program("1.22.1")
    lookup = Lookup(command=NginxCommand(program=str(path)))
    await lookup.installation()
    path.unlink()
    for _ in range(2):
        with pytest.raises(CommandFailed):
            await lookup.installation()
