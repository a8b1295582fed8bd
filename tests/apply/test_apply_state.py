import contextlib
import dataclasses
import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from model_program import Site

from ctemplate.apply import Accepted, Group, StateFolder, Step, apply, former_files
from ctemplate.apply.journal import Journal
from ctemplate.apply.ledger import fingerprint, read_ledger
from ctemplate.apply.locks import DestinationLocks
from ctemplate.core.errors import CheckRefused, ReloadRejected, StateError, SwapFailed
from ctemplate.core.model import Outcome, Target

HOLDER = """
import sys
from pathlib import Path
from ctemplate.apply import Group, StateFolder
from ctemplate.core.model import Target
group = Group(name="other", targets=tuple(Target(destination=Path(path)) for path in sys.argv[2:]))
with StateFolder(Path(sys.argv[1])).hold(group):
    print("held", flush=True)
    sys.stdin.read()
"""


def ledger_of(site):
    return next(site.folder.glob("state/*/ledger.json"))


async def test_everything_in_the_state_folder_is_private(site):
    await site.apply(b"one")
    await site.apply(b"two")
    with pytest.raises(CheckRefused):
        await site.apply(b"syntax error")
    modes = {
        (path.is_dir(), oct(stat.S_IMODE(path.stat().st_mode)))
        for path in [site.folder / "state", *(site.folder / "state").rglob("*")]
    }
    assert modes == {(True, "0o700"), (False, "0o600")}


@pytest.mark.parametrize("mode", [0o755, 0o1777])
async def test_a_state_folder_that_was_there_keeps_its_mode_and_what_is_in_it_is_private(site, mode):
    folder = site.folder / "state"
    folder.mkdir()
    folder.chmod(mode)
    await site.apply(b"one")
    assert stat.S_IMODE(folder.stat().st_mode) == mode
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o700}


def test_a_state_folder_that_all_users_may_change_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(StateError) as caught:
        StateFolder(tmp_path)
    assert str(caught.value) == f"{tmp_path}: is writable by everybody; give it mode 0700"


def test_a_sub_folder_that_is_a_link_is_not_trusted(site):
    (site.folder / "state").mkdir()
    (site.folder / "elsewhere").mkdir()
    (site.folder / "state" / "locks").symlink_to(site.folder / "elsewhere")
    with pytest.raises(StateError, match=r"/state/locks: is not a folder that belongs to this user$"):
        StateFolder(site.folder / "state")


def test_a_state_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError) as caught:
        StateFolder(tmp_path / "file" / "state")
    assert str(caught.value) == f"{tmp_path}/file/state: cannot be used: is no folder"


@pytest.mark.parametrize(
    "theirs",
    [
        pytest.param(["a.conf", "b.conf"], id="the same destinations"),
        pytest.param(["b.conf", "c.conf"], id="one destination in common"),
        pytest.param(["link.conf"], id="by another name"),
    ],
)
def test_a_second_instance_on_the_same_destination_is_refused_by_pid(pair, theirs):
    (pair.folder / "etc" / "link.conf").symlink_to("b.conf")
    paths = [str(pair.folder / "etc" / name) for name in theirs]
    argv = [sys.executable, "-c", HOLDER, str(pair.folder / "state"), *paths]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StateError) as caught, pair.hold():
            pass
        holder.stdin.close()
    held = "a.conf" if "a.conf" in theirs else "b.conf"
    assert str(caught.value) == f"{pair.folder}/etc/{held}: is held by another ctemplate, pid {holder.pid}"
    with pair.hold():
        pass


def test_a_refused_hold_lets_go_of_what_it_had_locked(pair):
    both, first = pair.group, dataclasses.replace(pair.group, targets=pair.group.targets[:1])
    second = dataclasses.replace(pair.group, targets=pair.group.targets[1:])
    state = StateFolder(pair.folder / "state")
    with state.hold(second):
        with pytest.raises(StateError, match=f"pid {os.getpid()}$"), state.hold(both):
            pass
        with state.hold(first):
            pass


