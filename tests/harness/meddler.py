"""A proxy in front of a real Consul agent that changes answers when a test tells it to."""

import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Self

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from harness.ports import free_port

PASSED_ON = ("Content-Type", "X-Consul-Index", "X-Consul-KnownLeader", "X-Consul-LastContact")

Meddling = Callable[[Request, Response], Response]


class Meddler:
    """Answers on its own `address` as the agent on a port does; a meddling may change what it said."""

    def __init__(self, agent_port: int):
        self._agent_port = agent_port
        self._server = HTTPServer("127.0.0.1", free_port(), threaded=True)
        self._server.expect_request(re.compile(".*")).respond_with_handler(self._answer)
        self._meddling: Meddling | None = None
        self.meddled = 0

    @property
    def port(self) -> int:
        return int(self._server.port)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it prints every request
        self._server.start()
        return self

    def stop(self) -> None:
        self._server.clear()
        self._server.stop()

    @contextmanager
    def meddling(self, meddling: Meddling) -> Iterator[None]:
        """Change all answers that are finished in the block."""
        self._meddling = meddling
        try:
            yield
        finally:
            self._meddling = None

    def _answer(self, request: Request) -> Response:
        response = self._passed_on(request)
        meddling = self._meddling
        if meddling is None:
            return response
        self.meddled += 1
        return meddling(request, response)

    def _passed_on(self, request: Request) -> Response:
        connection = HTTPConnection("127.0.0.1", self._agent_port, timeout=60)
        target = f"{request.path}?{request.query_string.decode()}"
        try:
            connection.request(request.method, target, request.get_data() or None)
            answer = connection.getresponse()
            headers = {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}
            return Response(answer.read(), answer.status, headers)
        finally:
            connection.close()


def empty(_request: Request, response: Response) -> Response:
    """Say that nothing is there, as of a state that has just begun."""
    response.set_data(b"{}" if response.get_data().startswith(b"{") else b"[]")
    response.headers["X-Consul-Index"] = "1"
    return response


def alternating() -> Meddling:
    """Answer stale reads in turn as a server that is up to date and one that lags behind and knows half."""
    turns: Counter[str] = Counter()

    def meddling(request: Request, response: Response) -> Response:
        turns[request.path] += "stale" in request.args
        if "stale" not in request.args or turns[request.path] % 2:
            return response
        known = json.loads(response.get_data())
        half = known[: len(known) // 2] if isinstance(known, list) else dict(list(known.items())[: len(known) // 2])
        response.set_data(json.dumps(half))
        response.headers["X-Consul-Index"] = str(max(1, int(response.headers["X-Consul-Index"]) - 1))
        return response

    return meddling


def limited(body: str) -> Meddling:
    """Answer 429 with a body."""
    return lambda _request, _response: Response(body, 429, {"Content-Type": "text/plain"})


def slow(_request: Request, response: Response) -> Response:
    """Send the answer in ten pieces over two seconds."""
    body = response.get_data()
    step = max(1, len(body) // 10)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), step):
            time.sleep(0.2)
            yield body[start : start + step]

    headers = dict(response.headers) | {"Content-Length": str(len(body))}
    return Response(pieces(), response.status_code, headers)


def cut_off(_request: Request, response: Response) -> Response:
    """Send half a body as if it were all."""
    body = response.get_data()
    response.set_data(body[: len(body) // 2])
    return response
