#!/usr/bin/env python3
"""Reload HAProxy by its master's socket, and end with 1 unless a new worker serves: `reload_haproxy.py SOCKET`.

A master that is asked to reload answers nothing before HAProxy 2.7, and one that cannot use the new configuration goes
on with the old workers. So the master is asked which workers it has, before and afterwards. Where HAProxy does not run
there is nothing to reload: it reads the file when it starts. Needs the standard library only.
"""

import socket
import sys
import time

LIMIT = 20.0  # seconds; below the time limit of ctemplate's commands
PAUSE = 0.05


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


def reload(path: str) -> str:
    """Reload; return what is wrong, nothing if a new worker serves."""
    reloads, _, before = processes(path)
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


def main() -> None:
    """Reload, and say what is wrong."""
    path = sys.argv[1]
    try:
        fault = reload(path)
    except (FileNotFoundError, ConnectionRefusedError):
        print(f"{path}: HAProxy does not run; it reads the file when it starts")
        return
    except OSError as exc:
        fault = str(exc)
    if fault:
        sys.exit(f"{path}: {fault}")


if __name__ == "__main__":
    main()
