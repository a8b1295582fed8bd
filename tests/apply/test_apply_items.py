"""Files for items of lists are added and removed together with all others, and no other file is ever removed."""

import contextlib
import json
import os
from dataclasses import replace

import pytest
from model_program import Killer, Program, ReadsAll, Site

from ctemplate.apply import Group, Step
from ctemplate.apply.history import history
from ctemplate.core.each_file import EachFile
from ctemplate.core.errors import ApplyError
from ctemplate.core.model import Outcome, Output, Target
from ctemplate.sinks.live import LiveSink
from ctemplate.sinks.restorable import RestorableSink


class ItemProgram(Program):
    """A program that reads whatever files there are."""

    async def reload(self, change):
        self.paths = change.files
        return await super().reload(change)


class Items(Site):
    """A site with one fixed file, ``main.conf``, and a file in ``sites/`` for each item."""

    def __init__(self, folder, **group):
        super().__init__(folder, "main.conf", **group)
        self.sites = folder / "etc" / "sites"
        each = EachFile.of("services()", f"{self.sites}/{{{{ item.name }}}}.conf")
        self.each = Target(destination=each.path, each=each)
        self.group = replace(self.group, targets=(*self.group.targets, self.each))

    async def put(self, main, items, **options):
        fixed = Output(target=self.group.targets[0], content=main)
        made = tuple(
            Output(target=replace(self.each, destination=self.sites / f"{name}.conf"), content=content)
            for name, content in items.items()
        )
        self.program = ItemProgram(*(output.target.destination for output in (fixed, *made)))
        return await self.apply(fixed, *made, **options)

    def outputs(self, *outputs):
        return outputs

    @property
    def standing(self):
        files = (path for path in self.sites.iterdir() if not path.name.startswith("."))
        return {path.name.removesuffix(".conf"): path.read_bytes() for path in files}

    @property
    def everything(self):
        return self.live[0], self.standing


@pytest.fixture
def items(tmp_path):
    return Items(tmp_path)


OLD = b"1", {"a": b"a1", "b": b"b1"}
NEW = b"2", {"b": b"b2", "c": b"c2"}


async def test_files_come_and_go_with_their_items(items):
    assert await items.put(*OLD) is Outcome.APPLIED
    assert items.everything == OLD
    assert await items.put(*OLD) is Outcome.UNCHANGED
    assert await items.put(*NEW) is Outcome.APPLIED
    assert items.everything == NEW
    assert await items.put(b"2", {}) is Outcome.APPLIED
    assert items.everything == (b"2", {})
    assert sorted(path.name for path in items.sites.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "step", "expected"),
    [
        pytest.param(b"2", Step.STAGED, OLD, id="staged"),
        pytest.param(b"2", Step.JOURNALED, OLD, id="journaled"),
        pytest.param(b"2", Step.SWAPPING, OLD, id="half swapped"),
        pytest.param(b"2", Step.SWAPPED, OLD, id="swapped"),
        pytest.param(b"2", Step.RELOADED, OLD, id="reloaded"),
        pytest.param(b"2", Step.RECORDED, NEW, id="recorded"),
        pytest.param(b"port", Step.RESTORING, OLD, id="rejected, half restored"),
    ],
)
async def test_a_start_after_a_kill_finds_all_files_of_one_moment(items, content, step, expected):
    await items.put(*OLD)
    killer = Killer(items, step)
    with contextlib.suppress(ApplyError):
        await items.put(content, NEW[1], observe=killer)
    assert killer.step is step
    killer.strike()
    items.recover()
    assert items.everything == expected
    await items.put(*NEW)
    assert items.everything == NEW
    hidden = {path.name for path in items.sites.iterdir() if path.name.startswith(".")}
    assert hidden <= {".a.conf.ctemplate-lock", ".b.conf.ctemplate-lock", ".c.conf.ctemplate-lock"}


@pytest.mark.parametrize("step", [Step.SWAPPING, Step.SWAPPED])
async def test_a_kill_at_a_single_file_without_a_reload_forgets_no_item(items, step):
    await items.put(b"1", {}, reload=None)
    killer = Killer(items, step)
    await items.put(b"1", {"a": b"a1"}, reload=None, observe=killer)
    killer.strike()
    await items.put(b"1", {}, reload=None)
    assert items.everything == (b"1", {})


async def test_a_refused_change_brings_back_what_was_removed(items):
    await items.put(*OLD)
    with pytest.raises(ApplyError):
        await items.put(b"port", {"b": b"b1", "c": b"c1"})
    assert items.everything == OLD
    assert await items.put(*OLD) is Outcome.UNCHANGED


