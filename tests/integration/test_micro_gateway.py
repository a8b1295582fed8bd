"""The gateway for go-micro: payloads as go-micro registers them, in a real Consul, and calls through a real nginx."""

import http.client
import http.server
import json
import threading

import pytest
from harness import free_port
from harness.grpc_calls import GrpcBackend, grpc_call

LIMIT = 60
# Payload and tags as go-micro writes them: metadata pairs, the endpoint Greeter.Hello, the version "latest".
GREETER = """
{"ID":"go.micro.srv.greeter-7f1c2d4e-8a7b-4c1d-9e2f-0a1b2c3d4e5f","Name":"go.micro.srv.greeter","Address":"127.0.0.1","Port":PORT,
 "Tags":["t-789caa562a28ca2fc94fcecf51b252ca2d4d2e50aa05040000ffff46a906e2","t-789caa562a4a4dcf2c2e29aa54b2524acecf2b2ecd51aa05040000ffff560f07c8",
  "t-789caa562a4e2d2a4b2d52b252ca2d4d2e50aa05040000ffff37200607","t-789caa562a294acc2b2ec82f2a51b252ca28292950aa05040000ffff4f930768",
  "t-789caa564a2acacf4e2d52b252ca28292950aa05040000ffff364d0600",
  "e-789c5ccc410a02310c85e1bbbc75f100b980aebd41c0b7cb74c62415a4f4ee6eaad8d97ef0ff1dce676324a4a3ea4608ee530af27dacf0526b0c486d66a3c019c75e834b3ce9affec929df98fad054481fe53bb83a99f4cb8d663bc6270000ffff87ca376b",
  "v-789cca492c492d2e01040000ffff08cc028e"],
 "Meta":{"broker":"http","protocol":"mucp","registry":"consul","server":"mucp","transport":"http"},
 "Check":{"TTL":"1m30s","DeregisterCriticalServiceAfter":"1m35s"},"Checks":null}
"""
GRPC = "t-789caa562a28ca2fc94fcecf51b2524a2f2a4856aa05040000ffff468306d9"  # {"protocol":"grpc"}
TEMPLATE = """\
{{% import "ctemplate/micro.j2" as micro %}}
{main}
http {{
    {http}
    {{{{- micro.gateway(port="127.0.0.1:{port}", grpc_port="127.0.0.1:{grpc_port}") }}}}
}}
"""


class Service(http.server.BaseHTTPRequestHandler):
    """Answers as go-micro's HTTP transport does: what is called stands in headers, the request in the body."""

    def do_POST(self):
        names = ("Micro-Service", "Micro-Method", "Micro-Endpoint", "Content-Type")
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        answer = json.dumps([*(self.headers[name] for name in names), body]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_args):
        pass


@pytest.fixture
def greeter(programs):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Service)
    threading.Thread(target=server.serve_forever, args=(0.02,), name="greeter", daemon=True).start()
    programs.callback(server.server_close)
    programs.callback(server.shutdown)
    return server.server_port


def post(port, path, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_calls_lead_where_the_micro_api_would_lead_them(tmp_path, consul, nginx, ctemplate, greeter, programs):  # noqa: PLR0917
    shop = GrpcBackend("shop", tmp_path)
    programs.callback(shop.process.stop)
    shop.process.start()
    port, grpc_port, template = free_port(), free_port(), tmp_path / "nginx.conf.j2"
    template.write_text(TEMPLATE.format(main=nginx.main, http=nginx.http, port=port, grpc_port=grpc_port))
    payload = json.loads(GREETER.replace("PORT", str(greeter)))
    grpc = {"ID": "shop-1", "Name": "go.micro.srv.v1.shop", "Address": "127.0.0.1", "Port": shop.port, "Checks": None}
    old = {
        "ID": "old-1",
        "Name": "go.micro.srv.old",
        "Address": "127.0.0.1",
        "Port": 9,
        "Tags": ['e={"name":"Old.Call"}'],
    }
    for each in (
        payload,
        grpc | {"Tags": [GRPC, 'e={"name":"Shop.Buy"}']},
        old | {"Check": {"TTL": "1h", "Status": "critical"}},
    ):
        consul.api("PUT", "/v1/agent/service/register", each)
    daemon = ctemplate(
        "-consul-addr",
        consul.address,
        "-wait",
        "50ms:200ms",
        "-template",
        f"{template}:{nginx.conf}:{nginx.reload_command}",
    )
    daemon.wait_for(nginx.conf.exists, LIMIT, "nginx.conf")
    nginx.start()
    assert post(port, "/greeter/hello", "{}")[0] == 503, "critical until its first heartbeat, as go-micro registers it"
    consul.api("PUT", f"/v1/agent/check/pass/service:{payload['ID']}")
    daemon.wait_for(lambda: post(port, "/greeter/hello", "{}")[0] == 200, LIMIT, "an answer after the heartbeat")
    nginx.settle()
    call = ["go.micro.srv.greeter", "Greeter.Hello", "Greeter.Hello", "application/json", '{"name":"x"}']
    for path in ("/greeter/hello", "/greeter/Hello", "/greeter/greeter/hello", "/greeter/Greeter/Hello"):
        status, text = post(port, path, '{"name":"x"}')
        assert (status, json.loads(text)) == (200, call)
    assert post(port, "/greeter/goodbye", "{}")[0] == 404
    assert post(port, "/old/call", "{}")[0] == 503
    assert grpc_call(grpc_port, "/v1.shop.Shop/Buy", "tea") == "shop /v1.shop.Shop/Buy tea"
    assert grpc_call(grpc_port, "/go.micro.srv.v1.shop.Shop/Buy") == "shop /go.micro.srv.v1.shop.Shop/Buy hi"
    assert grpc_call(grpc_port, "/v1.shop.Shop/Sell") == "UNIMPLEMENTED"
    consul.maintenance("shop-1", on=True)
    daemon.wait_for(
        lambda: "no healthy instance" in nginx.conf.read_text().partition("v1.shop.Shop/Buy")[2], LIMIT, "503"
    )
    daemon.wait_for(lambda: grpc_call(grpc_port, "/v1.shop.Shop/Buy") == "UNAVAILABLE", LIMIT, "no instance")
