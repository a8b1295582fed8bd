"""What the soak configures, and what its files have to hold: the expected text is made here, not by ctemplate."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness import Nginx, free_port, http_get

NODE = "outside"  # a node that no agent looks after: nobody repairs its registrations
GENERATION = "soak/generation"

CONFIG = """\
[wait]
min = "20ms"
max = "500ms"
[consul]
address = "{address}"
wait = "10s"
retry = {{ backoff = "100ms", max_backoff = "1s" }}
[guard]
hold = "5s"
[status]
address = "{status}"
[vars]
edition = "{edition}"
[[group]]
name = "nginx"
reload = "{nginx.reload_command}"
min_interval = "200ms"
max_draining = 1000
[[template]]
source = "nginx.conf.j2"
destination = "{nginx.conf}"
group = "nginx"
[[template]]
source = "list.j2"
destination = "{listing}"
escape = "none"
"""
NGINX = """\
# generation {{{{ key("soak/generation") }}}}
{main}
http {{
{http}
{{% for svc in services(tag="http") %}}
upstream {{{{ svc.name | identifier }}}} {{
{{% for i in service(svc.name) | sort(attribute="id") %}}
    server {{{{ i.address }}}}:{{{{ i.port }}}};
{{% else %}}
    server 127.0.0.1:1 down;
{{% endfor %}}
}}
{{% endfor %}}
server {{
    listen 127.0.0.1:{port};
    location / {{
        return 200 "{mark} {{{{ var.edition }}}} {{{{ key("soak/generation") }}}}\
{{% for svc in services(tag="http") %}} {{{{ svc.name }}}}\
{{% for i in service(svc.name) | sort(attribute="id") %}},{{{{ i.port }}}}{{% endfor %}}{{% endfor %}}";
    }}
}}
}}
# generation {{{{ key("soak/generation") }}}}
"""
LIST = """\
{{% set body %}}
{mark} {{{{ var.edition }}}} {{{{ key("soak/generation") }}}}
{{% for svc in services(tag="http") %}}
{{% for i in service(svc.name) | sort(attribute="id") %}}
{{{{ svc.name }}}} {{{{ i.id }}}} {{{{ i.address }}}}:{{{{ i.port }}}}
{{% endfor %}}
{{% endfor %}}
{{% endset %}}
{{{{ body }}}}{{{{ body | sha256 }}}}
"""
BROKEN = "{% for %}\n"


@dataclass
class Truth:
    """What Consul was told and the operator wrote: service, then instance, then port; those that fail beside them."""

    services: dict[str, dict[str, int]] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    generation: int = 0
    edition: int = 0
    mark: int = 0

    def passing(self) -> Mapping[str, Mapping[str, int]]:
        """Return the instances that templates see, in order."""
        return {
            name: {key: port for key, port in sorted(instances.items()) if key not in self.failing}
            for name, instances in sorted(self.services.items())
            if instances
        }

    def served(self) -> str:
        """Return what nginx answers with once everything is live."""
        words = ["".join([name, *(f",{port}" for port in ports.values())]) for name, ports in self.passing().items()]
        return " ".join([f"m{self.mark} e{self.edition} g{self.generation}", *words])

    def listed(self) -> bytes:
        """Return the bytes of the other file then."""
        lines = [f"m{self.mark} e{self.edition} g{self.generation}"]
        for name, ports in self.passing().items():
            lines += [f"{name} {key} 127.0.0.1:{port}" for key, port in ports.items()]
        body = "".join(f"{line}\n" for line in lines)
        return f"{body}{hashlib.sha256(body.encode()).hexdigest()}\n".encode()


class SoakSite:
    """Configuration and templates in a folder, nginx, and what is served and written at the moment."""

    def __init__(self, folder: Path, address: str) -> None:
        """Write nothing yet; ``address`` is Consul's."""
        self.folder = folder
        self.nginx = Nginx(folder)
        self.port, self.status_port = free_port(), free_port()
        self.listing = folder / "list.txt"
        self.config = folder / "ctemplate.toml"
        self._address = address

    def write_config(self, truth: Truth) -> None:
        """Write the configuration, which says the edition."""
        status = f"127.0.0.1:{self.status_port}"
        text = CONFIG.format(
            address=self._address, status=status, edition=f"e{truth.edition}", nginx=self.nginx, listing=self.listing
        )
        replace_file(self.config, text)

    def write_templates(self, truth: Truth, more: str = "") -> None:
        """Write both templates, which say the mark; ``more`` stands at their end."""
        words = {"mark": f"m{truth.mark}", "port": self.port, "main": self.nginx.main, "http": self.nginx.http}
        replace_file(self.folder / "list.j2", LIST.format(**words) + more)
        replace_file(self.folder / "nginx.conf.j2", NGINX.format(**words) + more)

    def served(self) -> str:
        """Return what nginx answers, or why it does not."""
        try:
            return http_get(self.port)[1]
        except OSError as exc:
            return repr(exc)

    def written(self) -> bytes:
        """Return the bytes of the file beside nginx's."""
        return self.listing.read_bytes() if self.listing.exists() else b""

    def differences(self, truth: Truth) -> list[str]:
        """Return what is not as it has to be."""
        found = []
        if (served := self.served()) != truth.served():
            found.append(f"nginx serves {served!r}, not {truth.served()!r}")
        if (written := self.written()) != truth.listed():
            found.append(f"{self.listing.name} holds {written!r}, not {truth.listed()!r}")
        if (text := self.nginx.conf.read_text()).count(f"# generation g{truth.generation}\n") != len(_ENDS):
            found.append(f"nginx.conf is not of generation g{truth.generation}: {text.splitlines()[:: len(text)]}")
        return found

    def torn(self) -> list[str]:
        """Return which file is not one whole rendering at this moment."""
        found = []
        body, _, last = self.written().rstrip(b"\n").rpartition(b"\n")
        if body and hashlib.sha256(body + b"\n").hexdigest().encode() != last:
            found.append(f"{self.listing.name}: its digest is wrong: {body + last!r}")
        lines = self.nginx.conf.read_text().splitlines() if self.nginx.conf.exists() else []
        if lines and not lines[0] == lines[-1] != "":
            found.append(f"nginx.conf begins with {lines[0]!r} and ends with {lines[-1]!r}")
        return found

    def metrics(self) -> dict[str, float]:
        """Return ctemplate's own figures; those of labels are added up."""
        status, text = http_get(self.status_port, "/metrics")
        if status != 200:
            raise ConnectionError(f"/metrics: {status} {text}")
        found: dict[str, float] = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                key = name.partition("{")[0]
                found[key] = found.get(key, 0.0) + float(value)
        return found

    def is_ready(self) -> bool:
        """Whether ctemplate says that all is well."""
        try:
            return http_get(self.status_port, "/readyz")[0] == 200
        except OSError:
            return False


_ENDS = ("first line", "last line")


def replace_file(file: Path, text: str) -> None:
    """Write as editors do: a new file in the place of the old one."""
    new = file.with_name(f".{file.name}.{time.monotonic_ns()}")
    new.write_text(text)
    new.replace(file)
