import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from model_program import Site

from ctemplate.apply import StateFolder, apply, locks
from ctemplate.apply.locks import StateLocks, lock_beside
from ctemplate.core.errors import StateError, SwapFailed
from ctemplate.core.model import Outcome
from ctemplate.system.files import candidate_path

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


@contextlib.contextmanager
def other_process(state, *paths, source=HOLDER):
    """Another process, with another state folder, that holds the paths until the block ends or it is killed."""
    argv = [sys.executable, "-c", source, str(state), *map(str, paths)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.stdin.close()


@pytest.mark.parametrize("name", ["n.conf", "link.conf", "../linked/n.conf"])
def test_another_state_folder_does_not_help_a_second_instance(site, name):
    site.path.write_bytes(b"live")
    (site.folder / "etc" / "link.conf").symlink_to("n.conf")
    (site.folder / "linked").symlink_to("etc")
    with other_process(site.folder / "elsewhere", site.folder / "etc" / name) as holder:
        with pytest.raises(StateError) as caught, site.hold():
            pass
        assert str(caught.value) == f"{site.path}: is held by another ctemplate, pid {holder.pid}"


STARTING = """
import os, time
parent = os.getpid()
if not os.fork():  # what a command is before its program runs: it has all descriptors
    while os.getppid() == parent:
        time.sleep(0.01)
    time.sleep(0.3)
    os._exit(0)
"""


@pytest.mark.parametrize("folder", ["elsewhere", "state"])
def test_a_command_that_a_killed_instance_was_starting_holds_its_locks_for_a_moment_only(site, folder, monkeypatch):
    monkeypatch.setattr(locks, "START_SECONDS", 60.0)
    held = HOLDER.replace("    print", textwrap.indent(STARTING, "    ") + "    print")
    with other_process(site.folder / folder, site.path, source=held) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with site.hold():
            pass


def test_a_process_that_asks_whether_a_file_is_locked_hinders_nobody(site, monkeypatch):
    monkeypatch.setattr(locks, "START_SECONDS", 60.0)
    beside = lock_beside(site.path)
    beside.touch(0o600)
    asking = os.open(beside, os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)  # as is_locked does
    closing = threading.Timer(0.2, os.close, [asking])
    closing.start()
    with site.hold():
        assert locks.is_locked(site.path)
    closing.join()


def test_what_a_killed_instance_leaves_blocks_nothing_and_is_removed(site):
    with other_process(site.folder / "elsewhere", site.path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert site.tree == [lock_beside(site.path).name]
    with site.hold():
        assert site.tree == [lock_beside(site.path).name]
    assert site.tree == []


def test_neighbours_in_one_folder_do_not_hold_each_other_up(site, pair):
    with site.hold(), pair.hold():
        assert len(site.tree) == 3


def test_a_refused_hold_leaves_no_locks(pair):
    with other_process(pair.folder / "elsewhere", pair.paths[1]):
        with pytest.raises(StateError), pair.hold():
            pass
        assert pair.tree == [lock_beside(pair.paths[1]).name]
    assert pair.tree == []


async def test_a_folder_that_is_missing_is_locked_before_its_file_is_written(site):
    (site.folder / "etc").rmdir()
    with site.hold() as state:
        (site.folder / "etc").mkdir()
        with other_process(site.folder / "elsewhere", site.path) as holder:
            held = f"{site.path}: is held by another ctemplate, pid {holder.pid}; the live file is untouched"
            with pytest.raises(SwapFailed) as caught:
                await apply_with(site, state)
            assert str(caught.value) == held
        assert await apply_with(site, state) is Outcome.APPLIED
        assert site.tree == [lock_beside(site.path).name, "n.conf"]


async def apply_with(site, state):
    return await apply(site.outputs(b"one"), state=state, check=site.program, reload=site.program)


def test_a_lock_that_is_a_link_is_refused(site):
    lock = lock_beside(site.path)
    lock.symlink_to(site.folder / "target")
    with pytest.raises(StateError) as caught, site.hold():
        pass
    assert str(caught.value) == f"{lock}: cannot be used as a lock: Too many levels of symbolic links"
    assert not (site.folder / "target").exists()


@pytest.mark.needs_root
def test_a_lock_that_another_user_could_hold_for_ever_is_refused(site):
    lock = lock_beside(site.path)
    lock.write_bytes(b"")
    os.chown(lock, 65534, 65534)
    with pytest.raises(StateError) as caught, site.hold():
        pass
    assert (
        str(caught.value)
        == f"{lock}: is no lock of ours, it belongs to user nobody; remove it if no ctemplate of theirs runs"
    )


def test_candidates_of_two_processes_have_different_names(tmp_path):
    ask = "from pathlib import Path; from ctemplate.system.files import candidate_path; import sys; "
    ask += "print(candidate_path(Path(sys.argv[1])))"
    argv = [sys.executable, "-c", ask, tmp_path / "n"]
    other = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    assert other != str(candidate_path(tmp_path / "n"))


def test_two_state_folders_for_different_files_are_fine(tmp_path):
    first, second = Site(tmp_path, "a.conf"), Site(tmp_path, "b.conf")
    with first.hold(), StateFolder(tmp_path / "other").hold(second.group):
        pass


async def test_a_removed_lock_is_made_again_before_a_file_is_written(site):
    with site.hold() as state:
        lock_beside(site.path).unlink()
        assert await apply(site.outputs(b"one"), state=state, check=site.program) is Outcome.APPLIED
        assert site.tree == [lock_beside(site.path).name, "n.conf"]
        lock_beside(site.path).unlink()
        with other_process(site.folder / "elsewhere", site.path) as holder:
            with pytest.raises(SwapFailed, match=f"pid {holder.pid}; the live file is untouched$"):
                await apply(site.outputs(b"two"), state=state, check=site.program)
            state.locks.close()
            assert site.tree == [lock_beside(site.path).name, "n.conf"]  # theirs
    assert site.live == (b"one",)


def test_a_lock_on_a_read_only_file_system_is_taken_where_its_file_is_there(tmp_path, monkeypatch):
    real_open, path = os.open, tmp_path / "a.lock"

    def read_only(path, flags, *mode):
        if flags & (os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real_open(path, flags, *mode)

    path.write_text("1\n")
    monkeypatch.setattr(os, "open", read_only)
    with contextlib.closing(StateLocks()) as held, contextlib.closing(StateLocks()) as other:
        held.take(path, "/etc/a")
        with pytest.raises(StateError, match="is held by another ctemplate, pid 1"):
            other.take(path, "/etc/a")
        with pytest.raises(OSError, match="Read-only file system"):
            other.take(tmp_path / "missing.lock", "/etc/b")
    assert path.read_text() == "1\n"
