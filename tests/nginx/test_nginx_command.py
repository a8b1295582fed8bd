from pathlib import Path

import pytest

from ctemplate.core.errors import CommandFailed
from ctemplate.nginx.command import Build, Installation, NginxCommand
from ctemplate.nginx.lookup import Lookup

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
