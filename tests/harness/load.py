"""Steady clients of one port, which count every failed request."""

import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from harness.waiting import PATIENCE

LIMIT = PATIENCE  # seconds that one answer may take


@dataclass
class Count:
    """What one client saw.

    `dropped`: a kept connection that ended before the answer's first byte. `failed`: anything else that is no answer
    of status 200; `faults` are the first few of those. `answers` counts each text that came.
    """

    requests: int = 0
    dropped: int = 0
    failed: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)


class Client:
    """Asks again and again in a thread of its own, at most `rate` times a second, until the block is left."""

    def __init__(self, port: int, *, keeps_alive: bool, rate: float = 200.0, host: str = "load"):
        self.count = Count()
        self._port = port
        self._keeps_alive = keeps_alive
        self._pause = 1 / rate
        self._host = host
        self._connection: socket.socket | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"client-{port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            began = time.monotonic()
            self._ask()
            self.count.slowest = max(self.count.slowest, time.monotonic() - began)
        self._close()

    def _ask(self) -> None:
        """Make one request; a dropped one is made again on a new connection, as every client of HTTP does."""
        is_kept = self._connection is not None
        self.count.requests += 1
        try:
            answer = self._exchange()
            if is_kept and not answer:
                self.count.dropped += 1
                self._close()
                answer = self._exchange()
            self._judge(answer)
        except OSError as exc:
            self._fail(repr(exc))

    def _judge(self, answer: bytes) -> None:
        if not answer.startswith(b"HTTP/1.1 200 "):
            self._fail(repr(answer[:80]))
            return
        self.count.answers[answer.partition(b"\r\n\r\n")[2].decode(errors="replace").strip()] += 1
        if not self._keeps_alive or b"Connection: close" in answer:
            self._close()

    def _exchange(self) -> bytes:
        """Return an answer, all of it; nothing when the connection ended before the first byte."""
        connection = self._connection or socket.create_connection(("127.0.0.1", self._port), timeout=LIMIT)
        is_kept, self._connection = self._connection is not None, connection
        kept = "keep-alive" if self._keeps_alive else "close"
        answer = b""
        try:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {self._host}\r\nConnection: {kept}\r\n\r\n".encode())
            while not _is_whole(answer):
                piece = connection.recv(4096)
                if not piece:
                    break
                answer += piece
        except (ConnectionResetError, BrokenPipeError):
            if answer or not is_kept:
                raise
        if answer and not _is_whole(answer):
            raise ConnectionError("an answer that ends too early")
        return answer

    def _fail(self, fault: str) -> None:
        self.count.failed += 1
        self.count.faults.append(fault) if len(self.count.faults) < 5 else None
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return bool(end and lengths) and len(body) >= int(lengths[0].partition(b":")[2])
