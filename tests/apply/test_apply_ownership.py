import os
import re
import stat
import subprocess
import sys

import pytest

from ctemplate.apply import StateFolder, apply, read_ledger
from ctemplate.apply.journal import Journal
from ctemplate.apply.restored import read_restoration
from ctemplate.core.errors import StateError, SwapFailed
from ctemplate.system.files import resolved
from ctemplate.system.ownership import path_steps, read_private

NOBODY = 65534


def lower(path, mode, owner=None):
    path.mkdir()
    path.chmod(mode)
    if owner is not None:
        os.chown(path, owner, owner)
    return path


def their_link(path, target):
    path.symlink_to(target)
    os.lchown(path, NOBODY, NOBODY)
    return path


def test_steps_follow_links_and_end_where_nothing_stands(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "absolute").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "relative").symlink_to("../real")
    seen = [step.path for step in path_steps(tmp_path / "absolute" / "relative" / "gone" / "x")]
    below = [str(path.relative_to(tmp_path)) for path in seen if path.is_relative_to(tmp_path) and path != tmp_path]
    assert below == ["absolute", "real", "real/relative", "real"]


def test_looping_links_are_an_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        list(path_steps(tmp_path / "a" / "x"))


@pytest.mark.parametrize(
    ("mode", "who"), [(0o777, "everybody"), (0o775, "group daemon"), (0o1777, None), (0o1775, None), (0o755, None)]
)
@pytest.mark.needs_root
def test_a_folder_above_that_others_may_change_is_refused(tmp_path, mode, who):
    above = lower(tmp_path / "above", mode)
    os.chown(above, 0, 1)
    above.chmod(mode)
    state = above / "state"
    if who is None:
        StateFolder(state)
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        return
    with pytest.raises(StateError) as caught:
        StateFolder(state)
    said = f"{above}: is writable by {who}, who could put something else into {state}; choose another state folder"
    assert str(caught.value) == said
    assert not state.exists()


@pytest.mark.needs_root
def test_a_state_folder_that_its_group_may_change_is_refused(tmp_path):
    state = lower(tmp_path / "state", 0o770)
    os.chown(state, 0, 1)
    with pytest.raises(StateError) as caught:
        StateFolder(state)
    assert str(caught.value) == f"{state}: is writable by group daemon; give it mode 0700"


@pytest.mark.needs_root
@pytest.mark.parametrize("gid", [0, 54321], ids=["root's own group", "a group without a name"])
def test_a_group_without_others_is_no_danger(tmp_path, gid):
    state = lower(tmp_path / "state", 0o770)
    os.chown(state, 0, gid)
    StateFolder(state)


@pytest.mark.needs_root
@pytest.mark.parametrize("place", ["state", "above"])
def test_a_folder_of_another_user_is_refused(tmp_path, place):
    above = lower(tmp_path / "above", 0o755, NOBODY if place == "above" else None)
    state = lower(above / "state", 0o700, NOBODY if place == "state" else None)
    where = above if place == "above" else state
    with pytest.raises(StateError) as caught:
        StateFolder(state)
    assert str(caught.value).startswith(f"{where}: belongs to user nobody, who could put something else into {state}")


@pytest.mark.needs_root
def test_a_link_of_another_user_above_the_state_folder_is_refused(tmp_path):
    sticky = lower(tmp_path / "sticky", 0o1777)
    (tmp_path / "target").mkdir()
    link = their_link(sticky / "link", tmp_path / "target")
    with pytest.raises(StateError, match=f"^{link}: belongs to user nobody"):
        StateFolder(link / "state")
    assert list((tmp_path / "target").iterdir()) == []


@pytest.mark.needs_root
@pytest.mark.parametrize("mode", [0o1777, 0o777, 0o1775])
def test_a_link_that_others_put_at_a_destination_is_not_followed(site, mode):
    etc = site.folder / "etc"
    os.chown(etc, 0, 1)
    etc.chmod(mode)
    target = site.folder / "secret"
    target.write_bytes(b"theirs")
    their_link(site.path, target)
    who = "everybody" if mode & 0o002 else "group daemon"
    with pytest.raises(StateError) as caught, site.hold():
        pass
    what = f"link of user nobody in a folder that is writable by {who}; it is not followed"
    assert str(caught.value) == f"{site.path}: cannot be used: {what}"
    assert target.read_bytes() == b"theirs"