async def test_the_check_sees_an_empty_file_in_place_of_one_that_is_to_go(items):
    await items.put(*OLD)
    seen = {}

    class Check(ReadsAll):
        async def check(self, files):
            seen.update((file.live.name, file.candidate.read_bytes()) for file in files)
            return ()

    await items.put(b"1", {"b": b"b1"}, check=Check())
    assert seen == {"a.conf": b""}


async def test_a_foreign_file_is_neither_written_over_nor_removed(items, caplog):
    await items.put(b"1", {"b": b"b1"})
    (items.sites / "own.conf").write_bytes(b"mine")
    (items.sites / "linked.conf").symlink_to(items.sites / "own.conf")
    await items.put(b"2", {"own": b"theirs", "linked": b"theirs", "b": b"b2"})
    expected = {"own": b"mine", "linked": b"mine", "b": b"b2"}
    assert items.everything == (b"2", expected)
    await items.put(b"3", {})
    assert items.everything == (b"3", {"own": b"mine", "linked": b"mine"})
    said = [record.getMessage() for record in caplog.records if "was not written by ctemplate" in record.getMessage()]
    assert [line.partition(": ")[0] for line in said] == [
        str(items.sites / f"{name}.conf") for name in ("own", "linked")
    ]


async def test_an_edited_file_stays_when_its_item_goes(items, caplog):
    await items.put(*OLD)
    (items.sites / "a.conf").write_bytes(b"by hand")
    await items.put(b"1", {"b": b"b1"})
    assert items.everything == (b"1", {"a": b"by hand", "b": b"b1"})
    assert "a.conf: its item is gone, but another program changed it; left unchanged" in caplog.text
    assert await items.put(b"1", {"b": b"b1"}) is Outcome.UNCHANGED


async def test_a_removed_file_is_made_again_or_forgotten(items):
    await items.put(*OLD)
    (items.sites / "a.conf").unlink()
    (items.sites / "b.conf").unlink()
    await items.put(b"1", {"b": b"b1"})
    assert items.everything == (b"1", {"b": b"b1"})
    (items.sites / "a.conf").write_bytes(b"a1")
    await items.put(b"1", {"b": b"b1"})
    assert items.everything == (b"1", {"a": b"a1", "b": b"b1"})


async def test_without_its_state_a_file_of_the_same_content_is_taken_over(items):
    await items.put(*OLD)
    for path in sorted((items.folder / "state").rglob("ledger.json")):
        path.unlink()
    await items.put(*OLD)
    await items.put(b"1", {})
    assert items.everything == (b"1", {})


@pytest.mark.parametrize("is_killed", [False, True])
async def test_files_are_known_after_the_set_of_templates_has_changed(items, is_killed):
    await items.put(*OLD)
    if is_killed:
        killer = Killer(items, Step.SWAPPED)
        await items.put(*NEW, observe=killer)
        killer.strike()
    more = Target(destination=items.folder / "etc" / "more.conf")
    items.group = replace(items.group, targets=(*items.group.targets, more))
    items.recover()
    assert items.everything == OLD
    await items.put(*NEW)
    assert items.everything == NEW


async def test_a_destination_that_gets_a_template_of_its_own_is_no_item_any_more(items):
    await items.put(*OLD)
    fixed = Target(destination=items.sites / "a.conf")
    own = Site(items.folder, "sites/a.conf")
    await own.apply(b"a1")
    await items.put(b"1", {"b": b"b1"})
    assert fixed.destination.read_bytes() == b"a1"


async def test_a_past_state_brings_back_the_files_of_items_that_are_gone(items):
    await items.put(*OLD)
    await items.put(*NEW)
    (past,) = history(items.folder / "state", items.group.destinations)
    assert {path.name: content for path, content in past.files.items()} == {
        "main.conf": b"1",
        "a.conf": b"a1",
        "b.conf": b"b1",
    }
    with items.hold() as state:
        live = LiveSink(state=state)
        await RestorableSink(sink=live, live=live, templates="").restore(past)
    assert items.everything == (b"1", {"a": b"a1", "b": b"b1", "c": b"c2"})
    await items.put(*NEW)
    assert items.everything == NEW


def test_a_ledger_says_which_files_stand_for_items(items):
    record = {"sha256": "0", "size": 0, "mode": 0, "uid": os.geteuid(), "gid": 0, "at": 0, "is_item": True}
    with items.hold() as state:
        state.ledger.path.write_text(json.dumps({"files": {str(items.sites / "a.conf"): record}}))
    with items.hold() as state:
        assert state.files == (items.path, items.sites / "a.conf")
    assert isinstance(state.group, Group)
