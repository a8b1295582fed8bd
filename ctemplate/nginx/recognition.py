"""Recognise which nginx an operator's command line reloads, and whether the rest of the line is harmless.

The line is read, never run. A line that is not understood completely is not recognised: then it is unknown which nginx
it reloads. Must not know checks, masters or logs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path, PurePosixPath

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.nginx.command import NginxCommand
from ctemplate.nginx.shell import ShellStep, ShellWord, UnreadableCommand, shell_steps
from ctemplate.nginx.signalled import HUPS, PROGRAMS, SIGNALLERS, Signalled, printed_program
from ctemplate.nginx.wrappers import SHELLS, WRAPPERS, after_options

SERVICE_MANAGERS = {
    "nginx": "nginx",
    "openresty": "openresty",
    "angie": "angie",
    "freenginx": "freenginx",
    "tengine": "nginx",
}
HARMLESS = frozenset({"true", ":", "set", "echo", "printf", "sleep", "logger", "exit", "date", "test", "[", "[["}) | {
    "cat", "export", "touch", "type", "ulimit", "umask", "which"
}  # fmt: skip
READERS = frozenset({"logger", "tee", "cat", "grep", "egrep", "systemd-cat", "ts"})
KEYWORDS = frozenset({"if", "then", "else", "fi", "{", "}"})
RELOADS = frozenset({"reload", "force-reload", "reload-or-restart", "try-reload-or-restart", "try-reload"})
ASKS = frozenset({"status", "configtest", "checkconfig"})
_WITH_VALUE = frozenset("pcges")
_SHELL_WORDS = frozenset({"--login", "--norc", "--noprofile", "--posix", "--restricted"})
_PID_NAMES = frozenset({"master.pid", "main.pid", "pid"})  # that say nothing; the name of their folder does
_PIPES = frozenset({"|", "|&"})
_SUBSHELL = lazy_pattern(r"(?<!\$)\(")
_ASSIGNMENT = lazy_pattern(r"[A-Za-z_]\w*=")
_PATH_ASSIGNMENT = lazy_pattern(r"(?<![\w-])PATH=")

FoundCommand = NginxCommand | bool | None
"""A simple command is a reload of an nginx, harmless (True), or unknown (None)."""


def recognise(command: str | Sequence[str] | None) -> NginxCommand | None:
    """Return which nginx a command reloads, or None for any other command, and for none.

    It must reload exactly one nginx, in any wrapping; other commands on the line must be harmless, such as
    ``nginx -t &&``. The command itself announces the reload, unless it is a bare ``nginx … -s reload``.
    """
    if not command:
        return None
    try:
        found = _line(command) if isinstance(command, str) else _simple(_plain(command))
    except UnreadableCommand:
        return None
    if not isinstance(found, NginxCommand) or (_is_found_by_path(found) and _assigns_path(command)):
        return None
    if _is_bare(command):
        return found
    return replace(found, announce=command if isinstance(command, str) else tuple(command))


def _is_found_by_path(found: NginxCommand) -> bool:
    """Whether PATH decides which program it is that reads its arguments: not for a path, a pid file or a service."""
    return "/" not in found.program and found.pid_file is None and not found.is_service


def _assigns_path(command: str | Sequence[str]) -> bool:
    return any(_PATH_ASSIGNMENT.search(text) for text in ([command] if isinstance(command, str) else command))


def _is_bare(command: str | Sequence[str]) -> bool:
    """Whether a command is only nginx, so that a signal of our own does the same."""
    if not isinstance(command, str):
        return _is_nginx(command[0])
    (first, *others) = shell_steps(command)
    return not others and _is_nginx(first.words[0].text) and not any(mark in command for mark in "<>")


def _plain(command: Sequence[str]) -> tuple[ShellWord, ...]:
    return tuple(ShellWord(text=part) for part in command)


def _line(line: str) -> FoundCommand:
    """Judge a command line by its only reload; its relative paths begin in the folder that it changes to."""
    reloads: list[NginxCommand] = []
    folder = PurePosixPath()
    steps = shell_steps(line)
    for step, after in zip_longest(steps, steps[1:]):
        if (entered := _entered(step)) is not None and (after is None or after.joint not in _PIPES):
            folder /= entered
            continue
        found = _step(step)
        if found is None or found is False:
            return None
        if isinstance(found, NginxCommand):
            there = _from(found, folder)
            if there != found and (step.joint == "||" or _SUBSHELL.search(line)):  # it may run in another folder
                return None
            reloads += [] if there in reloads else [there]
    return reloads[0] if len(reloads) == 1 else not reloads or None


def _entered(step: ShellStep) -> str | None:
    """Return the folder of a plain ``cd FOLDER``."""
    texts = [word.text for word in step.words if word.is_plain]
    if len(step.words) != 2 or texts[:1] != ["cd"] or len(texts) != 2 or step.joint not in {"", ";", "&&"}:  # noqa: PLR2004 - cd FOLDER
        return None
    return None if texts[1].startswith("-") else texts[1]


def _from(command: NginxCommand, folder: PurePosixPath) -> NginxCommand:
    """Return a command as it is meant in a folder. A relative ``-c`` begins at nginx's prefix instead."""
    if folder == PurePosixPath():
        return command

    def there(path: str) -> str:
        return path if path.startswith("/") else f"{folder}/{path}"

    return replace(
        command,
        program=there(command.program) if "/" in command.program else command.program,
        prefix=None if command.prefix is None else there(command.prefix),
        pid_file=None if command.pid_file is None else Path(folder, command.pid_file),
        follows=None if command.follows is None else Path(folder, command.follows),
    )


