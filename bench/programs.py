"""The programs that are compared: how each writes a template, and how it is run without waiting to be asked twice."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.agent import ROOT

WARM_UP = 60.0  # seconds to compile every module once
AT_ONCE = "0"
DEFAULT_WAIT = "100ms:2s"  # ctemplate's own

IMPORT_ALL = """
import importlib, pkgutil, ctemplate
for module in pkgutil.walk_packages(ctemplate.__path__, "ctemplate."):
    importlib.import_module(module.name)
"""

Paths = tuple[Path, Path]  # a template and the file that it makes


class Program:
    """Something that makes files of templates and of what Consul knows."""

    name = ""
    starts = 1  # how often a start is measured
    suffix = ""  # of its templates
    upstreams = ""  # a template: an upstream for each service tagged http

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Take the environment that it runs in."""
        self.environment = environment

    @abstractmethod
    def servers(self, names: Sequence[str]) -> str:
        """Return a template: the instances of these services."""

    @abstractmethod
    def command(self, address: str, templates: Sequence[Paths], *, wait: str, state: Path) -> list[str]:
        """Return what to run: quiet, and with changes gathered for so long."""


class Ctemplate(Program):
    """This program."""

    name = "ctemplate"
    starts = 3
    suffix = ".j2"
    upstreams = """\
{% for svc in services(tag="http") %}
upstream {{ svc.name }} {
{% for i in service(svc.name) %}
    server {{ i.address }}:{{ i.port }};
{% endfor %}
}
{% endfor %}
"""

    def servers(self, names: Sequence[str]) -> str:
        """Return a template: the instances of these services."""
        return "".join(
            f'{{% for i in service("{name}") %}}\nserver {{{{ i.address }}}}:{{{{ i.port }}}};\n{{% endfor %}}\n'
            for name in names
        )

    def command(self, address: str, templates: Sequence[Paths], *, wait: str, state: Path) -> list[str]:
        """Return what to run: quiet, and with changes gathered for so long."""
        options = ["-consul-addr", address, "-wait", wait, "-state-dir", str(state), "-log-level", "warning"]
        return [sys.executable, "-m", "ctemplate", *_specifications(templates), *options]


class ConsulTemplate(Program):
    """HashiCorp's program, from a path; starts once, since the agent holds its many connections for a minute after."""

    name = "consul-template"
    suffix = ".ctmpl"
    upstreams = """\
{{ range services }}{{ if .Tags | contains "http" -}}
upstream {{ .Name }} {
{{- range service .Name }}
    server {{ .Address }}:{{ .Port }};
{{- end }}
}
{{ end }}{{ end -}}
"""

    def __init__(self, environment: Mapping[str, str], binary: Path) -> None:
        """Take the environment and the program's file."""
        super().__init__(environment)
        self._binary = binary

    def version(self) -> str:
        """Return what it calls itself; different versions write that to different outputs."""
        shown = subprocess.run([self._binary, "-version"], capture_output=True, text=True, check=False, timeout=WARM_UP)
        return next(iter((shown.stdout + shown.stderr).splitlines()), f"{self.name} of unknown version")

    def servers(self, names: Sequence[str]) -> str:
        """Return a template: the instances of these services."""
        return "".join(
            f'{{{{ range service "{name}" }}}}server {{{{ .Address }}}}:{{{{ .Port }}}};\n{{{{ end }}}}'
            for name in names
        )

    def command(self, address: str, templates: Sequence[Paths], *, wait: str, state: Path) -> list[str]:  # noqa: ARG002 - it keeps no state
        """Return what to run: quiet, and with changes gathered for so long."""
        waiting = [] if wait == AT_ONCE else ["-wait", wait]
        options = ["-consul-addr", address, *waiting, "-log-level", "err"]
        return [str(self._binary), *_specifications(templates), *options]


def _specifications(templates: Sequence[Paths]) -> list[str]:
    return [word for source, target in templates for word in ("-template", f"{source}:{target}")]


@contextlib.contextmanager
def installed() -> Iterator[dict[str, str]]:
    """Provide the environment of a ctemplate that pip installed, and nothing of Consul's in it.

    pip compiles the modules that it installs, an editable checkout does not. Here all of them are imported once, and so
    compiled with all that they import, into a folder that goes when the block is left.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONSUL_", "CTEMPLATE_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="bench-bytecode-") as folder:
        environment = kept | {"PYTHONPYCACHEPREFIX": folder, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", IMPORT_ALL]
        subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True, timeout=WARM_UP)
        yield environment
