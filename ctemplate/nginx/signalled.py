"""What commands that send HUP send it to: the process in a pid file, or the processes of a program.

A worker ignores HUP, so a command that signals all processes of a name reloads their masters. One that picks a single
process has to pick the oldest, or the service's main process: any other may be a worker. Must not know shells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

from ctemplate.core.values import dataclass

PROGRAMS = frozenset({"nginx", "nginx-debug", "openresty", "angie", "angie-debug", "freenginx", "tengine"})
HUPS = frozenset({"HUP", "SIGHUP", "hup", "sighup", "1"})
_MASTER_TITLE = ": master"
_PICKED_BY = frozenset({"-u", "--euid", "-U", "--uid", "-g", "--pgroup", "-P", "--parent"})
_LONG_FLAGS = {"--exact": "x", "--oldest": "o", "--full": "f", "--logpidfile": "L"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signalled:
    """Either a pid file or a program: its name, or the path of its executable."""

    file: str | None = None
    program: str | None = None


def pkill(texts: Sequence[str]) -> Signalled | None:
    """Return what ``pkill -HUP …`` signals: the process in a file, whatever the pattern, or those of a program."""
    rest, has_hup = _without_hup(texts)
    if not has_hup:
        return None
    file = next((rest[at + 1] for at, text in enumerate(rest[:-1]) if text in {"-F", "--pidfile"}), None)
    if file is None:
        program = _matched(rest)
        return Signalled(program=program) if program else None
    at = rest.index(file)
    others = [text for text in (*rest[: at - 1], *rest[at + 1 :]) if text not in {*_LONG_FLAGS, "-x", "-L", "-o"}]
    return Signalled(file=file) if len(others) <= 1 and not any(text.startswith("-") for text in others) else None


def _without_hup(texts: Sequence[str]) -> tuple[list[str], bool]:
    """Return the other words of a command, and whether its signal is HUP."""
    rest: list[str] = []
    has_hup = False
    words = iter(texts)
    for word in words:
        if word in {"--signal", "-s"}:
            has_hup = next(words, "") in HUPS
        elif word.startswith("-") and word.removeprefix("--signal=").removeprefix("-") in HUPS:
            has_hup = True
        else:
            rest.append(word)
    return rest, has_hup


def _matched(texts: Sequence[str], *, is_one: bool = False) -> str | None:
    """Return the program whose processes the options and the pattern of ``pgrep`` and ``pkill`` select.

    With ``is_one`` only if they select a single process.
    """
    rest, flags = list(texts), ""
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in _PICKED_BY:
            del rest[:1]
        elif option in _LONG_FLAGS or not option.startswith("--"):
            flags += _LONG_FLAGS.get(option, option[1:])
        else:
            return None
    if len(rest) != 1 or not set(flags) <= set("xof") or (is_one and "o" not in flags):
        return None
    (pattern,) = rest
    if "f" in flags:  # an unanchored pattern also finds the shell that runs the command, and ctemplate itself
        program, title, _ = pattern.removeprefix("^").partition(_MASTER_TITLE)
        return program if title and pattern.startswith("^") and program in PROGRAMS else None
    return _known(pattern.removeprefix("^").removesuffix("$"))


def _known(name: str) -> str | None:
    return name if PurePosixPath(name).name in PROGRAMS else None


def killall(texts: Sequence[str]) -> Signalled | None:
    """Return the program of ``killall -HUP PROGRAM``."""
    rest, has_hup = _without_hup(texts)
    words = [text for text in rest if text not in {"-q", "--quiet", "-e", "--exact", "-v", "--verbose"}]
    program = _known(words[0]) if has_hup and len(words) == 1 else None
    return Signalled(program=program) if program else None


def start_stop_daemon(texts: Sequence[str]) -> Signalled | None:
    """Return the file of ``start-stop-daemon --stop --signal HUP --pidfile FILE``, or the program of ``--exec``."""
    given: dict[str, str] = {}
    rest = iter(texts)
    for text in rest:
        name, equals, value = text.partition("=")
        if name in _DAEMON_VALUES:
            given[_DAEMON_VALUES[name]] = value if equals else next(rest, "")
        elif text in {"--stop", "-K"}:
            given["stop"] = text
        elif text not in {"--quiet", "-q", "--oknodo", "-o"}:
            return None
    if "stop" not in given or given.get("signal") not in HUPS:
        return None
    program = _known(given.get("exec") or given.get("name", ""))
    return Signalled(file=given["pidfile"]) if "pidfile" in given else Signalled(program=program) if program else None


def printed_program(texts: Sequence[str], *, is_one: bool) -> str | None:
    """Return the program, or the service, whose pids a command prints; with ``is_one`` only if it prints a single pid.

    Such as ``pidof nginx``, ``pgrep -o nginx``, ``systemctl show -p MainPID --value nginx``.
    """
    name, *rest = texts
    match PurePosixPath(name).name:
        case "pgrep":
            return _matched(rest, is_one=is_one)
        case "pidof":
            return _known(rest[-1]) if not is_one and rest[:-1] in ([], ["-x"]) and rest else None
        case "systemctl":
            return _main_pid(rest)
    return None


def _main_pid(texts: Sequence[str]) -> str | None:
    words = [text for text in texts if text not in {"--value", "--no-pager", "--system"}]
    asks = ["show", "-p", "MainPID"], ["show", "--property", "MainPID"], ["show", "--property=MainPID"]
    unit = next((words[len(ask) :] for ask in asks if words[: len(ask)] == ask), [])
    return unit[0].removesuffix(".service") if "--value" in texts and len(unit) == 1 else None


_DAEMON_VALUES = {
    "--pidfile": "pidfile",
    "-p": "pidfile",
    "--signal": "signal",
    "-s": "signal",
    "--exec": "exec",
    "-x": "exec",
    "--name": "name",
    "-n": "name",
}
SIGNALLERS: Mapping[str, Callable[[Sequence[str]], Signalled | None]] = {
    "pkill": pkill,
    "killall": killall,
    "start-stop-daemon": start_stop_daemon,
}
