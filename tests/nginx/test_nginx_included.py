"""Which files a configuration reads stays true when anything of it changes."""

import os

import pytest

from ctemplate.nginx.included import IncludedFiles


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "nginx.conf").write_text(f"http {{ include {tmp_path}/conf.d/*.conf; }}")
    return tmp_path / "nginx.conf"


def rewrite(path, text):
    """Replace a file with another time of change, whatever the clock's resolution."""
    path.write_text(text)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))


def test_a_new_include_counts(tmp_path, conf):
    reads, files = IncludedFiles(), [tmp_path / "conf.d/a.conf", tmp_path / "b"]
    assert reads.among(files, conf) == {files[0]}
    rewrite(conf, f"http {{ include {tmp_path}/b; }}")
    files[1].write_text("")
    assert reads.among(files, conf) == {files[1]}
    assert reads.among(files[:1], conf) == set()


def test_an_include_within_a_new_file_counts(tmp_path, conf):
    reads, files = IncludedFiles(), [tmp_path / "sites/own"]
    assert reads.among(files, conf) == set()
    (tmp_path / "sites").mkdir()
    (tmp_path / "conf.d/more.conf").write_text(f"include {tmp_path}/sites/*;")
    assert reads.among(files, conf) == set(files)


def test_a_configuration_that_cannot_be_read_is_tried_again(tmp_path, conf):
    reads, files = IncludedFiles(), [tmp_path / "conf.d/a.conf"]
    rewrite(conf, "http {")
    assert reads.among(files, conf) == set()
    rewrite(conf, f"http {{ include {tmp_path}/conf.d/*.conf; }}")
    assert reads.among(files, conf) == set(files)


def test_what_did_not_change_is_not_read_again(tmp_path, conf):
    reads, files = IncludedFiles(), [tmp_path / "conf.d/a.conf"]
    first = reads.among(files, conf)
    assert reads.among(files, conf) is first
    rewrite(conf, conf.read_text() + " # edited")
    again = reads.among(files, conf)
    assert again == first
    assert again is not first
