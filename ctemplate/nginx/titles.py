"""Read pid files, and the titles of nginx's masters: the arguments that a running master was started with.

nginx writes its arguments into its title. Must not know configurations, or which master is wanted.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ctemplate.core.errors import printable
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass
from ctemplate.system.inputs import MIB, read_plain_file

PID_FILE_LIMIT_BYTES = MIB
_PID = lazy_pattern(r"\s*([1-9]\d{0,9})\s*")
_MASTER = lazy_pattern(
    r"[a-z][\w.-]*: master process(?: v\d\S*)?(?: #\d+)?(?: \[(?P<in>.*)\]| (?P<argv>.*))?", re.DOTALL
)  # Angie adds version and generation
_NGINX = lazy_pattern(r"(?:nginx|openresty|tengine|angie|freenginx): ")
_OPTION = lazy_pattern(r"(?<= )-q*(?P<letter>[pcgest])(?P<value>.*?)(?= -q*[pcgestTvV]|$)", re.DOTALL)
_NAMESPACES = lazy_pattern(r"^NSpid:\s*(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """A master's arguments according to its title; ``is_cut`` where the title had no room for all of them."""

    program: str
    prefix: str | None = None
    conf: str | None = None
    globals: str = ""
    error_log: str | None = None
    is_cut: bool = False


def is_nginx_title(title: str) -> bool:
    """Whether a title is that of a process of nginx or a relative: other daemons have titles of the same form."""
    return _NGINX.match(title) is not None


def arguments_of(title: str, *, is_cut: bool = False) -> Arguments | None:
    """Read a master's title; None for any other process's.

    nginx joins its arguments with blanks, so a value ends at what looks like the next option.
    """
    found = _MASTER.fullmatch(title)
    if found is None:
        return None
    argv = found["in"] or found["argv"] or ""
    options = {option["letter"]: option["value"].strip() for option in _OPTION.finditer(argv)}
    return Arguments(
        program=argv if (first := argv.find(" -")) < 0 else argv[:first],
        prefix=options.get("p"),
        conf=options.get("c"),
        globals=options.get("g", ""),
        error_log=options.get("e"),
        is_cut=is_cut,
    )


def pid_in(pid_file: Path) -> int | str:
    """Return the pid in a file, or a sentence about why there is none."""
    try:
        text = read_plain_file(pid_file, limit_bytes=PID_FILE_LIMIT_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return f"{pid_file} does not exist"
    except OSError as exc:
        return f"{pid_file} cannot be read: {exc.strerror}"
    match = _PID.fullmatch(text)
    return int(match[1]) if match else f"{pid_file} holds no pid, found {printable(text, 20)!r}"


def is_in_a_namespace(pid: int, proc: Path) -> bool:
    """Whether a process has its own pid in a namespace below ours: its pid file means another process then."""
    found = _NAMESPACES.search((proc / str(pid) / "status").read_text(errors="replace"))
    return found is not None and len(found[1].split()) > 1


def is_cut(pid: int, title: str, proc: Path) -> bool:
    """Whether a title fills all the space of the arguments and environment that a process was started with."""
    fields = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    if len(fields) <= 48:  # noqa: PLR2004 - man 5 proc_pid_stat: (48) arg_start … (51) env_end
        return False
    room = int(fields[48]) - int(fields[45])
    return 0 < room <= len(os.fsencode(title)) + 3
