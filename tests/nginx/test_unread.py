"""Which files of a group the configuration does not read."""

from pathlib import Path

import pytest

from ctemplate.nginx.command import Build, Installation, NginxCommand
from ctemplate.nginx.language.includes import load_tree
from ctemplate.nginx.unread import unread_files, unread_live_files

MAIN = """
http {
    include conf.d/*.conf;
    server { root html; auth_basic_user_file users; js_import main from "js/main.js"; }
}
"""


@pytest.fixture
def installation(tmp_path):
    (tmp_path / "conf" / "conf.d").mkdir(parents=True)
    (tmp_path / "conf" / "nginx.conf").write_text(MAIN)
    (tmp_path / "conf" / "conf.d" / "a.conf").write_text("ssl_certificate /etc/ssl/own.pem;")
    command = NginxCommand(program="nginx", prefix=str(tmp_path), conf="conf/nginx.conf")
    return Installation(command=command, build=Build(version=(), options={}), executable=Path("/nginx"))


@pytest.mark.parametrize(
    ("file", "is_read"),
    [
        ("conf/nginx.conf", True),
        ("conf/conf.d/a.conf", True),
        ("conf/conf.d/new.conf", True),
        ("conf/conf.d/new.conf.d/x.conf", False),
        ("conf/conf.d/new", False),
        ("conf/users", True),
        ("users", True),
        ("other/users", False),
        ("js/main.js", True),
        ("/etc/ssl/own.pem", True),
        ("/etc/ssl/other.pem", False),
        ("html/index.html", True),
        ("html/sub/index.html", True),
        ("html/sub/x.conf", False),
        ("html-not/index.html", False),
    ],
)
def test_a_file_is_read_by_an_include_or_where_a_directive_names_it(installation, tmp_path, file, is_read):
    path = tmp_path / file
    expected = () if is_read else (path,)
    assert unread_files(load_tree(installation.conf), installation, [path]) == expected
    assert unread_live_files(installation, [path]) == expected


def test_of_a_configuration_that_cannot_be_read_nothing_is_known(installation, tmp_path):
    installation.conf.write_text("http { include")
    assert unread_live_files(installation, [tmp_path / "x"]) == ()
    installation.conf.unlink()
    assert unread_live_files(installation, [tmp_path / "x"]) == ()
