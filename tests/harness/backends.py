"""Small backend servers that answer with their names, and clients that record which of them answered."""

import http.client
import http.server
import socket
import socketserver
import threading
from typing import Self

from harness.ports import free_port
from harness.waiting import PATIENCE

QUEUE = 128  # connections waiting to be accepted; the library's 5 drops some under a burst


class _Backend:
    """A threaded server on a port that stays its own over stop and start."""

    def __init__(self, name: str, *, port: int | None = None):
        self.name = name
        self.address = "127.0.0.1"
        self.port = port or free_port()
        self.hits = 0  # requests or connections answered, health checks not counted
        self.healthy = True
        self.answers = threading.Event()  # while it is clear, whoever asks for its health waits
        self.answers.set()
        self._server: socketserver.BaseServer | None = None

    def start(self) -> Self:
        assert not self._server, f"{self.name} runs already"
        self._server = self._new_server()
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name=self.name, daemon=True)
        thread.start()
        return self

    def stop(self) -> None:
        """Close the port: connections are refused from now on."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self.answers.set()

    def _new_server(self) -> socketserver.BaseServer:
        raise NotImplementedError


class HttpBackend(_Backend):
    """Answers every path with `NAME PORT`, and `/health` with 200, or 503 once `healthy` is false.

    Speaks HTTP/1.0: no kept connection outlives `stop`.
    """

    def _new_server(self) -> http.server.ThreadingHTTPServer:
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/health":
                    backend.answers.wait()
                    self.answer(200 if backend.healthy else 503, "healthy" if backend.healthy else "unhealthy")
                else:
                    backend.hits += 1
                    self.answer(200, f"{backend.name} {backend.port}")

            def answer(self, status: int, text: str) -> None:
                body = f"{text}\n".encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = QUEUE

        return Server((self.address, self.port), Handler)

    @property
    def health_url(self) -> str:
        return f"http://{self.address}:{self.port}/health"


class TcpBackend(_Backend):
    """Sends `NAME PORT` to each connection and closes it; nothing at all once `healthy` is false."""

    def _new_server(self) -> socketserver.ThreadingTCPServer:
        backend = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                backend.hits += 1
                if backend.healthy:
                    self.request.sendall(f"{backend.name} {backend.port}\n".encode())

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = QUEUE

        return Server((self.address, self.port), Handler)


class UdpBackend(_Backend):
    """Answers each datagram with `NAME PORT`."""

    def _new_server(self) -> socketserver.BaseServer:
        backend = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                backend.hits += 1
                self.request[1].sendto(f"{backend.name} {backend.port}".encode(), self.client_address)

        return socketserver.ThreadingUDPServer((self.address, self.port), Handler)


def udp_ask(port: int, *, timeout: float = PATIENCE) -> str:
    """Send a datagram to a port of 127.0.0.1; return the answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout)
        client.sendto(b"?", ("127.0.0.1", port))
        return client.recv(100).decode()


def http_get(port: int, path: str = "/", *, host: str | None = None, timeout: float = PATIENCE) -> tuple[int, str]:
    """Return status and text of a GET on 127.0.0.1; `host` is the Host header. Raises OSError when refused."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace").strip()
    finally:
        connection.close()


def tcp_read(port: int, *, timeout: float = PATIENCE) -> str:
    """Return what a server on 127.0.0.1 sends until it closes. Raises OSError when refused or reset."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode(errors="replace").strip()
