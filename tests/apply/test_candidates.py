"""Candidates are checked in a folder of their own, without the live files."""

import tempfile

import pytest

from ctemplate.apply import judged
from ctemplate.core.errors import CannotJudge
from ctemplate.core.model import Output, Target


class NoCheck:
    """A check that must not be asked."""

    async def check(self, files):
        raise AssertionError(files)


@pytest.mark.parametrize(
    ("room", "words"),
    [
        pytest.param("missing", "no such file or directory", id="no-folder"),
        pytest.param("a-file", "not a directory", id="no-folder-but-a-file"),
    ],
)
async def test_without_room_for_candidates_there_is_no_way_to_judge(tmp_path, monkeypatch, room, words):
    (tmp_path / "a-file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / room))
    monkeypatch.setenv("TMPDIR", str(tmp_path / room))
    output = Output(target=Target(destination=tmp_path / "out"), content=b"new")
    with pytest.raises(CannotJudge) as raised:
        await judged((output,), NoCheck())
    assert str(raised.value) == f"{tmp_path / room}: has no room for the candidates: {words}"
