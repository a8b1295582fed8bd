"""Read facts about the host for the doctor: nginx, its configuration, folders, owners, locks. Writes nothing.

The I/O edge of ``nginx`` and ``places``; nginx's own check makes a private temporary folder and removes it.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ctemplate.apply.locks import lock_beside
from ctemplate.apply.state import lock_file
from ctemplate.config.groups import STDOUT, GroupPlan, TemplatePlan
from ctemplate.core.errors import CannotJudge, CtemplateError
from ctemplate.core.model import StagedFile
from ctemplate.doctor.nginx import STREAM_MODULE, NginxFacts, Stream, stream_of
from ctemplate.doctor.places import DestinationFacts, FolderFacts, StateFacts
from ctemplate.nginx.check import NginxCheck
from ctemplate.nginx.command import Installation
from ctemplate.nginx.groups import is_proven
from ctemplate.nginx.identity import FoundMaster, find_master
from ctemplate.nginx.language.includes import Role, Tree, TreeError, load_tree
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.lookup import Lookup
from ctemplate.nginx.master import NoMaster, Process
from ctemplate.nginx.settings import settings
from ctemplate.nginx.unread import unread_files
from ctemplate.system.files import candidate_path
from ctemplate.system.inputs import read_input
from ctemplate.system.ownership import weakness
from ctemplate.system.programs import argv_of, format_command
from ctemplate.system.rights import foreign_owner
from ctemplate.template.language.source_text import TEMPLATE_LIMIT_BYTES as TEMPLATE_LIMIT

KERNEL_LOCKS = Path("/proc/locks")
SELINUX = Path("/sys/fs/selinux/enforce")
_STREAM_BLOCK = re.compile(rb"^\s*stream\s*\{", re.MULTILINE)


async def nginx_facts(nginx: Lookup, plan: GroupPlan) -> NginxFacts:
    """Return the facts about one nginx and its live configuration; raises CommandFailed when it cannot be run."""
    installation, command = await nginx.installation(), nginx.command
    tree = await asyncio.to_thread(_tree, installation)
    refusal, warnings = await _checked(nginx, installation.conf, tree)
    master = _master(tree, installation) if isinstance(tree, Tree) and is_proven(plan.settings) else None
    return NginxFacts(
        name=command.program,
        version=installation.build.version,
        conf=str(installation.conf),
        stream=stream_facts(installation),
        wants_stream=any(_has_stream(template) for template in plan.templates),
        tree=tree if isinstance(tree, Tree) else None,
        refusal=refusal,
        warnings=warnings,
        unread=await asyncio.to_thread(_unread, tree, installation, plan) if isinstance(tree, Tree) else (),
        unwritten=tuple(
            str(one.destination) for one in plan.templates if one.each is None and not one.destination.exists()
        ),
        master=master,
        may_signal=command.announce is not None or not isinstance(master, FoundMaster) or may_signal(master.process),
    )


def _unread(tree: Tree, installation: Installation, plan: GroupPlan) -> tuple[str, ...]:
    """Return the destinations that a configuration does not read.

    A file that does not exist yet is left out if the group also writes a file that is read: that one may name it then.
    """
    files = [one.destination.absolute() if one.each is None else one.each.stand_in for one in plan.templates]
    found = unread_files(tree, installation, [file for file in files if file.name != str(STDOUT)])
    may_be_named = any(tree.role(file) is not Role.UNUSED for file in files)
    return tuple(str(file) for file in found if file.exists() or not may_be_named)


def _tree(installation: Installation) -> Tree | CtemplateError | None:
    """Return the live configuration, the reason why it cannot be read, or None if it does not exist."""
    if not installation.conf.exists():
        return None
    try:
        return load_tree(installation.conf)
    except (TreeError, NginxSyntaxError) as exc:
        return CtemplateError(exc.where, exc.what)


async def _checked(
    nginx: Lookup, conf: Path, tree: Tree | CtemplateError | None
) -> tuple[CtemplateError | None, tuple[str, ...]]:
    """Check the live configuration in the way a candidate is checked, with the live pid file and logs kept apart.

    Return nginx's refusal and its warnings. Where that is impossible, check the live configuration in place.
    """
    if not isinstance(tree, Tree):
        return tree, ()
    check = NginxCheck(nginx=nginx)
    try:
        with tempfile.NamedTemporaryFile(prefix="ctemplate-doctor-") as copy:
            copy.write(tree.sources[tree.main])
            copy.flush()
            return None, await check.check((StagedFile(candidate=Path(copy.name), live=conf),))
    except (CannotJudge, OSError):
        pass  # no way, or no room for the copy
    except CtemplateError as exc:
        return exc, ()
    try:
        return None, await check.check((StagedFile(candidate=conf, live=conf),))
    except CtemplateError as exc:
        return exc, ()


def may_signal(process: Process) -> bool:
    """Return whether we may send a signal to a process; True if the process has ended."""
    try:
        os.kill(process.pid, 0)
    except PermissionError:
        return False
    except ProcessLookupError:
        pass
    return True


def stream_facts(installation: Installation) -> Stream:
    """Return whether an nginx has the stream module."""
    is_built_in, is_module = stream_of(installation.build.arguments)
    folder = installation.build.options.get("modules-path", "modules")
    module = installation.resolved(folder) / STREAM_MODULE
    return Stream(is_built_in=is_built_in, module=str(module) if is_module else None, exists=module.exists())


def _has_stream(plan: TemplatePlan) -> bool:
    text = read_input(plan.source, limit_bytes=TEMPLATE_LIMIT) if plan.contents is None else plan.contents.encode()
    return _STREAM_BLOCK.search(text) is not None


def _master(tree: Tree, installation: Installation) -> FoundMaster | NoMaster | CtemplateError:
    known = (settings(tree, installation).pid_file, installation.command.pid_file, installation.default_pid_file)
    pid_files = [path for path in known if path is not None]
    try:
        return find_master(installation, pid_files)
    except CtemplateError as exc:
        return exc


def missing_programs(plan: GroupPlan) -> tuple[str, ...]:
    """Return the group's commands whose program does not exist; a shell's line is not looked into."""
    commands = [each for each in (plan.settings.check, plan.settings.reload) if each]
    return tuple(format_command(each) for each in commands if shutil.which(argv_of(each)[0]) is None)


def destination_facts(plan: TemplatePlan, *, state_dir: Path, trees: Iterable[Tree]) -> DestinationFacts | None:
    """Return the facts about a template's destination; None for a template that is only printed."""
    if plan.destination == STDOUT:
        return None
    path = plan.destination.absolute()
    real = Path(os.path.realpath(path))
    holder, ours = _holder(lock_beside(real)), _holder(lock_file(state_dir, str(real)))
    return DestinationFacts(
        path=path,
        real=real,
        kind=_kind(real),
        folder=folder_facts(real.parent),
        owner_fault=_owner_fault(plan, real),
        caught_by=_caught_by(real, trees),
        holder=holder or ours,
        is_held_by_ours=bool(ours) and holder in {"", ours},
    )