@pytest.mark.needs_root
async def test_a_link_that_comes_later_is_not_followed_either(site):
    (site.folder / "etc").chmod(0o1777)
    await site.apply(b"one")
    with site.hold() as state:
        site.path.unlink()
        their_link(site.path, site.folder / "secret")
        with pytest.raises(SwapFailed, match="it is not followed"):
            await apply(site.outputs(b"two"), state=state, check=site.program, reload=site.program)
    assert not (site.folder / "secret").exists()


@pytest.mark.needs_root
@pytest.mark.parametrize(("mode", "owner"), [(0o755, 0), (0o755, NOBODY), (0o1777, NOBODY)])
def test_links_in_folders_of_their_owner_are_followed(tmp_path, mode, owner):
    folder = lower(tmp_path / "folder", mode, owner)
    link = their_link(folder / "link", tmp_path / "target")
    assert resolved(link) == tmp_path / "target"


@pytest.mark.needs_root
def test_in_a_user_namespace_the_hosts_root_is_no_stranger(tmp_path):
    above = lower(tmp_path / "above", 0o755, NOBODY - 1)  # nobody in there knows this number
    script = "import sys; from pathlib import Path; from ctemplate.system.ownership import weakness; "
    script += "print(weakness(Path(sys.argv[1])))"
    argv = [sys.executable, "-c", script, above / "state"]
    inside = subprocess.run(["unshare", "-r", *argv], capture_output=True, text=True, check=False)
    if inside.returncode:
        pytest.skip("no user namespaces here")
    assert inside.stdout == "None\n"
    outside = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "belongs to user" in outside.stdout


def plant(path, kind):
    """Put in place of a private file what another user could have put there; return what is said of it."""
    path.write_bytes(b"theirs")
    path.chmod(0o600)
    if kind == "of another user":
        os.chown(path, NOBODY, NOBODY)
        return "belongs to user nobody"
    if kind == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
        return "is a link"
    if kind == "writable by others":
        path.chmod(0o602)
        return "others may write it (mode 0602)"
    path.unlink()
    os.mkfifo(path, 0o600)
    return "not a regular file"


PLANTED = ["of another user", "link", "writable by others", "fifo"]


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", PLANTED)
def test_a_private_file_that_others_could_have_written_is_not_read(tmp_path, kind):
    said = plant(tmp_path / "file", kind)
    with pytest.raises(OSError, match=re.escape(said)):
        read_private(tmp_path / "file")


@pytest.mark.needs_root
def test_a_private_file_of_its_folders_owner_is_read(tmp_path):
    folder = lower(tmp_path / "theirs", 0o700, NOBODY)
    plant(folder / "file", "of another user")
    assert read_private(folder / "file") == b"theirs"


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", PLANTED)
def test_a_ledger_a_journal_and_a_restoration_that_others_could_have_written_are_unknown(tmp_path, caplog, kind):
    reasons = {name: plant(tmp_path / name, kind) for name in ("ledger.json", "journal", "restored.json")}
    assert read_ledger(tmp_path / "ledger.json").owes_reload
    assert Journal(tmp_path / "journal").read().files == ()
    assert read_restoration(tmp_path).templates == ""
    for name, reason in reasons.items():
        assert f"{tmp_path / name}: cannot be read: {reason}; " in caplog.text


@pytest.mark.needs_root
def test_a_link_of_another_user_as_state_folder_is_not_to_be_given_a_mode(tmp_path):
    sticky = lower(tmp_path / "sticky", 0o1777)
    link = their_link(sticky / "state", lower(tmp_path / "target", 0o700))
    with pytest.raises(StateError, match=f"^{link}: belongs to user nobody, who could put something else into {link}"):
        StateFolder(link)
