import contextlib
import dataclasses
import errno
import os
import stat

import pytest
from model_program import Site

from ctemplate.apply import Step
from ctemplate.core.errors import ReloadRejected, SwapFailed
from ctemplate.core.model import Outcome, Target
from ctemplate.system.files import TOKEN, candidate_path


def with_target(site, **changes):
    target = dataclasses.replace(site.group.targets[0], **changes)
    site.group = dataclasses.replace(site.group, targets=(target,))
    return site


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        pytest.param(None, None, 0o644, id="new file"),
        pytest.param(0o600, None, 0o600, id="live mode is kept"),
        pytest.param(0o600, 0o640, 0o640, id="asked for"),
        pytest.param(None, 0o666, 0o666, id="umask does not count"),
    ],
)
async def test_the_mode_of_a_written_file(site, live, wanted, expected):
    if live is not None:
        site.path.write_bytes(b"old")
        site.path.chmod(live)
    await with_target(site, mode=wanted).apply(b"one")
    assert mode_of(site.path) == expected


async def test_a_mode_that_alone_is_wrong_is_mended_in_place_without_commands(site):
    await site.apply(b"one")
    inode = site.path.stat().st_ino
    assert await with_target(site, mode=0o600).apply(b"one") is Outcome.APPLIED
    assert (mode_of(site.path), site.path.stat().st_ino) == (0o600, inode)
    assert (len(site.program.checks), site.program.reloads) == (1, 1)
    assert await site.apply(b"one") is Outcome.UNCHANGED


async def test_a_mended_mode_is_rolled_back_with_its_group(pair):
    await pair.apply(b"a1", b"b1")
    first = dataclasses.replace(pair.group.targets[0], mode=0o600)
    pair.group = dataclasses.replace(pair.group, targets=(first, pair.group.targets[1]))
    with pytest.raises(ReloadRejected):
        await pair.apply(b"a1", b"port in use")
    assert mode_of(pair.paths[0]) == 0o644


@pytest.mark.parametrize(
    ("owner", "message"),
    [
        pytest.param({"user": "nope"}, "user 'nope' does not exist; the live file is untouched", id="user"),
        pytest.param(
            {"user": "4294967295"}, "user '4294967295' does not exist; the live file is untouched", id="number"
        ),
        pytest.param({"group": "nope"}, "group 'nope' does not exist; the live file is untouched", id="group"),
    ],
)
async def test_an_unknown_owner_is_an_error(site, owner, message):
    site.path.write_bytes(b"old")
    with pytest.raises(SwapFailed) as caught:
        await with_target(site, **owner).apply(b"one")
    assert str(caught.value) == f"{site.path}: {message}"
    assert site.live == (b"old",)


async def test_owners_are_names_or_numbers(site):
    status = site.folder.stat()
    await with_target(site, user=str(status.st_uid), group=str(status.st_gid)).apply(b"one")
    assert (site.path.stat().st_uid, site.path.stat().st_gid) == (status.st_uid, status.st_gid)


async def test_missing_folders_are_created(tmp_path):
    site = Site(tmp_path)
    path = site.folder / "etc" / "a" / "b" / "n.conf"
    site.group = dataclasses.replace(site.group, targets=(Target(destination=path),))
    await site.apply(b"one", reload=None)
    assert path.read_bytes() == b"one"
    assert [mode_of(parent) for parent in (path.parent, path.parent.parent)] == [0o755, 0o755]


@pytest.mark.parametrize("is_dangling", [False, True])
async def test_a_symbolic_link_is_followed_and_stays(site, is_dangling):
    real = site.folder / "real" / "n.conf"
    real.parent.mkdir()
    if not is_dangling:
        real.write_bytes(b"old")
    site.path.symlink_to(real)
    await site.apply(b"one")
    assert site.path.is_symlink()
    assert real.read_bytes() == b"one"
    assert [file.candidate for file in site.program.checks[0]] == [candidate_path(real)]
    assert [file.live for file in site.program.checks[0]] == [site.path]
    assert await site.apply(b"one") is Outcome.UNCHANGED


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda path: path.mkdir(), "cannot be read: Is a directory", id="folder"),
        pytest.param(os.mkfifo, "cannot be read: Not a regular file", id="pipe"),
    ],
)
async def test_a_destination_that_is_no_file_is_an_error(site, make, message):
    site.program.paths = ()
    make(site.path)
    with pytest.raises(SwapFailed) as caught:
        await site.apply(b"one")
    assert str(caught.value) == f"{site.path}: {message}"


