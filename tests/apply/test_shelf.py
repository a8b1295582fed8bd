"""Generations of stored files: bounded, in order, each complete, whatever they contain."""

from pathlib import Path

import pytest

from ctemplate.apply.state import Generations

MAIN, SITE = Path("/etc/nginx/nginx.conf"), Path("/etc/nginx/sites/a.conf")


def kept(shelf):
    return [
        {Path("/", path.relative_to(generation)): path.read_bytes() for path in generation.rglob("*") if path.is_file()}
        for generation in shelf.generations
    ]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_newest_generations_are_kept_whatever_files_they_hold(tmp_path, limit):
    shelf = Generations(tmp_path, limit)
    puts = [{MAIN: b"1"}, {MAIN: b"2, longer"}, {MAIN: b"3"}, {MAIN: b"4", SITE: b"4"}, {SITE: b"5"}]
    puts += [{MAIN: b"6", SITE: b"6"}, {MAIN: b"7"}, {MAIN: b"8"}, {MAIN: b"9"}, {MAIN: b"10"}]
    for number, files in enumerate(puts, 1):
        assert shelf.put(files) == tmp_path / f"{number:06d}"
        assert kept(shelf) == puts[:number][-limit:]


def test_a_generation_from_before_the_start_is_not_written_over(tmp_path):
    for content in (b"1", b"2"):
        Generations(tmp_path, 2).put({MAIN: content, SITE: content})
    shelf = Generations(tmp_path, 2)
    shelf.put({MAIN: b"3"})
    assert kept(shelf) == [{MAIN: b"2", SITE: b"2"}, {MAIN: b"3"}]


def test_what_the_newest_generation_holds_is_not_kept_twice(tmp_path):
    shelf = Generations(tmp_path, 3)
    shelf.put({MAIN: b"1", SITE: b"1"})
    assert shelf.put({MAIN: b"1", SITE: b"1"}) is None
    assert shelf.put({MAIN: b"1"}) is not None
    assert shelf.put({MAIN: b"2"}) is not None


@pytest.mark.parametrize(("limit", "files"), [(0, {MAIN: b"1"}), (3, {})], ids=["no-room", "nothing"])
def test_nothing_is_kept_where_there_is_nothing_to_keep(tmp_path, limit, files):
    shelf = Generations(tmp_path / "shelf", limit)
    assert shelf.put(files) is None
    assert shelf.generations == ()
