"""Survey the host for a first configuration: its nginx and the folders that it includes, Consul, the user.

Reads and asks; writes nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ctemplate.core.errors import CommandFailed, ConfigError
from ctemplate.core.values import dataclass
from ctemplate.doctor.host_probe import stream_facts
from ctemplate.nginx.command import Installation, NginxCommand
from ctemplate.nginx.language.includes import Include, Tree, TreeError, load_tree
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.language.semantic_diff import TrafficModel, meaning
from ctemplate.nginx.whole import whole
from ctemplate.sources.consul.endpoints.paths import RequestFailed, Resource
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.http.client import Client
from ctemplate.system.ownership import user_name

OS_RELEASE = Path("/etc/os-release")
SERVICES = Resource(path="/v1/catalog/services")


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxFound:
    """An nginx of this host.

    ``http_folder`` and ``stream_folder`` are the folders whose ``*.conf`` files the blocks include, None if there is
    none; ``http_includes`` are all includes of the http block. ``stream_module`` is the file to load, empty if it is
    built in, None if there is none. ``worker_user`` is the user of its workers, None for the default; ``hosts`` are the
    server names that it serves.
    """

    version: str
    conf: Path
    http_folder: Path | None
    stream_folder: Path | None
    http_includes: tuple[str, ...]
    stream_module: str | None
    worker_user: str | None
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsulFound:
    """Consul's services with their tags, or the reason why Consul does not answer."""

    address: str
    services: dict[str, list[str]] | None = None
    failure: str = ""

    def tagged(self, tag: str) -> int:
        """Return how many services have a tag."""
        return sum(tag in tags for tags in (self.services or {}).values())


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSurvey:
    """The result of the survey."""

    distribution: str
    user: str
    is_root: bool
    nginx: NginxFound
    consul: ConsulFound


async def surveyed_host(settings: ConsulSettings) -> HostSurvey:
    """Survey the host; raises ConfigError if there is no nginx whose configuration can be read."""
    return HostSurvey(
        distribution=_distribution(),
        user=user_name(os.geteuid()),
        is_root=os.geteuid() == 0,
        nginx=await _nginx(),
        consul=await _consul(settings),
    )


def _distribution() -> str:
    try:
        lines = OS_RELEASE.read_text(errors="replace").splitlines()
    except OSError:
        return "unknown"
    named = dict(line.partition("=")[::2] for line in lines)
    return named.get("PRETTY_NAME", "unknown").strip('"')


async def _nginx() -> NginxFound:
    try:
        installation = await Installation.find(NginxCommand(program="nginx"))
    except CommandFailed as exc:
        raise ConfigError("nginx", f"{exc.what}; install it first, such as with apt install nginx") from exc
    try:
        tree, traffic = await asyncio.to_thread(_read, installation.conf)
    except (TreeError, NginxSyntaxError) as exc:
        raise ConfigError(exc.where, f"{exc.what}; correct it first") from exc
    return NginxFound(
        version=".".join(map(str, installation.build.version)),
        conf=installation.conf,
        http_folder=included_folder(tree, b"http"),
        stream_folder=included_folder(tree, b"stream"),
        http_includes=tuple(each.pattern for each in _includes(tree, b"http") if each.is_glob),
        stream_module=_stream_module(installation),
        worker_user=next(iter(traffic.users), None),
        hosts=tuple(sorted(traffic.hosts)),
    )


def _read(conf: Path) -> tuple[Tree, TrafficModel]:
    return load_tree(conf), meaning(whole(conf))


def _includes(tree: Tree, block: bytes) -> Iterator[Include]:
    yield from (include for include in tree.includes if include.inside == block)


def included_folder(tree: Tree, block: bytes) -> Path | None:
    """Return the first folder of which a block includes all ``*.conf``."""
    patterns = (Path(include.pattern) for include in _includes(tree, block) if include.is_glob)
    return next((path.parent for path in patterns if path.name == "*.conf" and "*" not in str(path.parent)), None)


def _stream_module(installation: Installation) -> str | None:
    """Return the stream module's file; empty if it is built in, None if there is none."""
    found = stream_facts(installation)
    if found.is_built_in:
        return ""
    return found.module if found.exists else None


async def _consul(settings: ConsulSettings) -> ConsulFound:
    """Ask the first address for its services."""
    address = settings.addresses[0]
    client = Client(settings)
    connection = client.connect()
    try:
        reply = await client.read(connection, SERVICES)
        return ConsulFound(address=address, services=msgspec.json.decode(reply.body, type=dict[str, list[str]]))
    except RequestFailed as exc:
        return ConsulFound(address=address, failure=exc.what)
    except msgspec.MsgspecError as exc:
        return ConsulFound(address=address, failure=f"no list of services: {exc}")
    finally:
        connection.close()
