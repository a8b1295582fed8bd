"""The shipped nginx.conf.j2 on a real nginx: accepted without a warning, and serving the right hosts."""

import http.client
import socket
import socketserver
import threading

import pytest
from harness import ROOT, free_port, http_get, tcp_read
from harness.shipped import shipped_variables

LIMIT = 10


@pytest.fixture
def render(tmp_path, ctemplate, nginx):
    """Write nginx.conf from a catalog's text, for an nginx of this test's own; return the port of http."""

    def write(catalog: str, **variables) -> int:
        catalog_file = tmp_path / "catalog.yaml"
        catalog_file.write_text(catalog)
        http_port = free_port()
        own = {
            "http_port": http_port,
            "worker_processes": 2,
            "access_log": nginx.prefix / "access.log",
            "stream_access_log": nginx.prefix / "stream.log",
        }
        settings = shipped_variables(nginx, **(own | variables))
        template = f"{ROOT / 'templates/nginx.conf.j2'}:{nginx.conf}"
        process = ctemplate("-catalog", catalog_file, "-template", template, "-once", *settings)
        assert process.wait() == 0, process.output()
        return http_port

    return write


def many(tag, count, name):
    return ", ".join(
        f"{name.replace('#', str(n))!r}: {{tags: [{tag}], instances: [{{address: 10.0.0.1, port: 80}}]}}"
        for n in range(count)
    )


@pytest.mark.parametrize(
    "catalog",
    [
        pytest.param("services: {}", id="nothing"),
        pytest.param((ROOT / "examples/nginx/catalog.yaml").read_text(), id="the example"),
        pytest.param("services: {web: {tags: [http], instances: []}}", id="nobody serves"),
        pytest.param(f"services: {{{many('http', 600, 'a-rather-long-name-of-a-service.team#.example')}}}", id="600"),
        pytest.param(f"services: {{{many('http', 3, 'x' * 300 + '#')}}}", id="long names"),
        pytest.param(f"services: {{{many('http', 1, '~.*')}, {many('http', 1, '*')}}}", id="names like patterns"),
        pytest.param(f"services: {{{many('http', 1, 'a; } evil { ')}}}", id="a name like directives"),
        pytest.param(f"services: {{{many('http, tcp, udp', 3, 'all-1500#')}}}", id="all tags at once"),
        pytest.param(
            "services: {web: {tags: [http], instances: ["
            + ", ".join(f"{{address: 10.0.{n // 250}.{n % 250}, port: 80}}" for n in range(1000))
            + "]}}",
            id="a thousand instances",
        ),
        pytest.param(
            "services: {web: {tags: [http], instances: [{address: '2001:db8::1', port: 80}, "
            "{address: 10.0.0.1, port: 80, status: maintenance}]}}",
            id="ipv6 and maintenance",
        ),
    ],
)
def test_nginx_accepts_it_without_a_warning(render, nginx, catalog):
    render(catalog)
    assert nginx.check().stderr.splitlines() == [
        f"nginx: the configuration file {nginx.conf} syntax is ok",
        f"nginx: configuration file {nginx.conf} test is successful",
    ]


def catalog_of(**backends):
    """A catalog of services with one instance each: name=(tag, port)."""
    return "services:\n" + "\n".join(
        f"  {name.replace('_', '-')}: {{tags: [{tag}], instances: [{{address: 127.0.0.1, port: {port}}}]}}"
        for name, (tag, port) in backends.items()
    )


def test_traffic_reaches_each_service_and_nothing_else_answers_for_it(render, nginx, http_backend, tcp_backend):
    web, api, tcp = http_backend("web"), http_backend("api"), tcp_backend("tcp")
    tcp_port = free_port()
    services = {"web": ("http", web.port), "api": ("http", api.port), f"db_{tcp_port}": ("tcp", tcp.port)}
    port = render(f"{catalog_of(**services)}\n  gone: {{tags: [http], instances: []}}\n", domain="example.com")
    nginx.start()
    assert http_get(port, host="web.example.com") == (200, f"web {web.port}")
    assert http_get(port, host="API.example.com") == (200, f"api {api.port}")
    assert tcp_read(tcp_port) == f"tcp {tcp.port}"
    assert http_get(port, host="gone.example.com") == (503, "no healthy instance")
    assert http_get(port, host="web.example.org") == (404, "no such host")
    assert http_get(port, "/nginx-health") == (200, "ok")


class Recorder(socketserver.ThreadingTCPServer):
    """Keeps what it is sent until the empty line, and answers with what it was given."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, answer: bytes) -> None:
        super().__init__(("127.0.0.1", 0), RecordingHandler)
        self.answer = answer
        self.head = b""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class RecordingHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.server.head = b"".join(iter(self.rfile.readline, b"\r\n"))
        self.wfile.write(self.server.answer)
        self.wfile.write(self.rfile.readline())  # what comes over an upgraded connection goes back


@pytest.fixture
def recorder(programs):
    def start(answer: bytes) -> Recorder:
        server = programs.enter_context(Recorder(answer))
        programs.callback(server.shutdown)
        return server

    return start


def test_backends_learn_whose_request_it_is(render, nginx, recorder):
    backend = recorder(b"HTTP/1.1 204 No Content\r\n\r\n")
    port = render(catalog_of(web=("http", backend.server_address[1])))
    nginx.start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    connection.request("GET", "/a?b", headers={"Host": "web.localhost", "X-Forwarded-For": "192.0.2.7"})
    assert connection.getresponse().status == 204
    connection.close()
    request, *lines = backend.head.decode().splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    request_id = headers.pop("X-Request-ID")
    assert (request, len(request_id)) == ("GET /a?b HTTP/1.1", 32)
    assert headers == {
        "Host": "web.localhost",
        "X-Real-IP": "127.0.0.1",
        "X-Forwarded-For": "192.0.2.7, 127.0.0.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "web.localhost",
        "X-Forwarded-Port": str(port),
        "Accept-Encoding": "identity",
    }


def test_websockets_pass(render, nginx, recorder):
    backend = recorder(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    port = render(catalog_of(web=("http", backend.server_address[1])))
    nginx.start()
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as client, client.makefile("rwb") as stream:
        stream.write(b"GET / HTTP/1.1\r\nHost: web.localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        stream.flush()
        head = b"".join(iter(stream.readline, b"\r\n"))
        stream.write(b"ping\n")
        stream.flush()
        assert (head.split()[1], stream.readline()) == (b"101", b"ping\n")
    assert b"Upgrade: websocket\r\nConnection: upgrade\r\n" in backend.head


def test_udp_reaches_its_backend(render, nginx):
    udp_port = free_port()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as backend,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        backend.bind(("127.0.0.1", 0))
        backend.settimeout(LIMIT)
        client.settimeout(LIMIT)
        render(catalog_of(**{f"dns_{udp_port}": ("udp", backend.getsockname()[1])}))
        nginx.start()
        client.sendto(b"question", ("127.0.0.1", udp_port))
        question, sender = backend.recvfrom(100)
        backend.sendto(b"answer", sender)
        assert (question, client.recv(100)) == (b"question", b"answer")


def test_a_refused_connection_is_tried_elsewhere(render, nginx, http_backend):
    alive, dead = http_backend("alive"), http_backend("dead")
    port = render(
        f"services: {{web: {{tags: [http], instances: [{{address: 127.0.0.1, port: {alive.port}}},"
        f" {{address: 127.0.0.1, port: {dead.port}}}]}}}}"
    )
    nginx.start()
    dead.stop()
    assert {http_get(port, host="web.localhost") for _ in range(20)} == {(200, f"alive {alive.port}")}
