"""What ships, on the nginx and the HAProxy of another Debian: recipes, macros, examples, all without a warning.

CTEMPLATE_SUITE=trixie takes Debian 13 (`make roots`). Real traffic on the newest nginx is `make newest`.
"""

import os
import re

import msgspec
import pytest
from harness import ROOT
from harness.roots import clean_root, is_possible

from ctemplate.core.model import Snapshot
from ctemplate.nginx.modules import Modules
from ctemplate.queries.catalog_entries import RecordedBuild
from ctemplate.sources.contents import answer, parse_catalog
from ctemplate.template import Renderer, Template

SUITE = os.environ.get("CTEMPLATE_SUITE", "")
NEW_NGINX = {"bookworm": False, "trixie": True}  # whether its nginx has the directive http2
PROGRAMS = ("nginx", "libnginx-mod-stream", "haproxy", "openssl")
MAIN = "load_module modules/ngx_stream_module.so;\nevents { }\n"
PAGES = ("recipes.md", "releases.md", "kv.md", "mesh.md", "for-each.md", "zh-CN/recipes.md")
DATACENTERS = """
services: {web: {tags: [http], instances: [{address: 10.0.0.1, port: 80}]}}
datacenter: east
datacenters: {west: {services: {web: {tags: [http], instances: [{address: 10.1.0.1, port: 80}]}}}}
answers: [{question: {query: datacenters}, names: [east, west]}]
"""
CONTAINERS = """
services:
  web: {tags: [http], instances: [{address: 10.0.0.1, port: 32768, id: "host-a:web-1:80"}]}
  redis-6: {tags: [tcp], instances: [{address: 10.0.0.1, port: 32769, id: "host-a:redis:6379"}]}
  dns: {tags: [udp], instances: [{address: 10.0.0.1, port: 32770, id: "host-a:dns:53:udp"}]}
"""
CONTAINER_VARS = {
    "stream_module": "modules/ngx_stream_module.so", "pid": "/run/nginx.pid", "error_log": "/var/log/nginx/error.log",
    "access_log": "off", "stream_access_log": "off", "temp_dir": "/var/lib/nginx", "http_port": 8080,
}  # fmt: skip

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not SUITE, reason="takes minutes: make roots"),
    pytest.mark.skipif(not is_possible(), reason="a clean root takes root"),
]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A Debian with its own servers, and the certificates that the recipes name."""
    root = clean_root(SUITE, tmp_path_factory.mktemp("newer") / "host")
    root.install(*PROGRAMS)
    root.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=web -days 2 -keyout /tmp/key -out /tmp/pem 2>/dev/null"
    )
    return root


@pytest.fixture(scope="module")
def build(host):
    """The version and modules of that nginx, as a catalog file has them."""
    found = Modules.from_output(host.run("nginx -V 2>&1"))
    present = [name for name in found.requested if name not in found.files or host.has(str(found.files[name]))]
    return {"nginx": RecordedBuild(version=found.version, modules=tuple(present), without=found.removed)}


@pytest.fixture(scope="module")
def render(build):
    """Print a template over a catalog as for that nginx."""

    def printed(source, catalog, variables=(), escape="nginx"):
        page = parse_catalog(catalog, name="catalog.yaml")
        known = msgspec.structs.replace(page, nginx=build)
        renderer = Renderer([Template.load(source, variables=dict(variables), environ={}, escape=escape)])
        answers = {}
        while (rendering := renderer.render(Snapshot(answers))).missing:
            answers |= {query: answer(known, query) for query in rendering.used | rendering.missing}
        assert rendering.quarantined == ()
        return rendering.texts[0]

    return printed


def recipes():
    """Each complete configuration that a page shows as a template, with the page's catalog."""
    for name in PAGES:
        page = (ROOT / "docs" / name).read_text()
        catalogs = re.findall(r"```yaml\n(services:.*?)```", page, re.DOTALL)
        for number, text in enumerate(re.findall(r"```jinja\n(.*?)```", page, re.DOTALL)):
            if catalogs and re.search(r"^(http|stream) \{", text, re.MULTILINE):
                yield f"{name.replace('/', '-')}-{number}", text, catalogs[-1]


def refused_files(host, texts):
    """Write the texts to the host, and return what its nginx says of those that it does not accept silently."""
    needed = "\n".join(texts.values())
    for path in {*re.findall(r"\bssl_(?:trusted_|client_)?certificate(?:_key)? (\S+);", needed)}:
        host.write(path, host.read("/tmp/key" if path.endswith((".key", "key.pem")) else "/tmp/pem"))
    for name, text in texts.items():
        host.write(f"/etc/nginx/{name}.conf", text)
    said = {name: host.run(f"nginx -t -c /etc/nginx/{name}.conf 2>&1 || true") for name in texts}
    accepted = "nginx: the configuration file {0} syntax is ok\nnginx: configuration file {0} test is successful\n"
    return {name: text for name, text in said.items() if text != accepted.format(f"/etc/nginx/{name}.conf")}


def test_its_nginx_accepts_every_recipe_without_a_warning(host, build, render, tmp_path):
    texts = {}
    for name, text, catalog in recipes():
        (tmp_path / "recipe.conf.j2").write_text(MAIN + text)
        texts[name] = render(tmp_path / "recipe.conf.j2", catalog)
    assert len(texts) >= 18
    assert refused_files(host, texts) == {}
    assert ("http2 on;" in "".join(texts.values())) == NEW_NGINX[SUITE], build


def test_its_nginx_accepts_the_templates_and_examples_that_ship(host, render, tmp_path):
    (tmp_path / "readme.conf.j2").write_text(
        re.search(r"```jinja\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    )
    example = (ROOT / "examples/nginx/catalog.yaml").read_text()
    texts = {
        "complete": render(ROOT / "templates/nginx.conf.j2", example),
        "readme": render(tmp_path / "readme.conf.j2", example),
        "datacenters": render(ROOT / "examples/datacenters/nginx.conf.j2", DATACENTERS, {"own_dc": "east"}),
        "registrator": render(ROOT / "examples/registrator/nginx.conf.j2", CONTAINERS, CONTAINER_VARS),
    }
    assert refused_files(host, texts) == {}


def test_its_haproxy_accepts_the_examples(host, render):
    catalog = (ROOT / "examples/formats/catalog.yaml").read_text()
    for folder in ("haproxy", "formats"):
        source = ROOT / "examples" / folder / "haproxy.cfg.j2"
        host.write("/etc/haproxy/haproxy.cfg", render(source, catalog, escape="haproxy"))
        said = host.run("haproxy -c -f /etc/haproxy/haproxy.cfg 2>&1")
        assert not re.search("WARNING|ALERT", said), said
