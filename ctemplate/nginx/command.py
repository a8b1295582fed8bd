"""Find the nginx of a reload command on this host: its build, its executable, the paths of its arguments.

Runs only `nginx -V`; must not know checks, masters or logs.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from ctemplate.core.errors import CommandFailed
from ctemplate.core.values import dataclass
from ctemplate.system.programs import Completed, run_program

BUILD_TIMEOUT = 10.0
ERROR_LOG_OPTION_SINCE = (1, 19, 5)
SCRIPT = b"#!"


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxCommand:
    """An nginx as a reload command names it; None for nginx's defaults.

    ``announce`` is the command that reloads it, where a signal of our own must not do that. ``pid_file`` is the one
    that this command reads; ``follows`` is the same one, where only the master that it names shows the configuration.
    For a command that ``is_service``, only the running master of the service does. ``files`` are then those of the
    group: a master whose configuration reads none of them is another group's.
    """

    program: str
    prefix: str | None = None
    conf: str | None = None
    globals: str = ""
    error_log: str | None = None
    announce: str | tuple[str, ...] | None = None
    pid_file: Path | None = None
    follows: Path | None = None
    is_service: bool = False
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What `nginx -V` says: the version, the configure arguments, and the values of those with `--name=value`."""

    version: tuple[int, ...]
    options: Mapping[str, str]
    arguments: tuple[str, ...] = ()

    @classmethod
    def from_output(cls, text: str) -> Build:
        """Read the output of `nginx -V`; missing options count as not given."""
        version = re.search(r"version: [^/\s]+/(\d+(?:\.\d+)*)", text)
        arguments = re.search(r"^configure arguments:(.*)$", text, re.MULTILINE)
        given = shlex.split(arguments[1]) if arguments else []
        named = (argument.removeprefix("--").partition("=") for argument in given)
        return cls(
            version=tuple(int(part) for part in version[1].split(".")) if version else (),
            options={name: value for name, _, value in named if value},
            arguments=tuple(given),
        )

    @property
    def has_error_log_option(self) -> bool:
        """Whether this nginx knows `-e`."""
        return self.version >= ERROR_LOG_OPTION_SINCE


async def ask_build(program: str) -> Completed:
    """Ask a program for its build with `-V`; raises CommandFailed when it cannot be run."""
    return await run_program([program, "-V"], timeout=BUILD_TIMEOUT)


def _executable(found: Path) -> tuple[Path, bool]:
    """Return the file that a program's path leads to, and whether it is a script."""
    path = found.resolve()
    try:
        with path.open("rb") as file:
            return path, file.read(len(SCRIPT)) == SCRIPT
    except OSError:  # it may be run, but not read
        return path, False


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A command's nginx on this host: its build, its executable, and the paths of its arguments, all absolute.

    With ``is_script`` the executable is a script, which starts an nginx that is not known.
    """

    command: NginxCommand
    build: Build
    executable: Path
    is_script: bool = False

    @classmethod
    async def find(cls, command: NginxCommand) -> Installation:
        """Ask the program that a command names for its build options; raises CommandFailed when it cannot be run."""
        completed = await ask_build(command.program)
        found = shutil.which(command.program)
        if completed.status or found is None:
            what = f"exit status {completed.status}; its build cannot be known"
            raise CommandFailed(f"{command.program} -V", what, output=completed.output)
        build = Build.from_output("\n".join(completed.output))
        executable, is_script = await asyncio.to_thread(_executable, Path(found))
        return cls(command=command, build=build, executable=executable, is_script=is_script)

    @property
    def prefix(self) -> Path:
        """The folder to which the paths of logs, pid file and `-c` are relative."""
        return Path(self.command.prefix or self.build.options.get("prefix", "/usr/local/nginx")).absolute()

    @property
    def conf(self) -> Path:
        """The main configuration file."""
        return self.resolved(self.command.conf or self.build.options.get("conf-path", "conf/nginx.conf"))

    @property
    def default_pid_file(self) -> Path:
        """The pid file when no `pid` directive names one."""
        return self.resolved(self.build.options.get("pid-path", "logs/nginx.pid"))

    @property
    def default_error_log(self) -> str:
        """The error log when no `error_log` directive names one: a path or `stderr`."""
        return self.command.error_log or self.build.options.get("error-log-path", "logs/error.log")

    @property
    def default_access_log(self) -> Path:
        """The access log of an http block that names none."""
        return self.resolved(self.build.options.get("http-log-path", "logs/access.log"))

    def resolved(self, path: str) -> Path:
        """Return a path as nginx reads it, relative ones from the prefix."""
        return self.prefix / path

    def test(self, conf: Path, *, error_log: Path, directives: str) -> tuple[str, ...]:
        """Return the arguments that test a configuration as the reload command would load it.

        Early messages go to `error_log`, so that the live log stays clean; `directives` replace those of `-g`.
        """
        argv = [str(self.executable), "-t", "-c", str(conf)]
        argv += ["-p", self.command.prefix] if self.command.prefix else []
        argv += ["-g", directives] if directives else []
        argv += ["-e", str(error_log)] if self.build.has_error_log_option else []
        return tuple(argv)