async def test_a_folder_that_is_a_file_is_an_error(site):
    (site.folder / "etc" / "file").write_bytes(b"")
    path = site.folder / "etc" / "file" / "n.conf"
    site.group = dataclasses.replace(site.group, targets=(Target(destination=path),))
    with pytest.raises(SwapFailed, match=r"n\.conf: cannot be read: Not a directory$"):
        await site.apply(b"one")


async def test_extended_attributes_are_kept(site):
    site.path.write_bytes(b"old")
    os.setxattr(site.path, "user.origin", b"hand")
    await site.apply(b"one")
    assert os.getxattr(site.path, "user.origin") == b"hand"
    with pytest.raises(ReloadRejected):
        await site.apply(b"port in use")
    assert os.getxattr(site.path, "user.origin") == b"hand"


@pytest.fixture(params=["EBUSY", "EXDEV"])
def no_rename(request, monkeypatch):
    """The kernel refuses to rename over files in etc/, as it does for a bind-mounted one."""
    replace, number = os.replace, getattr(errno, request.param)

    def refuse(source, target):
        if "/etc/" in str(target):
            raise OSError(number, os.strerror(number), str(source), None, str(target))
        replace(source, target)

    @contextlib.contextmanager
    def refusing():
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", refuse)
            yield os.strerror(number)

    return refusing


async def test_where_a_rename_cannot_work_the_file_is_written_in_place(site, no_rename, caplog):
    site.path.write_bytes(b"something longer")
    inode = site.path.stat().st_ino
    with no_rename() as reason:
        assert await site.apply(b"one") is Outcome.APPLIED
    assert (site.live, site.path.stat().st_ino, site.tree) == ((b"one",), inode, ["n.conf"])
    assert caplog.messages == [f"{site.path}: cannot be renamed over ({reason}); written in place"]


async def test_a_write_in_place_is_under_the_journal_even_without_a_reload(site, no_rename):
    site.path.write_bytes(b"old")
    steps = []
    with no_rename():
        await site.apply(b"one", reload=None, observe=steps.append)
    assert steps.index(Step.JOURNALED) < steps.index(Step.SWAPPING)


async def test_a_write_in_place_is_rolled_back_in_place(site, no_rename):
    site.path.write_bytes(b"old")
    inode = site.path.stat().st_ino
    with no_rename(), pytest.raises(ReloadRejected):
        await site.apply(b"port in use")
    assert (site.live, site.path.stat().st_ino, site.tree) == ((b"old",), inode, ["n.conf"])


def test_a_candidates_name_is_hidden_and_fits(tmp_path):
    assert candidate_path(tmp_path / "nginx.conf").name == f".nginx.conf.ctemplate-{TOKEN}"
    assert len(candidate_path(tmp_path / ("x" * 255)).name) <= 255
    assert candidate_path(tmp_path / ("x" * 254 + "a")) != candidate_path(tmp_path / ("x" * 254 + "b"))


async def test_what_is_replaced_stays_beside_the_file_where_that_is_asked_for(site):
    with_target(site, has_backup=True)
    await site.apply(b"one")
    assert site.tree == ["n.conf"]
    await site.apply(b"two")
    await site.apply(b"two")
    assert site.tree == ["n.conf", "n.conf.bak"]
    assert site.path.with_name("n.conf.bak").read_bytes() == b"one"
    await site.apply(b"three")
    assert site.path.with_name("n.conf.bak").read_bytes() == b"two"
    with pytest.raises(ReloadRejected):
        await site.apply(b"port")
    assert site.live == (b"three",)


async def test_a_missing_folder_is_an_error_where_it_is_not_to_be_made(site):
    path = site.folder / "missing" / "n.conf"
    with_target(site, destination=path, makes_folder=False)
    with pytest.raises(
        SwapFailed, match="its folder is missing, and create_dest_dirs is false; the live file is untouched"
    ):
        await site.apply(b"one")
    assert not path.parent.exists()