def _caught_by(real: Path, trees: Iterable[Tree]) -> tuple[str, ...]:
    """Return nginx's includes that would match a candidate's name."""
    candidate = candidate_path(real)
    return tuple(f"{include.place}: {include.argument}" for tree in trees for include in tree.would_include(candidate))


def _kind(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return "nothing"
    except OSError as exc:
        return f"out of reach: {(exc.strerror or str(exc)).lower()}"
    if stat.S_ISREG(mode):
        return "file"
    return "a folder" if stat.S_ISDIR(mode) else "no regular file"


def folder_facts(path: Path) -> FolderFacts:
    """Return the facts about a folder, or about its nearest parent that exists."""
    existing = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
    is_folder = existing.is_dir()
    return FolderFacts(
        path=path,
        existing=existing,
        is_folder=is_folder,
        is_writable=is_folder and os.access(existing, os.W_OK | os.X_OK),
        free_bytes=shutil.disk_usage(existing).free if is_folder else 0,
    )


def state_facts(path: Path) -> StateFacts:
    """Return the facts about the state folder."""
    folder = folder_facts(path)
    mode = path.stat().st_mode if folder.existing == path else 0
    is_open = mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH
    try:
        found = weakness(path.absolute())
    except OSError:  # symbolic links that form a loop: no owner can be determined
        found = None
    return StateFacts(folder=folder, is_open=is_open, weakness=f"{found[0]} {found[1]}" if found else "")


def _owner_fault(plan: TemplatePlan, real: Path) -> str:
    """Return why the new file cannot get its owner (by default that of the existing file); empty if it can."""
    try:
        live = real.stat()
    except OSError:
        live = None
    uid, gid = (live.st_uid, live.st_gid) if live is not None else (os.geteuid(), os.getegid())
    try:
        uid = uid if plan.user is None else pwd.getpwnam(plan.user).pw_uid
    except KeyError:
        return f"no user named {plan.user!r}"
    try:
        gid = gid if plan.owner_group is None else grp.getgrnam(plan.owner_group).gr_gid
    except KeyError:
        return f"no group named {plan.owner_group!r}"
    return foreign_owner(uid, gid, is_kept=live is not None and (uid, gid) == (live.st_uid, live.st_gid))


def _holder(lock: Path) -> str:
    """Return the holder of a lock from the kernel's list: taking the lock to find out could disturb another process."""
    try:
        status, locks = lock.stat(), KERNEL_LOCKS.read_text(errors="replace")
    except OSError:
        return ""
    inode = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    held = [line.split() for line in locks.splitlines() if " FLOCK " in line and inode in line.split()]
    return f"process {held[0][4]}" if held else ""


def selinux_mode() -> str:
    """Return the kernel's SELinux mode, empty without SELinux."""
    try:
        return SELINUX.read_text()
    except OSError:
        return ""
