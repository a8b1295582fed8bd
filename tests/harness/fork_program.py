"""Run ctemplate again and again without loading it again: a program that has loaded it and forks for each request.

    python -P fork_program.py SOCKET

A request is JSON with the descriptors of standard output and error, the answer JSON too: `{"argv": …}` starts a process
and answers its pid, `{"reap": pid}` answers the status of a process that has ended. `harness/forks.py` asks.
"""

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import time
from pathlib import Path

import ctemplate

PR_SET_PDEATHSIG = 1
MOST = 1 << 20
STREAMS = 3
LATE = ("anyio._backends._asyncio", "jinja2.ext", "tomllib", "watchfiles")
"""What a run imports once it needs it; `load` does so for all of them."""


def load() -> None:
    """Import whatever a run may import."""
    ours = (module.name for module in pkgutil.walk_packages(ctemplate.__path__, "ctemplate."))
    for name in (*LATE, *(name for name in ours if not name.endswith(".__main__"))):
        importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "a loaded module has started a thread: it would not be forked"  # noqa: PTH208


def serve(requests: socket.socket) -> dict | None:
    """Answer requests; return one in the process that is to run it, None at the end."""
    while True:
        text, descriptors, _, _ = socket.recv_fds(requests, MOST, STREAMS)
        if not text:
            return None
        request = json.loads(text)
        if "reap" in request:
            answer = {"status": os.waitstatus_to_exitcode(os.waitpid(request["reap"], 0)[1])}
        else:
            server = os.getpid()
            pid = os.fork()
            if pid == 0:
                requests.close()
                become(request, descriptors, server)
                return request
            os.setpgid(pid, pid)
            for descriptor in descriptors:
                os.close(descriptor)
            answer = {"pid": pid}
        requests.send(json.dumps(answer).encode())


def become(request: dict, descriptors: list[int], server: int) -> None:
    """Give this process what exec would have given it."""
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.Signals[f"SIG{request['death_signal']}"])
    if os.getppid() != server:  # it died before
        os._exit(1)
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, number)
    os.closerange(STREAMS, max(map(int, os.listdir("/proc/self/fd"))) + 1)  # noqa: PTH208
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.argv = ["-m", *request["argv"]]
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does


def main() -> None:
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        load()
        gc.collect()
        gc.freeze()
        request = serve(requests)
    if request is not None:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
