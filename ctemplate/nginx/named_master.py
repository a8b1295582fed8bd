"""Take the arguments of an nginx from the running master, where a reload command names a pid file or a service.

Such a command says nothing of a configuration: the master that it signals reads the one that it was started with. Must
not know checks or reloads.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ctemplate.nginx.command import NginxCommand
from ctemplate.nginx.master import DELETED, PROC, Process, process_of, title_of, uid_of, without_forks
from ctemplate.nginx.titles import Arguments, arguments_of, is_cut, is_in_a_namespace, is_nginx_title, pid_in


def named_command(command: NginxCommand, *, proc: Path = PROC) -> NginxCommand | None:
    """Return a command with the program and arguments of the master that it names; None where these are unknown.

    A title is believed of root's processes and our own: any other user could have started a process with that title
    under a pid that a stale file holds.
    """
    pid = pid_in(command.follows) if command.follows is not None else ""
    return None if isinstance(pid, str) else _command_of(pid, command, proc)


def service_commands(command: NginxCommand, *, proc: Path = PROC) -> list[tuple[Process, NginxCommand]]:
    """Return the running masters of a service's program, each with the command as that master was started."""
    return [each for each in _masters(command, proc) if is_run_by(each[1].program, command.program)]


def other_commands(command: NginxCommand, *, proc: Path = PROC) -> list[tuple[Process, NginxCommand]]:
    """Return the running masters of other executables, such as one named after its version, likewise."""
    return [each for each in _masters(command, proc) if not is_run_by(each[1].program, command.program)]


def _masters(command: NginxCommand, proc: Path) -> list[tuple[Process, NginxCommand]]:
    found: list[tuple[Process, NginxCommand]] = []
    for pid in sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal()):
        process, started = process_of(pid, proc=proc), _command_of(pid, command, proc)
        if process is not None and started is not None:
            found.append((process, started))
    masters = without_forks([process for process, _ in found], proc=proc)
    return [(process, started) for process, started in found if process in masters]


def is_run_by(executable: str, program: str) -> bool:
    """Whether an executable is a program's, by its name or because the program's path links to it, as OpenResty's."""
    if "/" not in program and PurePosixPath(executable).name == program:
        return True
    wanted, runs = shutil.which(program), shutil.which(executable)
    return wanted is not None and runs is not None and Path(wanted).resolve() == Path(runs).resolve()


def _command_of(pid: int, command: NginxCommand, proc: Path) -> NginxCommand | None:
    try:
        title = title_of(pid, proc=proc)
        arguments = arguments_of(title, is_cut=is_cut(pid, title, proc)) if is_nginx_title(title) else None
        if arguments is None or arguments.is_cut or is_in_a_namespace(pid, proc):
            return None
        if uid_of(pid, proc=proc) not in {0, os.geteuid()}:
            return None
        return _with(command, arguments, proc / str(pid))
    except (OSError, ValueError):
        return None


def _with(command: NginxCommand, arguments: Arguments, process: Path) -> NginxCommand:
    """Return a command with a master's arguments; raises OSError where its working folder is needed and not known."""
    prefix = arguments.prefix
    return replace(
        command,
        program=_program(arguments.program, process),
        prefix=prefix if prefix is None or Path(prefix).is_absolute() else f"{_folder(process)}/{prefix}",
        conf=arguments.conf,
        globals=arguments.globals,
        error_log=arguments.error_log,
    )


def _program(given: str, process: Path) -> str:
    """Return the executable that a master runs, or the name that it was started with where that has gone."""
    try:
        runs = str((process / "exe").readlink())
    except OSError:
        runs = DELETED
    if not runs.endswith(DELETED):
        return runs
    return given if given.startswith("/") or "/" not in given else f"{_folder(process)}/{given}"


def _folder(process: Path) -> Path:
    return (process / "cwd").readlink()
