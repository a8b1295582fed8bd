"""The settings that operators may change, declared where all that use them can import them; see ``section``.

Each table is a part of the configuration file, with every default and its reason. Where a key of the file has another
name than the field, ``rename`` says it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ctemplate.core.section import Addresses, Count, Part, Seconds, Section
from ctemplate.core.timing import Backoff

COMMAND_TIMEOUT = Seconds(30.0)
"""For a group's check, and for a reload that is a plain command."""

_CONSUL_KEYS = {
    "addresses": "address",
    "verify": "ssl_verify",
    "ca_cert": "ssl_ca_cert",
    "ca_path": "ssl_ca_path",
    "cert": "ssl_cert",
    "key": "ssl_key",
    "server_name": "ssl_server_name",
    "max_body_bytes": "max_answer_bytes",
    "backoff": "retry",
}


class ConsulSection(Section, frozen=True, kw_only=True, rename=_CONSUL_KEYS):
    """``[consul]``: where Consul is and how to speak to it."""

    addresses: Addresses = Addresses(("127.0.0.1:8500",))
    """In order of preference: ``host:port``, ``http://`` or ``https://`` with an optional path, ``unix://PATH``. The
    local agent is the rule; others are tried in order when the current one fails, and kept while they work."""

    token: str = ""
    token_file: str = ""
    """Wins over ``token``; re-read whenever it changes, so that a token can be rotated without a restart."""

    auth: str = ""
    """``user:password`` for a proxy that asks for HTTP basic authentication."""

    namespace: str = ""
    partition: str = ""
    datacenter: str = ""
    """What queries that name none are asked for; empty: the agent's own."""

    ssl: bool = False
    """TLS for addresses written without a scheme."""

    verify: bool = True
    ca_cert: str = ""
    ca_path: str = ""
    cert: str = ""
    key: str = ""
    """Files; re-read whenever they change, for the connections opened from then on. A ``cert`` alone holds both."""

    server_name: str = ""

    max_connections: Annotated[int, Meta(ge=8, le=10_000)] = 64
    """All connections together. Consul allows 200 per client address by default, and others share ours."""

    max_stale: Seconds = Seconds(2.0)
    """Since a server last heard its leader; older answers are asked for again from the leader. 0 asks it always."""

    wait: Seconds = Seconds(60.0)
    """Longest long poll. Short enough that a lost connection is noticed soon, long enough to cost nothing."""

    query_interval: Seconds = Seconds(10.0)
    """Between two executions of a prepared query, which cannot wait for a change: as late as a change is seen at most,
    and one request in ten seconds costs Consul little. Up to a tenth less, drawn at random."""

    max_body_bytes: Count = 64 * 1024 * 1024
    """Of one answer: fifty thousand instances. Beyond, the answer is refused before it fills the memory."""

    backoff: Backoff = Backoff()
    """Between retries of one query. They never end: an outage needs no restart of ours."""

    def __repr__(self) -> str:
        """Show nothing: the token must not reach a log."""
        return f"{type(self).__name__}(…)"


CONSUL_DEFAULTS = ConsulSection()


class DataLimits(Section, frozen=True, kw_only=True):
    """``[data]``: what may enter from Consul; an instance or service beyond a limit is left out and named."""

    allow_hostnames: bool = False
    """Host names as addresses. Off: nginx resolves them once, at its start, and does not start when one is unknown."""

    allow_loopback: bool = False
    """Loopback addresses of services on other nodes. Off: they would reach the balancer's own ports. Where the
    registering node's own address is loopback, everything is on one machine and loopback is always allowed."""

    allowed_networks: tuple[str, ...] = ()
    """Networks (``10.0.0.0/8``) that addresses must lie in; empty: any. Link-local, unspecified, multicast and
    broadcast addresses are never a service's."""

    max_instances: Count = 1000
    """Per service; the longest registered stay. More is a runaway registrant rather than a service."""

    max_values: Count = 40_000
    """Per service, tags and meta pairs of all its instances together; those of the longest registered stay. A thousand
    instances have forty each."""

    max_tags: Count = 256
    """Per instance. go-micro writes one tag per endpoint and per metadata pair: a small cap would hit honest users."""

    max_tag_bytes: Count = 16 * 1024
    """Per instance, all tags together."""

    max_meta_bytes: Count = 48 * 1024
    """Per instance, keys and values together. Consul's own cap is 64 pairs of 128 + 512 characters."""

    max_name_bytes: Count = 512
    """Of a service's name, an instance's id and a node's name each."""

    trusted_keys: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    """Prefixes of keys that only the operator writes: their values are printed unchanged."""

    file_folders: tuple[Annotated[str, Meta(pattern="^/")], ...] = ()
    """Folders whose files templates may read by ``file(path)``; empty: none. Their content is printed unchanged."""


class GuardPolicy(Section, frozen=True, kw_only=True):
    """``[guard]``: when a loss is doubted, and how long it is held.

    A loss is doubted that takes all instances, more than ``max_loss`` of three or more within a minute, or leaves fewer
    than ``min_instances``; so are nodes that fail together.
    """

    min_instances: Annotated[int, Meta(ge=0)] = 0
    max_loss: Part = Part(0.5)

    hold: Seconds = Seconds(300.0)
    """Agents register their services again within a minute or two; 0 doubts nothing."""

    panic: bool = False
    """Keep the instances of a service that all fail."""

    readd: Seconds = Seconds(0.0)
    """How long an instance that failed must pass before it is used again, longer if it fails repeatedly."""


class RenderSection(Section, frozen=True, kw_only=True, rename={"output_bytes": "max_output_bytes"}):
    """``[render]``: what one render of one template may take, so that a loop without end ends in an error."""

    timeout: Seconds = Seconds(10.0)
    """Of its thread's CPU."""

    output_bytes: Count = 64 * 1024 * 1024
