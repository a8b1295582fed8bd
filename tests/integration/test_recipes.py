"""The recipes for protocols with real traffic: the templates of docs/recipes.md as they are, except for ports."""

import http.client
import json
import re
import socket
import socketserver
import ssl
import subprocess
import threading

import pytest
from harness import ROOT, free_port, program
from harness.backends import UdpBackend, udp_ask
from harness.grpc_calls import GrpcBackend, grpc_call

LIMIT = 60
PAGE = (ROOT / "docs/recipes.md").read_text()


def recipe(title):
    """The template below a heading of the page."""
    return re.search(rf"^## {title}\n(?:(?!^## ).)*?```jinja\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)[1]


@pytest.fixture
def serve(tmp_path, nginx, ctemplate):
    """Render a recipe over services, NAME: (tag, port), with texts of it replaced, and start nginx with it."""

    def start(title, services, replaced):
        text = recipe(title)
        for before, now in {"listen {{ svc": "listen 127.0.0.1:{{ svc"}.items() | replaced.items():
            text = text.replace(before, now)
        text = re.sub(r"^http \{$", lambda _: f"http {{\n{nginx.http}", text, flags=re.MULTILINE)
        (tmp_path / "recipe.conf.j2").write_text(nginx.main + text)
        catalog = {
            name: {"tags": [tag], "instances": [{"address": "127.0.0.1", "port": port, "node": "a"}]}
            for name, (tag, port) in services.items()
        }
        (tmp_path / "catalog.json").write_text(json.dumps({"services": catalog}))
        listen = ("-var", "listen=127.0.0.1")
        run = ctemplate("-once", "-catalog", "catalog.json", "-template", f"recipe.conf.j2:{nginx.conf}", *listen)
        assert run.wait(LIMIT) == 0, run.stderr()
        assert "left out" not in run.stderr()
        nginx.start()

    return start


@pytest.fixture
def certificate(tmp_path):
    """Make an authority, and a certificate of it for a host; return both files and the key."""

    def make(host):
        for order in (["ca", "create"], ["cert", "create", "-server", "-additional-dnsname", host]):
            subprocess.run([program("consul"), "tls", *order], cwd=tmp_path, check=True, capture_output=True)
        paths = ("consul-agent-ca.pem", "dc1-server-consul-0.pem", "dc1-server-consul-0-key.pem")
        return tuple(tmp_path / path for path in paths)

    return make


class Recorder(socketserver.ThreadingTCPServer):
    """Records the first lines of each connection up to an empty one, or the first alone, and answers `ok`."""

    daemon_threads = True

    def __init__(self, *, is_http):
        self.lines, self.is_http = [], is_http
        super().__init__(("127.0.0.1", free_port()), RecordingHandler)
        threading.Thread(target=self.serve_forever, args=(0.02,), name="recorder", daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]


class RecordingHandler(socketserver.StreamRequestHandler):
    def handle(self):
        if self.server.is_http:
            self.server.lines.append([line.decode().strip() for line in iter(self.rfile.readline, b"\r\n")])
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            self.server.lines.append(self.rfile.readline().decode().strip())
            self.wfile.write(b"ok")


@pytest.fixture
def recorder(programs):
    def start(*, is_http=True):
        server = programs.enter_context(Recorder(is_http=is_http))
        programs.callback(server.shutdown)
        return server

    return start


def tls_connection(port, authority, host):
    context = ssl.create_default_context(cafile=authority)
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=LIMIT), server_hostname=host)


def test_tls_is_terminated_with_the_service_s_certificate_and_other_names_get_none(
    serve, certificate, recorder, tmp_path
):
    authority, certificate_file, key = certificate("web.example.com")
    (tmp_path / "tls").mkdir()
    certificate_file.rename(tmp_path / "tls/web.pem")
    key.rename(tmp_path / "tls/web.key")
    backend, port, tls_port = recorder(), free_port(), free_port()
    arguments = f'"example.com", certificates="{tmp_path}/tls", https_port={tls_port}, http_port={port}'
    serve("TLS with certificates from files", {"web": ("http", backend.port)}, {'"example.com"': arguments})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    connection.request("GET", "/a?b", headers={"Host": "web.example.com"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, f"https://web.example.com:{tls_port}/a?b")
    connection.close()
    with tls_connection(tls_port, authority, "web.example.com") as client:
        client.sendall(b"GET /a HTTP/1.0\r\nHost: web.example.com\r\n\r\n")
        assert client.makefile("rb").read().endswith(b"\r\n\r\nok")
    assert "X-Forwarded-Proto: https" in backend.lines[0]
    with pytest.raises(ssl.SSLError):
        tls_connection(tls_port, authority, "other.example.com")


def test_tls_is_passed_through_by_host_name(serve, certificate, programs):
    authority, certificate_file, key = certificate("vault.example.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key)
    server = programs.enter_context(socket.create_server(("127.0.0.1", 0)))

    def answer_once():
        with context.wrap_socket(server.accept()[0], server_side=True) as client:
            client.sendall(b"its own")

    thread = threading.Thread(target=answer_once, name="vault", daemon=True)
    thread.start()
    port = free_port()
    call = {'"example.com"': f'"example.com", port={port}'}
    serve("TLS passed through by host name", {"vault": ("tls", server.getsockname()[1])}, call)
    with tls_connection(port, authority, "vault.example.com") as client:
        assert client.recv(100) == b"its own"
    thread.join(LIMIT)
    with pytest.raises(OSError):  # noqa: PT011  # refused in one of several ways: nobody is there for that name
        tls_connection(port, authority, "other.example.com")


def test_the_proxy_protocol_says_who_the_client_is_and_is_passed_on(serve, recorder):
    web, mail, port, mail_port = recorder(), recorder(is_http=False), free_port(), free_port()
    replaced = {"10.0.0.0/8": "127.0.0.1", "listen 80": f"listen 127.0.0.1:{port}"}
    serve("PROXY protocol", {"web": ("http", web.port), f"mail-{mail_port}": ("tcp", mail.port)}, replaced)
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as client:
        client.sendall(b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 80\r\nGET / HTTP/1.0\r\nHost: web.example.com\r\n\r\n")
        assert client.makefile("rb").read().endswith(b"\r\n\r\nok")
    assert "X-Forwarded-For: 198.51.100.7" in web.lines[0]
    with socket.create_connection(("127.0.0.1", mail_port), timeout=LIMIT) as client:
        local = client.getsockname()[1]
        assert client.recv(100) == b"ok"
    assert mail.lines == [f"PROXY TCP4 127.0.0.1 127.0.0.1 {local} {mail_port}"]


def test_grpc_reaches_its_service(serve, tmp_path, programs):
    greeter, port = GrpcBackend("greeter", tmp_path), free_port()
    programs.callback(greeter.process.stop)
    greeter.process.start()
    assert grpc_call(greeter.port, "/direct") == "greeter /direct hi"
    serve("gRPC", {"greeter": ("grpc", greeter.port)}, {"http2(50051)": f"http2({port})"})
    assert grpc_call(port, "/hello.Greeter/Hello", "you") == "greeter /hello.Greeter/Hello you"


def test_udp_reaches_its_service(serve, programs):
    dns, port = UdpBackend("dns"), free_port()
    programs.callback(dns.stop)
    dns.start()
    serve("UDP", {f"dns-{port}": ("udp", dns.port)}, {})
    assert [udp_ask(port) for _ in range(2)] == [f"dns {dns.port}"] * 2
