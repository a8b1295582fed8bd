"""Loopback ports that nobody else takes between the choice and the use."""

import contextlib
import secrets
import socket

# Below the range from which Linux takes the ports of outgoing connections (32768 and up): a port that the system
# itself hands out (bind to 0) may be the local end of anybody's connection a moment later.
LOWEST, HIGHEST = 15000, 32000

_given: set[int] = set()


def free_port() -> int:
    """Return a port free for TCP and UDP on 127.0.0.1, never the same twice in one process."""
    while True:
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
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
