"""Loopback ports that no other process can take between the choice and the use."""

import contextlib
import os
import secrets
import socket

# Below the range from which Linux takes the ports of outgoing connections (32768 and up): a port that the system
# itself hands out (bind to 0) may be the local end of anybody's connection a moment later.
LOWEST, HIGHEST = 15000, 32000

MOST_WORKERS = 16  # test processes that run side by side; each takes its ports from a share of its own

_given: set[int] = set()


def share() -> range:
    """Return the ports of this test process, which no other one running beside it uses."""
    size = (HIGHEST - LOWEST) // MOST_WORKERS
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % MOST_WORKERS
    return range(LOWEST + worker * size, LOWEST + (worker + 1) * size)


def free_port() -> int:
    """Return a port free for TCP and UDP on 127.0.0.1, never the same twice in one process."""
    ports = share()
    while True:
        port = secrets.choice(ports)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _is_free(port: int) -> bool:
    with contextlib.ExitStack() as sockets:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                sockets.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