def test_a_looping_link_is_an_error(site):
    site.program.paths = ()
    site.path.symlink_to(site.path.name)
    with pytest.raises(StateError) as caught, site.hold():
        pass
    assert str(caught.value) == f"{site.path}: cannot be used: too many levels of symbolic links"


async def test_the_ledger_says_what_was_accepted(site):
    await site.apply(b"one")
    page = json.loads(ledger_of(site).read_bytes())
    record = page["files"][str(site.path)]
    assert record.pop("at") > 0
    assert page.pop("at") > 0
    assert page.pop("placed")["ticks"] > 0
    assert page == {
        "proven": [],
        "configuration": "",
        "version": 1,
        "serial": 1,
        "owes_reload": False,
        "result": "applied",
        "files": {
            str(site.path): {
                "sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
                "size": 3,
                "mode": 0o644,
                "uid": os.geteuid(),
                "gid": os.getegid(),
            }
        },
    }


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"version": 1, "serial"', id="torn"),
        pytest.param(b"\xff\xfe\x00", id="not text"),
        pytest.param(b'{"version": 1, "files": {"/a": 7}}', id="wrong shape"),
        pytest.param(b'{"version": 99}', id="from the future"),
    ],
)
async def test_a_ledger_that_cannot_be_read_is_unknown_and_owes_one_reload(site, caplog, content):
    await site.apply(b"one")
    ledger_of(site).write_bytes(content)
    assert await site.apply(b"one") is Outcome.APPLIED
    assert "the files that it names count as unknown; its group, if there still is one, is reloaded once" in caplog.text
    assert await site.apply(b"one") is Outcome.UNCHANGED
    assert site.program.reloads == 2


def test_a_damaged_ledger_of_files_that_are_no_longer_written_is_reported_once(tmp_path, caplog):
    former, current = (Group(name=name, targets=(Target(destination=tmp_path / name),)) for name in ("a", "b"))
    with StateFolder(tmp_path / "state", "/c.toml").hold(former) as held:
        held.ledger.settle("applied", owes_reload=False)
        ledger = held.ledger.path
    ledger.write_bytes(b"torn")
    with StateFolder(tmp_path / "state", "/c.toml").hold(current) as held:
        for _ in range(2):
            assert former_files(tmp_path / "state", "/c.toml", current.destinations) == ()
        assert not held.ledger.page.owes_reload
    assert caplog.text.count(str(ledger)) == 1


async def test_a_journal_that_cannot_be_read_keeps_the_live_file_and_owes_a_reload(site, caplog):
    await site.apply(b"one")
    ledger_of(site).with_name("journal").write_bytes(b"\xc1torn")
    site.recover()
    assert site.live == (b"one",)
    assert site.owes_reload
    assert "the live files stay, one reload is pending" in caplog.text


async def test_a_journal_of_a_transaction_that_has_ended_does_no_harm(site):
    journals = []

    def copy(step):
        if step is Step.JOURNALED:
            journals.append(next(site.folder.glob("state/*/journal")).read_bytes())

    await site.apply(b"one")
    await site.apply(b"two", observe=copy)
    ledger_of(site).with_name("journal").write_bytes(journals[0])
    site.recover()
    assert site.live == (b"two",)
    assert not site.owes_reload
    assert not ledger_of(site).with_name("journal").exists()


def test_recovery_removes_candidates_of_a_dead_run_and_nothing_else(site):
    others = [".n.conf.ctemplate-note", ".n.conf.swp", ".other.conf.ctemplate-0a1b2c3d"]
    for name in (".n.conf.ctemplate", ".n.conf.ctemplate-0a1b2c3d", *others):
        (site.folder / "etc" / name).write_bytes(b"left")
    site.recover()
    assert site.tree == others


def test_a_missing_ledger_is_empty_and_owes_nothing(tmp_path):
    page = read_ledger(tmp_path / "ledger.json")
    assert (page.serial, page.owes_reload, page.files) == (0, False, {})


