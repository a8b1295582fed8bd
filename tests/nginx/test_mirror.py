import stat

import pytest

from ctemplate.nginx.language.includes import TreeError, load_tree
from ctemplate.nginx.mirror import mirror


@pytest.fixture
def nginx(tmp_path):
    folder = tmp_path / "live" / "nginx"
    (folder / "conf.d").mkdir(parents=True)
    (folder / "nginx.conf").write_text("http { include conf.d/*.conf; }")
    (folder / "conf.d" / "a.conf").write_text("gzip on;")
    (folder / "conf.d" / "b.conf").write_text("etag on;")
    (folder / "cert.pem").write_text("secret")
    return folder


@pytest.fixture
def stage(tmp_path):
    (tmp_path / "stage").mkdir()
    return tmp_path / "stage"


def test_only_the_candidate_is_written(nginx, stage):
    main, a = nginx / "nginx.conf", nginx / "conf.d" / "a.conf"
    copy = mirror(load_tree(main, replaced={a: b"gzip off;"}), stage)
    assert copy.staged(a).read_bytes() == b"gzip off;"
    assert [path.is_symlink() for path in (copy.main, copy.staged(a), copy.staged(nginx / "conf.d" / "b.conf"))] == [
        True, False, True
    ]  # fmt: skip
    assert copy.staged(nginx / "cert.pem").read_text() == "secret"
    assert a.read_text() == "gzip on;"


def test_copies_are_private(nginx, stage):
    a = nginx / "conf.d" / "a.conf"
    copy = mirror(load_tree(nginx / "nginx.conf", replaced={a: b""}), stage)
    paths = (copy.folder, copy.staged(nginx / "conf.d"), copy.staged(a))
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o700, 0o700, 0o600]


def test_absolute_includes_lead_into_the_copy(nginx, stage):
    (nginx / "nginx.conf").write_text(f"http {{\n include {nginx}/conf.d/*.conf; # here\n}}")
    copy = mirror(load_tree(nginx / "nginx.conf", replaced={nginx / "conf.d" / "c.conf": b"# new"}), stage)
    assert copy.main.read_text() == f'http {{\n include "{stage}{nginx}/conf.d/*.conf"; # here\n}}'
    assert [path.name for path in load_tree(copy.main).sources] == ["nginx.conf", "a.conf", "b.conf", "c.conf"]


def test_parent_steps_stay_in_the_copy(nginx, stage, tmp_path):
    shared = tmp_path / "live" / "shared.conf"
    shared.write_text("")
    (nginx / "nginx.conf").write_text("include ../shared.conf;")
    copy = mirror(load_tree(nginx / "nginx.conf", replaced={shared: b"# candidate"}), stage)
    assert list(load_tree(copy.main).sources.values())[1] == b"# candidate"


def test_a_candidate_behind_a_symlink_is_found(nginx, stage, tmp_path):
    real = tmp_path / "live" / "available"
    real.mkdir()
    (real / "site").write_text("")
    (nginx / "conf.d" / "site.conf").symlink_to("../../available/site")
    copy = mirror(load_tree(nginx / "nginx.conf", replaced={real / "site": b"# candidate"}), stage)
    assert load_tree(copy.main).sources[copy.staged(nginx / "conf.d" / "site.conf")] == b"# candidate"


def test_a_candidate_for_the_main_file_is_followed(nginx, stage):
    main = nginx / "nginx.conf"
    copy = mirror(load_tree(main, replaced={main: b"include cert.pem;"}), stage)
    assert copy.main.read_bytes() == b"include cert.pem;"


def test_words_about_the_copy_are_translated_back(nginx, stage):
    copy = mirror(load_tree(nginx / "nginx.conf"), stage)
    assert copy.original(copy.main) == nginx / "nginx.conf"
    assert copy.original(nginx) == nginx
    assert copy.translate(f'unexpected "}}" in {copy.main}:3') == f'unexpected "}}" in {nginx}/nginx.conf:3'


def test_a_folder_that_would_be_a_glob_is_refused(nginx, tmp_path):
    (tmp_path / "st[a]ge").mkdir()
    with pytest.raises(TreeError, match="cannot hold a copy for nginx"):
        mirror(load_tree(nginx / "nginx.conf"), tmp_path / "st[a]ge")


def test_a_glob_before_a_parent_step_is_refused(nginx, stage):
    (nginx / "nginx.conf").write_text("include */../nginx.con?.d;")
    with pytest.raises(TreeError, match=r"nginx\.conf:1: an include with a glob before '\.\.' cannot be mirrored"):
        mirror(load_tree(nginx / "nginx.conf"), stage)


def test_a_used_folder_is_refused(nginx, stage):
    tree = load_tree(nginx / "nginx.conf")
    mirror(tree, stage)
    with pytest.raises(TreeError, match="cannot be mirrored"):
        mirror(tree, stage)
