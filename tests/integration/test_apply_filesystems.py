"""Full or read-only disks, files that cannot be replaced, and users without rights: the old file stays.

Tests that need a mount run in their own mount namespace. If this machine allows none, the kernel's file size limit
replaces the full disk, and a rename that answers like the kernel replaces the bind mount.
"""

import json
import os
import pwd
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("apply_driver.py")
ROOT = DRIVER.parents[2]
LIMITED = "ulimit -f 4000"  # blocks of 512 bytes


def unshare():
    """Return the command that gives a program its own mounts, or nothing where that is not allowed."""
    for prefix in (["unshare", "-m"], ["unshare", "-rm"]):
        probe = [*prefix, "mount", "-t", "tmpfs", "none", "/mnt"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return prefix
    return None


UNSHARE = unshare()


@pytest.fixture
def site(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "n.conf").write_text("old\n")
    return tmp_path


def driver(site, *rounds, destination=None, **options):
    spec = {
        "state": str(site / "state"),
        "destinations": [str(destination or site / "etc" / "n.conf")],
        "rounds": [[content] for content in rounds],
    } | options
    (site / "spec.json").write_text(json.dumps(spec))
    return [sys.executable, str(DRIVER), str(site / "spec.json")]


def run(argv, before="true", after="true", **options):
    """Run the driver between two shell commands, with mounts of its own where it may have them."""
    script = f"{before} && {shlex.join(argv)}; {after}"
    ended = subprocess.run(
        [*(UNSHARE or []), "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        **options,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


def test_a_bind_mounted_file_is_written_in_place_with_a_warning(site):
    live = site / "etc" / "n.conf"
    mounted = site / "mounted.conf"
    mounted.write_text("something longer than the new text\n")
    inode = mounted.stat().st_ino
    mount = f"mount --bind {mounted} {live}"
    if not UNSHARE:
        mounted, mount, inode = live, "true", live.stat().st_ino
    argv = driver(site, "new\n", reload="true", refuse_rename=not UNSHARE)
    ended = run(argv, mount, f"cat {live}")
    assert ended.stdout == "ready\napplied\nnew\n"
    assert ended.stderr == f"{live}: cannot be renamed over (Device or resource busy); written in place\n"
    assert (mounted.read_text(), mounted.stat().st_ino) == ("new\n", inode)
    assert [path.name for path in (site / "etc").iterdir()] == ["n.conf"]


def test_a_bind_mounted_file_is_rolled_back_in_place(site):
    live = site / "etc" / "n.conf"
    mounted = site / "mounted.conf"
    mounted.write_text("old\n")
    mount = f"mount --bind {mounted} {live}" if UNSHARE else "true"
    ended = run(driver(site, "new\n", reload="false", refuse_rename=not UNSHARE), mount, f"cat {live}")
    assert ended.stdout == "ready\nfalse: exit status 1; the live file is rolled back, its reload is pending\nold\n"
    assert mounted.read_text() == "old\n"


def test_a_kill_in_the_middle_of_a_bind_mounted_file_is_put_right(site):
    live = site / "etc" / "n.conf"
    mounted = site / "mounted.conf"
    mounted.write_text("old\n")
    mount = f"mount --bind {mounted} {live}" if UNSHARE else "true"
    options = {"reload": "true", "refuse_rename": not UNSHARE}
    run(driver(site, "new\n", kill="swapping", **options), mount)
    ended = run(driver(site, **options), mount, f"cat {live}")
    assert ended.stdout == "ready\nold\n"


BIG = "x" * 3_000_000


def test_a_full_disk_leaves_the_old_file(site):
    live = site / "etc" / "n.conf"
    if UNSHARE:
        before = f"mount -t tmpfs -o size=2m none {live.parent} && echo old > {live}"
        reason = "No space left on device"
    else:
        before, reason = LIMITED, "File too large"
    ended = run(driver(site, BIG, "small\n"), before, f"cat {live}; ls -A {live.parent}")
    failed = f"{live}: cannot be staged: {reason}; the live file is untouched"
    assert ended.stdout == f"ready\n{failed}\napplied\nsmall\nn.conf\n"


def test_a_disk_that_fills_up_before_a_roll_back_still_gets_the_old_file_back(site):
    """The reload fills the disk and then fails: the old text has no room beside the new one."""
    live = site / "etc" / "n.conf"
    old, new = "o" * 600_000, "n" * 600_000
    live.write_text(old)
    before, reload = "true", "false"
    if UNSHARE:
        before = f"cp {live} {site}/old && mount -t tmpfs -o size=2m none {live.parent} && cp {site}/old {live}"
        reload = f"head -c 9000000 /dev/zero > {live.parent}/fill 2> /dev/null; false"
    ended = run(driver(site, new, reload=reload), before, f"rm -f {live.parent}/fill; cat {live}; ls -A {live.parent}")
    failed = f"{reload}: exit status 1; the live file is rolled back, its reload is pending"
    assert ended.stdout == f"ready\n{failed}\n{old}n.conf\n"


def test_a_full_state_folder_leaves_the_live_file_untouched(site):
    live, state = site / "etc" / "n.conf", site / "state"
    state.mkdir(mode=0o700)
    if UNSHARE:
        before = f"mount -t tmpfs -o size=256k,mode=700 none {state}"
        reason = "No space left on device"
    else:
        before, reason = LIMITED, "File too large"
    live.write_text(BIG)
    inode = live.stat().st_ino
    ended = run(driver(site, "new\n", reload="true"), before)
    assert ended.stdout.endswith(f"/journal: cannot be written: {reason}; the live file is untouched\n")
    assert (live.read_text(), live.stat().st_ino) == (BIG, inode)


def test_a_read_only_folder_leaves_the_old_file(site):
    folder = site / "etc"
    if UNSHARE:
        before = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}"
        prefix, reason = [], "Read-only file system"
    else:
        before, prefix, reason = f"chmod 555 {folder}", unprivileged(), "Permission denied"
    ended = run([*prefix, *driver(site, "new\n")], before, f"chmod 755 {folder}")
    assert ended.stdout == f"ready\n{folder}/n.conf: cannot be staged: {reason}; the live file is untouched\n"
    assert (folder / "n.conf").read_text() == "old\n"


def unprivileged():
    """Return what runs a program without root's special rights."""
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if UNSHARE or os.geteuid() == 0 else []


def test_without_privileges_files_of_ones_own_are_applied(site):
    ended = run([*unprivileged(), *driver(site, "new\n", reload="true")])
    assert ended.stdout == "ready\napplied\n"
    assert (site / "etc" / "n.conf").read_text() == "new\n"


def test_without_privileges_a_folder_that_may_not_be_written_leaves_the_old_file(site):
    folder = site / "etc"
    folder.chmod(0o555)
    ended = run([*unprivileged(), *driver(site, "new\n")])
    folder.chmod(0o755)
    assert ended.stdout == f"ready\n{folder}/n.conf: cannot be staged: Permission denied; the live file is untouched\n"
    assert (folder / "n.conf").read_text() == "old\n"


def test_without_privileges_an_owner_that_cannot_be_given_leaves_the_old_file(site):
    live = site / "etc" / "n.conf"
    owner = pwd.getpwnam("nobody").pw_uid
    ended = run([*unprivileged(), *driver(site, "new\n", user=str(owner))])
    said = "is to belong to user nobody, and only root may change the owner of a file"
    assert ended.stdout == f"ready\n{live}: {said}; the live file is untouched\n"
    assert (live.read_text(), [path.name for path in live.parent.iterdir()]) == ("old\n", ["n.conf"])
