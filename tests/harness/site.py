"""A real nginx whose configuration ctemplate makes from a catalog file: a main file and a fragment, one group."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.backends import http_get
from harness.nginx import Nginx
from harness.ports import free_port
from harness.waiting import PATIENCE, wait_for

# The catalog decides everything that may break: foreign ports, names, sizes, keys. The generation tells what runs.
MAIN = """\
http {{
{http}
{{% for i in service("key") %}}
limit_req_zone {{{{ "$server_addr" if i.meta.key == "server" else "$remote_addr" }}}} zone=one:1m rate=100r/s;
{{% endfor %}}
server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 "{{% for i in service("generation") %}}{{{{ i.meta.value }}}}{{% endfor %}}"; }}
}}
{{% for i in service("edge") %}}
server {{
    listen 127.0.0.1:{{{{ i.port }}}};
    return 200 edge;
}}
{{% endfor %}}
include conf.d/*.conf;
}}
stream {{
{{% for i in service("stream-edge") %}}
server {{
    listen 127.0.0.1:{{{{ i.port }}}};
    return stream;
}}
{{% endfor %}}
}}
"""
FRAGMENT = """\
# generation {% for i in service("generation") %}{{ i.meta.value }}{% endfor %}

{% for s in services(tag="up") %}
{% for u in s.tags if u != "up" %}
upstream {{ u }} {
    zone {{ u }} 32k;
    {% for i in service(s.name) %}
    server {{ i.address }}:{{ i.port }}{% if i.meta.kind %} {{ i.meta.kind }}{% endif %};
    {% endfor %}
}
{% endfor %}
{% endfor %}
{% for i in service("twice") %}
upstream twice { server {{ i.address }}:{{ i.port }}; }
{% endfor %}
"""
SETTINGS = {"min_interval": "100ms", "max_draining": 1000}


class Site:
    """Templates, a configuration and a catalog in a folder; `args` run ctemplate on them, from the catalog."""

    def __init__(self, folder: Path, nginx: Nginx, **settings: Any):
        """Write everything down; `settings` are keys of the group."""
        self.folder = folder
        self.nginx = nginx
        self.port = free_port()
        self.fragment = nginx.prefix / "conf.d" / "upstreams.conf"
        self.fragment.parent.mkdir()
        self.state = folder / "state"
        self.catalog_file = folder / "catalog.yaml"
        self.config = folder / "ctemplate.toml"
        (folder / "nginx.conf.j2").write_text(nginx.main + MAIN.format(http=nginx.http, port=self.port))
        (folder / "upstreams.conf.j2").write_text(FRAGMENT)
        self.config.write_text(_toml(nginx, self.fragment, SETTINGS | settings))
        self.publish()

    @property
    def args(self) -> list[str]:
        return ["-config", str(self.config), "-catalog", str(self.catalog_file)]

    @property
    def files(self) -> tuple[Path, Path]:
        return self.nginx.conf, self.fragment

    def publish(self, generation: str = "1", **services: Mapping[str, Any]) -> None:
        """Replace the catalog; the shapes are those of a catalog file."""
        catalog = {
            "generation": _service([{"address": "10.0.0.1", "meta": {"value": generation}}]),
            "key": _service([{"address": "10.0.0.1", "meta": {"key": "remote"}}]),
        } | {name.replace("_", "-"): service for name, service in services.items()}
        new = self.catalog_file.with_name(".catalog.new")
        new.write_text(json.dumps({"services": catalog}))
        new.replace(self.catalog_file)

    def running(self) -> str:
        """Return the generation that nginx serves, empty when it does not answer."""
        try:
            return http_get(self.port)[1]
        except OSError:
            return ""

    def wait_running(self, generation: str, timeout: float = 20, log: Any = str) -> None:
        wait_for(lambda: self.running() == generation, timeout, f"generation {generation} running", log=log)

    def contents(self) -> tuple[bytes | None, ...]:
        return tuple(path.read_bytes() if path.exists() else None for path in self.files)

    def identities(self) -> list[tuple[int, int, int]]:
        """Return what changes when anybody touches one of the files, even to write the same bytes."""
        return [(path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in self.files]

    def times(self) -> list[int]:
        return [path.stat().st_mtime_ns for path in self.files]

    def leftovers(self) -> list[str]:
        """Return the candidates that still stand beside the files."""
        names = [path.name for file in self.files for path in file.parent.iterdir()]
        return [name for name in names if ".ctemplate" in name and not name.endswith("-lock")]

    def wait_clean(self, log: Any = str) -> None:
        """Wait for the end of a transaction; what it made is live a moment before."""
        wait_for(lambda: self.leftovers() == [], PATIENCE, "end of the transaction", log=log)

    def ledger(self) -> dict[str, Any]:
        (file,) = self.state.glob("*/ledger.json")
        return json.loads(file.read_text())


def instances(*ports: int, kind: str = "", tags: Sequence[str] = ()) -> dict[str, Any]:
    """Return a catalog file's service with an instance on each port."""
    return _service([{"address": "127.0.0.1", "port": port, "meta": {"kind": kind}} for port in ports], tags)


def _service(entries: Sequence[Mapping[str, Any]], tags: Sequence[str] = ()) -> dict[str, Any]:
    return {"tags": list(tags), "instances": list(entries)}


def _toml(nginx: Nginx, fragment: Path, settings: Mapping[str, Any]) -> str:
    values = {"name": "nginx", "reload": [*nginx.arguments, "-s", "reload"]} | dict(settings)
    group = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    templates = (
        f'[[template]]\nsource = "{fragment.name}.j2"\ndestination = "{fragment}"\ngroup = "nginx"\n'
        f'[[template]]\nsource = "nginx.conf.j2"\ndestination = "{nginx.conf}"\ngroup = "nginx"\n'
    )
    return f'[wait]\nmin = "20ms"\nmax = "200ms"\n[[group]]\n{group}{templates}'