async def test_a_ledger_without_room_is_known_to_the_process_and_said(site, caplog):
    with site.hold() as state:
        state.ledger.path.with_name("ledger.json.new").mkdir()
        options = {"state": state, "check": site.program, "reload": site.program}
        assert await apply(site.outputs(b"one"), **options) is Outcome.APPLIED
        assert await apply(site.outputs(b"one"), **options) is Outcome.UNCHANGED
        assert f"{state.ledger.path}: cannot be written: Is a directory; known to this process only" in caplog.messages
    assert site.live == (b"one",)


def wider(site, *names):
    """The same folder with another set of destinations; the program knows them too."""
    other = Site(site.folder, *names)
    other.program = site.program
    other.program.paths = other.paths
    return other


async def test_a_record_and_a_debt_follow_a_destination_into_another_set(site):
    site.program.stop()
    await site.apply(b"one")
    site.program.start()
    pair = wider(site, "n.conf", "m.conf")
    pair.paths[1].write_bytes(b"m")
    assert pair.owes_reload
    assert await pair.apply(b"one", b"m") is Outcome.APPLIED
    assert await pair.apply(b"one", b"m") is Outcome.UNCHANGED
    again = wider(site, "n.conf")
    assert await again.apply(b"one") is Outcome.UNCHANGED
    assert not again.owes_reload


async def test_an_open_transaction_follows_its_files_into_other_sets(pair):
    await pair.apply(b"a1", b"b1")
    journals = []

    def copy(step):
        if step is Step.JOURNALED:
            journals.append(next(pair.folder.glob("state/*/journal")).read_bytes())

    with pytest.raises(ReloadRejected):
        await pair.apply(b"a2", b"port in use", observe=copy)
    folder = ledger_of(pair).parent
    page = json.loads((folder / "ledger.json").read_bytes())
    (folder / "ledger.json").write_text(json.dumps(page | {"serial": page["serial"] - 1}))
    (folder / "journal").write_bytes(journals[0])
    for path in pair.paths:
        path.write_bytes(b"new")
    first, second = wider(pair, "a.conf"), wider(pair, "b.conf")
    first.recover()
    assert pair.live == (b"a1", b"new")
    assert first.owes_reload
    second.recover()
    assert pair.live == (b"a1", b"b1")
    assert not (folder / "journal").exists()
    assert not (folder / "ledger.json").exists()


def test_groups_name_their_destinations_absolutely(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    group = Group(name="g", targets=(Target(destination=Path("a")), Target(destination=tmp_path / "b")))
    assert group.destinations == (tmp_path / "a", tmp_path / "b")


async def test_a_ledger_that_cannot_be_read_is_complained_of_once(site, caplog):
    await site.apply(b"one")
    ledger_of(site).write_text("garbage")
    assert site.owes_reload
    assert len([record for record in caplog.records if "cannot be read" in record.getMessage()]) == 1


DELETED = "was deleted while ctemplate runs; it is made again; the past states that were kept there are gone"


@pytest.mark.parametrize("part", ["state", "state/locks", "state/*-*"])
async def test_a_state_folder_that_is_deleted_under_a_running_process_is_made_again(site, part, caplog):
    with site.hold() as state:
        await apply(site.outputs(b"one"), state=state, reload=site.program)
        [gone] = site.folder.glob(part)
        shutil.rmtree(gone)
        for content in (b"two", b"three"):
            assert await apply(site.outputs(content), state=state, reload=site.program) is Outcome.APPLIED
        where = gone if part == "state" else state.folder
        assert [line for line in caplog.messages if "deleted" in line] == [f"{where}: {DELETED}"]
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (site.folder / "state").rglob("*") if path.is_dir()}
        assert (modes, stat.S_IMODE((site.folder / "state").stat().st_mode)) == ({0o700}, 0o700)
        with pytest.raises(StateError, match=f"pid {os.getpid()}$"), site.hold():
            pass
    assert site.path.read_bytes() == b"three"
    assert list(read_ledger(ledger_of(site)).files) == [str(site.path)]


