#!/usr/bin/env python3
"""Reload HAProxy by its master's socket, and end with 1 unless a new worker serves: `reload_haproxy.py SOCKET [FILE]`.

A master that is asked to reload answers nothing before HAProxy 2.7, and one that cannot use the new configuration goes
on with the old workers. So the master is asked which workers it has, before and afterwards. Where HAProxy does not run
there is nothing to reload: it reads the file when it starts. Needs the standard library only.

FILE is HAProxy's configuration. If another program uses a port of it, HAProxy is not reloaded: it would stop accepting
connections on all ports for two seconds before it gave up.
"""

import errno
import os
import re
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

LIMIT = 20.0  # seconds; below the time limit of ctemplate's commands
START_LIMIT = 3.0  # seconds for an HAProxy that runs to listen at its socket
PAUSE = 0.05
BIND = re.compile(r"^\s*bind\s+(\S+)", re.MULTILINE)
ADDRESS = re.compile(r"(?:\[(?P<v6>[\da-fA-F:]+)\]|(?P<v4>\*|[\d.]*)):(?P<port>\d+)")


def ask(path: str, question: str) -> str:
    """Return the master's answer; it closes the connection behind it, and when it reloads."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LIMIT)
        connection.connect(path)
        connection.sendall(f"{question}\n".encode())
        connection.shutdown(socket.SHUT_WR)  # else it waits for more questions
        pieces = []
        try:
            while piece := connection.recv(65536):
                pieces.append(piece)
        except ConnectionResetError:
            pass  # the master begins anew
        return b"".join(pieces).decode(errors="replace")


def processes(path: str) -> tuple[int, int, set[str]]:
    """Return how often the master has reloaded, how often that failed, and the pids of the workers that serve."""
    reloads = failed = 0
    serving: set[str] = set()
    part = ""
    for line in ask(path, "show proc").splitlines():
        words = line.replace("[failed:", "").replace("]", "").split()
        if line.startswith("#"):
            part = line.strip("# ")
        elif words[1:2] == ["master"]:
            reloads, failed = int(words[2]), int(words[3])
        elif part == "workers" and words[1:2] == ["worker"]:
            serving.add(words[0])
    return reloads, failed, serving


def is_same_user(path: str) -> bool:
    """Whether the master runs as this user; only then do its own ports not look like another program's."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", found)[1] == os.geteuid()


def used_by_others(text: str) -> Iterator[str]:
    """Yield the addresses of a configuration whose ports other programs use.

    A socket that is bound, and does not listen, takes no connections; HAProxy shares its own ports (SO_REUSEPORT).
    """
    if re.search(r"^\s*noreuseport\b", text, re.MULTILINE):
        return
    for found in (ADDRESS.fullmatch(part) for word in BIND.findall(text) for part in word.split(",")):
        if found is None:
            continue
        host = found["v6"] or (found["v4"] or "").replace("*", "") or "0.0.0.0"
        with socket.socket(socket.AF_INET6 if found["v6"] else socket.AF_INET) as probe:
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                probe.setsockopt(socket.SOL_SOCKET, option, 1)
            if found["v6"]:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((host, int(found["port"])))
            except (OSError, OverflowError) as exc:
                if getattr(exc, "errno", None) == errno.EADDRINUSE:
                    yield found[0]


def reload(path: str, config: str = "") -> str:
    """Reload; return what is wrong, nothing if a new worker serves."""
    reloads, _, before = processes(path)
    if Path(config).is_file() and is_same_user(path):
        used = ", ".join(sorted(set(used_by_others(Path(config).read_text("utf-8", "replace")))))
        if used:
            return f"another program uses {used}; HAProxy was not reloaded and goes on with the old configuration"
    ask(path, "reload")
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            now, failed, serving = processes(path)
        except OSError:
            now, failed, serving = reloads, 0, before  # the master does not listen again yet
        if now > reloads and failed:
            return "the master could not use the new configuration and goes on with the old one; its log says why"
        if now > reloads and serving and not serving & before:
            return ""
        time.sleep(PAUSE)
    return f"no new worker within {LIMIT:g} s"


def running(*paths: str) -> list[str]:
    """Return the processes of HAProxy that name one of the paths as an argument."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended
        named = {word.split(",")[0] for word in words[1:]}  # a socket may be followed by options
        if Path(words[0]).name.startswith("haproxy") and not named.isdisjoint(filter(None, paths)):
            found.append(folder.name)
    return sorted(found, key=int)


def reload_or_skip(path: str, config: str = "") -> str | None:
    """Reload; return what is wrong, None where HAProxy does not run."""
    deadline = time.monotonic() + START_LIMIT
    while True:
        try:
            return reload(path, config)
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            pids = running(path, config)
            if not pids:
                return None
            if time.monotonic() > deadline:
                return f"{exc.strerror}, but HAProxy runs (process {pids[0]}): start it again with -S {path}"
        except OSError as exc:
            return str(exc)
        time.sleep(PAUSE)


def main() -> None:
    """Reload, and say what is wrong."""
    path = sys.argv[1]
    fault = reload_or_skip(*sys.argv[1:3])
    if fault is None:
        print(f"{path}: HAProxy does not run; it reads the file when it starts")
        return
    if fault:
        sys.exit(f"{path}: {fault}")


if __name__ == "__main__":
    main()