def _step(step: ShellStep) -> FoundCommand:
    words = step.words
    while words and words[0].is_plain and words[0].text in KEYWORDS:
        words = words[1:]
    if words and words[0].is_plain and words[0].text == "!":
        return _simple(words[1:]) is True or None
    if step.joint in _PIPES:
        return bool(words) and PurePosixPath(words[0].text).name in READERS
    return _simple(words)


def _simple(words: Sequence[ShellWord]) -> FoundCommand:
    """Judge a simple command."""
    words = list(words)
    while words and words[0].is_plain and _ASSIGNMENT.match(words[0].text):
        words.pop(0)
    if (
        not words
        or words[0].text in {"[", "[["}
        or (words[0].is_plain and PurePosixPath(words[0].text).name in HARMLESS)
    ):
        return True
    name = PurePosixPath(words[0].text).name
    if [word.text for word in words[:2]] in (["command", "-v"], ["command", "-V"]):
        return True
    if name == "kill":
        return _killed(words[1:])
    if name in WRAPPERS:
        return _wrapped(name, words)
    return _program([word.text for word in words]) if all(word.is_plain for word in words) else None


def _wrapped(name: str, words: Sequence[ShellWord]) -> FoundCommand:
    """Judge what a wrapper runs: the words after its options, or a shell's command line."""
    texts = [word.text for word in words]
    inner = WRAPPERS[name](texts[1:])
    if not inner:
        return None
    own = len(words) - len(inner) if texts[-len(inner) :] == inner else len(words)
    if not all(word.is_plain for word in words[:own]):
        return None
    return _simple(words[own:] or _plain(inner))


def _program(argv: Sequence[str]) -> FoundCommand:
    """Judge a program with its arguments, none of which a shell expands."""
    path, *texts = argv
    name = PurePosixPath(path).name
    if _is_script(path):
        return _script(name, texts)
    if name in PROGRAMS:
        return _nginx(path, texts)
    if name in SHELLS:
        return _shell(texts)
    if name in SIGNALLERS:
        return _signalled(SIGNALLERS[name](texts))
    if _only_asks(name, texts):
        return True
    return _service(MANAGERS[name](texts)) if name in MANAGERS else None


def _only_asks(name: str, texts: Sequence[str]) -> bool:
    """Return whether a command only tests whether something runs: ``systemctl is-active nginx``, ``pgrep nginx``."""
    if name == "systemctl":
        words = [text for text in texts if not text.startswith("-")]
        return words[:1] in (["is-active"], ["is-enabled"], ["status"])
    if name in {"service", "rc-service", "invoke-rc.d"}:
        return len(texts) == 2 and texts[1] in ASKS  # noqa: PLR2004 - NAME VERB
    return name in {"pgrep", "pidof"}


def _script(name: str, texts: Sequence[str]) -> FoundCommand:
    """Judge an init script with its verb."""
    if len(texts) != 1:
        return None
    return True if texts[0] in ASKS else _service(name) if texts[0] in RELOADS else None


def _is_script(path: str) -> bool:
    return PurePosixPath(path).parent == PurePosixPath("/etc/init.d")


def _is_nginx(path: str) -> bool:
    return PurePosixPath(path).name in PROGRAMS and not _is_script(path)


def _nginx(program: str, arguments: Sequence[str]) -> FoundCommand:
    options = _options(arguments)
    if options is None:
        return None
    if "t" in options and "s" not in options:
        return True
    if options.get("s") != "reload" or "t" in options:
        return None
    return NginxCommand(
        program=program,
        prefix=options.get("p"),
        conf=options.get("c"),
        globals=options.get("g", ""),
        error_log=options.get("e"),
    )