async def test_two_groups_tell_once_that_their_state_folder_was_deleted(pair, caplog):
    first, second = (dataclasses.replace(pair.group, targets=(target,)) for target in pair.group.targets)
    states, outputs = StateFolder(pair.folder / "state"), pair.outputs(b"one", b"two")
    with states.hold(first) as one, states.hold(second) as two:
        shutil.rmtree(states.path)
        for state, output in zip((one, two), outputs, strict=True):
            await apply((output,), state=state)
        shutil.rmtree(two.folder)
        await apply((dataclasses.replace(outputs[1], content=b"three"),), state=two)
    assert caplog.messages == [f"{states.path}: {DELETED}", f"{two.folder}: {DELETED}"]


async def test_a_state_folder_that_another_process_has_made_again_and_holds_is_refused(site):
    with site.hold() as state:
        await apply(site.outputs(b"one"), state=state)
        state.locks.close()  # a ctemplate of another state folder's version would not look beside the destination
        shutil.rmtree(site.folder / "state")
        with site.hold(), pytest.raises(SwapFailed) as caught:
            await apply(site.outputs(b"two"), state=state)
        assert str(caught.value) == (
            f"{site.path}: is held by another ctemplate, pid {os.getpid()}; the live file is untouched"
        )
        assert await apply(site.outputs(b"two"), state=state) is Outcome.APPLIED


async def test_a_state_folder_that_others_could_exchange_is_not_made_again(site):
    home = site.folder / "home"
    home.mkdir()
    with StateFolder(home / "state").hold(site.group) as state:
        shutil.rmtree(home / "state")
        home.chmod(0o777)
        with pytest.raises(SwapFailed, match=r"is writable by everybody, who could put something else into"):
            await apply(site.outputs(b"one"), state=state)
        assert (site.path.exists(), (home / "state").exists()) == (False, False)


@pytest.mark.parametrize(
    ("happened", "configuration", "current", "left"),
    [
        pytest.param(None, "/c.toml", (), True, id="moved away"),
        pytest.param(None, "/c.toml", ("live",), False, id="still written"),
        pytest.param(None, "/c.toml", ("link",), False, id="still written, by another path"),
        pytest.param(None, "/other.toml", (), False, id="of another configuration"),
        pytest.param(None, "", (), False, id="of nobody knows which"),
        pytest.param("unlink", "/c.toml", (), False, id="removed"),
        pytest.param("edit", "/c.toml", (), False, id="edited"),
        pytest.param("lock", "/c.toml", (), False, id="held by another process"),
    ],
)
def test_files_that_are_left_are_those_that_stand_as_this_configuration_wrote_them(
    tmp_path, happened, configuration, current, left
):
    live, state = tmp_path / "live", tmp_path / "state"
    (tmp_path / "link").symlink_to(live)
    live.write_bytes(b"one")
    group = Group(name="group", targets=(Target(destination=live),))
    with StateFolder(state, "/c.toml").hold(group) as held:
        record = Accepted(sha256=fingerprint(b"one"), size=3, mode=0o644, uid=0, gid=0, at=0.0)
        held.ledger.settle("applied", owes_reload=False, records={str(live): record})
    with contextlib.ExitStack() as stack:
        if happened == "unlink":
            live.unlink()
        elif happened == "edit":
            live.write_bytes(b"by hand")
        elif happened == "lock":
            locks = stack.enter_context(contextlib.closing(DestinationLocks()))
            locks.take(live)
        found = former_files(state, configuration, [tmp_path / name for name in current])
    assert found == ((live,) if left else ())


@pytest.mark.parametrize("is_there", [True, False])
def test_a_journal_that_cannot_be_removed_is_a_warning_where_there_is_one(tmp_path, monkeypatch, caplog, is_there):
    def refuse(path, **_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    path = tmp_path / "journal"
    if is_there:
        path.write_bytes(b"")
    monkeypatch.setattr(Path, "unlink", refuse)  # a read-only file system says so of a missing file, too
    Journal(path).remove()
    assert caplog.messages == ([f"{path}: cannot be removed: Read-only file system"] if is_there else [])
