"""Releases and routes on a real nginx: which instance answers each request, and in what shares."""

import http.client
from collections import Counter

from harness import free_port, http_get
from harness.waiting import PATIENCE

CLIENTS = 1000
TEMPLATE = """\
{{% import "ctemplate/nginx.j2" as nginx %}}
{{% import "ctemplate/releases.j2" as releases %}}
{{% import "ctemplate/routes.j2" as routes %}}
{main}
http {{
    {http}
    {{{{- releases.split("web", {{"2.0": 10, "3.0": 0}}, source="$arg_client", header="X-Release",
                         cookie="release") }}}}
    server {{
        listen 127.0.0.1:{port};
        server_name web.example.com;
        location / {{ proxy_pass http://{{{{ releases.variable("web") }}}}; }}
    }}
    {{{{- nginx.upstreams("http", "routed") }}}}
    {{{{- routes.servers(["example.com"], port="127.0.0.1:{port}") }}}}
}}
"""


def answers(port, paths, **headers):
    """Count the answers over one kept connection, by the name of the backend."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    counts = Counter()
    for path in paths:
        connection.request("GET", path, headers={"Host": "web.example.com"} | headers)
        counts[connection.getresponse().read().decode().split()[0]] += 1
    connection.close()
    return counts


def test_requests_are_shared_as_told_and_routes_lead_where_their_tags_say(tmp_path, ctemplate, nginx, http_backend):
    old, new, shop = http_backend("old"), http_backend("new"), http_backend("shop")
    port, template, catalog = free_port(), tmp_path / "nginx.conf.j2", tmp_path / "catalog.yaml"
    template.write_text(TEMPLATE.format(main=nginx.main, http=nginx.http, port=port))

    def apply(newest):
        catalog.write_text(f"""
services:
  web:
    tags: [http]
    instances:
      - {{address: 127.0.0.1, port: {old.port}, node: a, meta: {{version: "1.4"}}}}
      - {{address: 127.0.0.1, port: {new.port}, node: b, meta: {{version: "{newest}"}}}}
  shop:
    tags: [http, routed, route=/shop, route=Shop.example.com, route=bank.example.org]
    instances: [{{address: 127.0.0.1, port: {shop.port}, node: a}}]
""")
        process = ctemplate("-catalog", catalog, "-template", f"{template}:{nginx.conf}", "-once")
        assert process.wait() == 0, process.output()

    apply("2.0")
    nginx.start()
    clients = [f"/?client={number}" for number in range(CLIENTS)]
    shares = answers(port, clients)
    assert 50 <= shares["new"] <= 150, "a tenth, of a hash that is the same on every machine"
    assert shares.total() == CLIENTS
    assert answers(port, clients) == shares
    assert answers(port, clients[:50], **{"X-Release": "2.0"}) == {"new": 50}
    assert answers(port, clients[:50], Cookie="release=2.0") == {"new": 50}
    assert answers(port, clients[:50], Cookie="release=2.0", **{"X-Release": "rest"}) == {"old": 50}
    assert http_get(port, "/shop/cart", host="other.example.com")[1] == f"shop {shop.port}"
    assert http_get(port, "/shopping", host="other.example.com")[0] == 404
    assert http_get(port, host="shop.example.com")[1] == f"shop {shop.port}"
    assert http_get(port, host="bank.example.org")[0] == 404

    nginx.stop()
    apply("3.0")
    nginx.start()
    assert answers(port, clients[:200]) == {"old": 200}, "a share of 0 is reached by name alone"
    assert answers(port, clients[:50], **{"X-Release": "3.0"}) == {"new": 50}