def _options(arguments: Sequence[str]) -> dict[str, str] | None:
    """Read options as nginx does (`ngx_get_options`); None if it refuses one or one is no part of a reload."""
    options: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            return None
        letters = argument[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter == "q":
                continue
            if letter in "tT":
                options["t"] = ""
                continue
            value = letters or next(rest, "")
            if letter not in _WITH_VALUE or not value:
                return None
            options[letter] = value
            break
    return options


def _shell(texts: Sequence[str]) -> FoundCommand:
    """Judge ``sh -c LINE``; parameters after the line have no effect on a line without expansions.

    The value of ``-o`` (``-euo pipefail``) is the next word, before the line.
    """
    rest, is_line = list(texts), False
    while rest and not is_line and rest[0].startswith("-") and rest[0] != "--":
        option = rest.pop(0)
        if option.startswith("--"):
            if option not in _SHELL_WORDS:
                return None
            continue
        is_line = "c" in option
        if "o" in option:
            del rest[:1]
    return _line(rest[0]) if is_line and rest else None


def _killed(words: Sequence[ShellWord]) -> FoundCommand:
    """Judge ``kill -HUP $(cat PIDFILE)`` and ``kill -HUP $(pidof nginx)``."""
    texts = [word.text for word in words]
    if len(texts) > 1 and texts[0] in {"-s", "-n"}:
        number, targets = texts[1], words[2:]
    else:
        number, targets = texts[0].removeprefix("-") if texts else "", words[1:]
    targets = targets[1:] if targets and targets[0].text == "--" else targets
    if number not in HUPS or len(targets) != 1 or targets[0].runs is None:
        return None
    (target,) = targets
    if target.reads:
        return _by_pid_file(target.reads)
    steps = shell_steps(target.runs or "")
    if len(steps) != 1 or not all(word.is_plain for word in steps[0].words):
        return None
    return _running(printed_program([word.text for word in steps[0].words], is_one=target.is_quoted))


def _signalled(found: Signalled | None) -> FoundCommand:
    if found is None:
        return None
    return _by_pid_file(found.file) if found.file else _running(found.program)


def _running(program: str | None) -> FoundCommand:
    """Return the nginx whose running processes a command signals; only they show its configuration."""
    name = SERVICE_MANAGERS.get(program or "", program or "")
    return NginxCommand(program=name, is_service=True) if PurePosixPath(name).name in PROGRAMS else None


def _by_pid_file(name: str | None) -> FoundCommand:
    """Return the nginx of a pid file: the file's name identifies the program, the master in it all else."""
    if not name:
        return None
    pid_file = Path(name)
    word = pid_file.parent.name if pid_file.name in _PID_NAMES else pid_file.name
    program = next((SERVICE_MANAGERS[each] for each in SERVICE_MANAGERS if each in word), None)
    return NginxCommand(program=program, pid_file=pid_file, follows=pid_file) if program else None


def _service(name: str | None) -> FoundCommand:
    """Return the nginx of a service, by its name; the defaults of its build count until its master is seen to run."""
    program = SERVICE_MANAGERS.get((name or "").removesuffix(".service"))
    return NginxCommand(program=program, is_service=True) if program else None


def _systemctl(texts: Sequence[str]) -> str | None:
    """Return the unit of ``systemctl reload UNIT`` or ``systemctl kill -s HUP UNIT``."""
    quiet = {"-q", "--quiet", "--no-pager", "--no-ask-password", "--no-block", "--system"}
    rest = [text for text in texts if text not in quiet | {"--kill-who=main", "--kill-whom=main"}]
    if rest[:1] == ["kill"]:
        signals = [
            text for text in rest[1:] if text in {f"-s{hup}" for hup in HUPS} | {f"--signal={hup}" for hup in HUPS}
        ]
        if rest[1:2] in (["-s"], ["--signal"]) and rest[2:3] and rest[2] in HUPS:
            return rest[3] if len(rest) == 4 else None  # noqa: PLR2004 - kill -s HUP UNIT
        units = [text for text in rest[1:] if not text.startswith("-")]
        return units[0] if signals and len(rest) == 3 and len(units) == 1 else None  # noqa: PLR2004
    return rest[1] if len(rest) == 2 and rest[0] in RELOADS else None  # noqa: PLR2004 - reload UNIT


def _two(*verbs: str) -> Callable[[Sequence[str]], str | None]:
    """Return a function that reads ``NAME VERB``."""
    return lambda texts: texts[0] if len(texts) == 2 and texts[1] in verbs else None  # noqa: PLR2004


def _supervisorctl(texts: Sequence[str]) -> str | None:
    rest = after_options(texts, values="csup", words=("--configuration=", "--serverurl=", "--username=", "--password="))
    return rest[2].rpartition(":")[2] if len(rest) == 3 and rest[0] == "signal" and rest[1] in HUPS else None  # noqa: PLR2004


def _folder_of(texts: Sequence[str], *verbs: str) -> str | None:
    """Return the service of ``VERB FOLDER``, which is the folder's name; ``1`` is USR1, and no reload."""
    return PurePosixPath(texts[1]).name if len(texts) == 2 and texts[0] in verbs else None  # noqa: PLR2004


MANAGERS: Mapping[str, Callable[[Sequence[str]], str | None]] = {
    "systemctl": _systemctl,
    "service": _two("reload", "force-reload"),
    "rc-service": _two("reload"),
    "invoke-rc.d": _two("reload", "force-reload"),
    "supervisorctl": _supervisorctl,
    "sv": lambda texts: _folder_of(texts, "hup", "h", "reload"),
    "s6-svc": lambda texts: _folder_of(texts, "-h"),
    "svc": lambda texts: _folder_of(texts, "-h"),
}
