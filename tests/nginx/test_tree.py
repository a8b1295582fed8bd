import os

import pytest

from ctemplate.nginx.language.includes import NGINX_FILE_LIMIT_BYTES, Role, TreeError, load_tree
from ctemplate.nginx.language.lexer import NginxSyntaxError


@pytest.fixture
def nginx(tmp_path):
    """A configuration with a relative glob, an absolute file, and a fragment within a fragment."""
    folder = tmp_path / "nginx"
    (folder / "conf.d").mkdir(parents=True)
    (folder / "nginx.conf").write_text(
        f"include modules/*.conf;\nhttp {{\n  include conf.d/*.conf;\n  include {folder}/mime.types;\n}}\n"
    )
    (folder / "mime.types").write_text("types { }")
    (folder / "conf.d" / "b.conf").write_text("include snippets;")
    (folder / "conf.d" / "a.conf").write_text("# nothing")
    (folder / "conf.d" / ".hidden.conf").write_text("broken {")
    (folder / "snippets").write_text("gzip on;")
    return folder


def test_files_are_read_in_nginx_order(nginx):
    tree = load_tree(nginx / "nginx.conf")
    assert [str(path.relative_to(nginx)) for path in tree.sources] == [
        "nginx.conf",
        "conf.d/a.conf",
        "conf.d/b.conf",
        "snippets",
        "mime.types",
    ]
    assert [(include.file.name, include.line, include.argument) for include in tree.includes] == [
        ("nginx.conf", 1, "modules/*.conf"),
        ("nginx.conf", 3, "conf.d/*.conf"),
        ("nginx.conf", 4, f"{nginx}/mime.types"),
        ("b.conf", 1, "snippets"),
    ]


def test_each_file_has_its_role(nginx):
    tree = load_tree(nginx / "nginx.conf")
    names = ("nginx.conf", "conf.d/b.conf", "snippets", "conf.d/new.conf", "conf.d/.hidden.conf")
    assert [tree.role(nginx / name) for name in names] == [
        Role.MAIN, Role.FRAGMENT, Role.FRAGMENT, Role.UNUSED, Role.UNUSED
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "patterns"),
    [
        pytest.param("conf.d/new.conf", ["conf.d/*.conf"], id="new"),
        pytest.param("conf.d/a.conf", ["conf.d/*.conf"], id="present"),
        pytest.param("conf.d/.new.conf", [], id="dot-name"),
        pytest.param("conf.d/new.conf.bak", [], id="other-ending"),
        pytest.param("conf.d/deep/new.conf", [], id="deeper"),
        pytest.param("modules/a.conf", [], id="folder-that-is-not-there"),
        pytest.param("snippets", ["snippets"], id="exact"),
    ],
)
def test_a_new_file_would_be_included_by(nginx, name, patterns):
    tree = load_tree(nginx / "nginx.conf")
    assert [include.argument for include in tree.would_include(nginx / name)] == patterns


def test_symlinks_are_followed_on_both_sides(nginx, tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "site").write_text("gzip on;")
    (nginx / "conf.d" / "site.conf").symlink_to(real / "site")
    (tmp_path / "alias").symlink_to(nginx)
    tree = load_tree(nginx / "nginx.conf")
    assert tree.role(real / "site") is Role.FRAGMENT
    assert tree.role(tmp_path / "alias" / "nginx.conf") is Role.MAIN
    assert tree.would_include(tmp_path / "alias" / "conf.d" / "new.conf") != ()


def test_candidates_stand_in_for_what_is_on_disk(nginx):
    main, new = nginx / "nginx.conf", nginx / "conf.d" / "new.conf"
    tree = load_tree(main, replaced={new: b"include snippets;", nginx / "snippets": b"gzip off;"})
    assert tree.role(new) is Role.FRAGMENT
    assert tree.sources[nginx / "snippets"] == b"gzip off;"
    assert [path.name for path in load_tree(main, replaced={main: b"include snippets;"}).sources] == [
        "nginx.conf",
        "snippets",
    ]


def test_parent_steps_lead_where_the_kernel_goes(nginx, tmp_path):
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "far" / "x").write_text("")
    (nginx / "link").symlink_to(tmp_path / "far" / "deep")
    (nginx / "nginx.conf").write_text("include link/../x; include ../nginx/snip*;")
    assert list(load_tree(nginx / "nginx.conf").sources) == [
        nginx / "nginx.conf",
        tmp_path / "far" / "x",
        nginx / "snippets",
    ]


UNFIT = "cannot be read: is a"


@pytest.mark.parametrize(
    ("main", "where", "what"),
    [
        pytest.param("include no;", "no", "cannot be read: No such file or directory, included by {main}", id="none"),
        pytest.param("include conf.d;", "conf.d", "cannot be read: Is a directory, included by {main}", id="folder"),
        pytest.param("include /dev/zero;", "/dev/zero", f"{UNFIT} device, not a file, included by {{main}}", id="dev"),
        pytest.param("include pipe;", "pipe", f"{UNFIT} pipe, not a file, included by {{main}}", id="pipe"),
        pytest.param("include huge;", "huge", "cannot be read: has more than 64 MiB, included by {main}", id="huge"),
        pytest.param("include nginx.conf;", "nginx.conf", "includes itself through {main}", id="circle"),
    ],
)  # fmt: skip
def test_what_nginx_could_not_read_is_named(nginx, main, where, what):
    (nginx / "nginx.conf").write_text(main)
    os.mkfifo(nginx / "pipe")
    with (nginx / "huge").open("wb") as huge:
        huge.truncate(NGINX_FILE_LIMIT_BYTES + 1)
    with pytest.raises(TreeError) as raised:
        load_tree(nginx / "nginx.conf")
    assert str(raised.value) == f"{nginx / where}: {what.format(main=nginx / 'nginx.conf')}"


def test_a_broken_file_is_named(nginx):
    (nginx / "conf.d" / "b.conf").write_text("include a;\n}")
    with pytest.raises(NginxSyntaxError) as raised:
        load_tree(nginx / "nginx.conf")
    assert str(raised.value) == f'{nginx}/conf.d/b.conf:2: unexpected "}}"'


def test_includes_of_data_blocks_count(nginx):
    (nginx / "nginx.conf").write_text(
        "http { map $a $b { include snip*; } split_clients $a $c { include 1%; } geo $d { include snippets; } }"
    )
    assert [include.inside for include in load_tree(nginx / "nginx.conf").includes] == [b"map", b"geo"]


def test_a_relative_main_is_refused(nginx):
    with pytest.raises(TreeError, match="must be absolute"):
        load_tree((nginx / "nginx.conf").relative_to("/"))
