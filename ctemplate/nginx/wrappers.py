"""What commands run that only change how another one runs: ``sudo``, ``env``, ``timeout``, ``sh -c`` of ``su``.

Each function takes the words after the wrapper's name and returns those of the command that it runs; nothing where a
word is not understood. Must not know nginx.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"})


def after_options(texts: Sequence[str], *, flags: str = "", values: str = "", words: Sequence[str] = ()) -> list[str]:
    """Return what follows a wrapper's options; nothing when one of them is unknown.

    ``flags`` and ``values`` are letters of options without and with a value, ``words`` long options; those that end
    with ``=`` have a value after it or in the next word.
    """
    rest = list(texts)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        option = rest.pop(0)
        if option == "--":
            return rest
        if option.startswith("--"):
            name, equals, _ = option.partition("=")
            if f"{name}=" in words:
                del rest[: 0 if equals else 1]
            elif name not in words or equals:
                return []
            continue
        letters = option[1:].lstrip(flags) if flags else option[1:]
        if not letters:
            continue
        if letters[0] not in values:
            return []
        del rest[: 0 if letters[1:] else 1]
    return rest


def _sudo(texts: Sequence[str]) -> list[str]:
    words = ("--non-interactive", "--user=", "--group=", "--preserve-env", "--set-home")
    return after_options(texts, flags="nEHkS", values="ug", words=words)


def _env(texts: Sequence[str]) -> list[str]:
    rest = after_options(texts, flags="i", values="u", words=("--ignore-environment", "--unset="))
    return rest[1:] if rest[:1] == ["-"] else rest


def _timeout(texts: Sequence[str]) -> list[str]:
    words = ("--kill-after=", "--signal=", "--foreground", "--preserve-status", "--verbose")
    return after_options(texts, flags="v", values="ks", words=words)[1:]


def _nice(texts: Sequence[str]) -> list[str]:
    if texts and re.fullmatch(r"--?\d+", texts[0]):
        return list(texts[1:])
    return after_options(texts, values="n", words=("--adjustment=",))


def _flock(texts: Sequence[str]) -> list[str]:
    words = ("--nonblock", "--exclusive", "--shared", "--timeout=", "--wait=", "--close", "--verbose")
    rest = after_options(texts, flags="nxseoF", values="wE", words=words)
    return ["sh", *rest[1:]] if rest[1:2] == ["-c"] else rest[1:]


def _su(texts: Sequence[str]) -> list[str]:
    """Return the line of ``su [-] [USER] [-s SHELL] -c LINE`` as a shell's."""
    rest = [text for text in texts if text not in {"-", "-l", "--login"}]
    if "-s" in rest[:-1] and PurePosixPath(rest[rest.index("-s") + 1]).name in SHELLS:
        del rest[rest.index("-s") : rest.index("-s") + 2]
    if "-c" not in rest or rest.index("-c") + 1 >= len(rest):
        return []
    at = rest.index("-c")
    users = rest[:at] + rest[at + 2 :]
    return ["sh", "-c", rest[at + 1]] if len(users) <= 1 and not any(user.startswith("-") for user in users) else []


def _runuser(texts: Sequence[str]) -> list[str]:
    """Return the command of ``runuser -u USER [--] COMMAND``; any other form is that of ``su``."""
    if "-u" in texts[:1]:
        rest = texts[2:]
        return list(rest[1:] if rest[:1] == ["--"] else rest)
    return _su(texts)


def _after_user(texts: Sequence[str]) -> list[str]:
    return [] if not texts or texts[0].startswith("-") else list(texts[1:])


_SETPRIV_WORDS = (
    *("--reuid=", "--regid=", "--groups=", "--inh-caps=", "--ambient-caps=", "--bounding-set="),
    *("--clear-groups", "--init-groups", "--keep-groups", "--no-new-privs"),
)
WRAPPERS: Mapping[str, Callable[[Sequence[str]], list[str]]] = {
    "sudo": _sudo,
    "doas": lambda texts: after_options(texts, flags="n", values="u"),
    "env": _env,
    "timeout": _timeout,
    "nice": _nice,
    "ionice": lambda texts: after_options(texts, flags="t", values="cn"),
    "nohup": after_options,
    "setsid": lambda texts: after_options(texts, flags="wf", words=("--wait", "--fork")),
    "stdbuf": lambda texts: after_options(texts, values="ioe"),
    "chronic": after_options,
    "exec": after_options,
    "command": lambda texts: after_options(texts, flags="p"),
    "time": lambda texts: after_options(texts, flags="p"),
    "flock": _flock,
    "su": _su,
    "runuser": _runuser,
    "setpriv": lambda texts: after_options(texts, words=_SETPRIV_WORDS),
    "gosu": _after_user,
    "su-exec": _after_user,
    "s6-setuidgid": _after_user,
    "chpst": lambda texts: after_options(texts, values="u"),
    "taskset": lambda texts: after_options(texts, flags="c")[1:],
    "chrt": lambda texts: after_options(texts, flags="bfior")[1:],
    "systemd-cat": lambda texts: after_options(texts, values="tp", words=("--identifier=", "--priority=")),
    "unbuffer": after_options,
}
