"""Every setting of the Consul source, with the reason for its default.

Plain frozen values: knows nothing of options, environment variables or configuration files. Secrets never show in a
``repr``.
"""

from __future__ import annotations

from dataclasses import field

from ctemplate.core.timing import Backoff
from ctemplate.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DataLimits:
    """What may enter the model; anything beyond is left out with a reason."""

    allow_hostnames: bool = False
    """Host names as addresses. Off: nginx resolves them once, at its start, and does not start when one is unknown."""

    allow_loopback: bool = False
    """Loopback addresses of services on other nodes. Off: they would reach the balancer's own ports. Where the
    registering node's own address is loopback, everything is on one machine and loopback is always allowed."""

    allowed_networks: tuple[str, ...] = ()
    """Networks (``10.0.0.0/8``) that addresses must lie in; empty: any. Link-local, unspecified, multicast and
    broadcast addresses are never a service's."""

    max_instances: int = 1000
    """Per service; the longest registered stay. More is a runaway registrant rather than a service."""

    max_values: int = 40_000
    """Per service, tags and meta pairs of all its instances together; those of the longest registered stay. A thousand
    instances have forty each."""

    max_tags: int = 256
    """Per instance. go-micro writes one tag per endpoint and per metadata pair: a small cap would hit honest users."""

    max_tag_bytes: int = 16 * 1024
    """Per instance, all tags together."""

    max_meta_bytes: int = 48 * 1024
    """Per instance, keys and values together. Consul's own cap is 64 pairs of 128 + 512 characters."""

    max_name_bytes: int = 512
    """Of a service's name, an instance's id and a node's name each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How often one query may be asked, so that no answer can make a busy loop."""

    interval: float = 0.1
    """Seconds between questions in the long run, whatever the answers; consul-template's floor as well."""

    burst: int = 20
    """Questions that may follow each other at once: changes that come alone are never delayed."""

    idle_interval: float = 2.0
    """Seconds between answers that brought no news: an index that moves for others' changes (a service that does not
    exist, the list of services on a busy cluster) must not become a poll."""

    idle_burst: int = 5
    """Answers without news that are not delayed yet."""

    bytes_per_second: float = 4_000_000
    """Of one query's answers, in the long run: a list of megabytes that changes all the time keeps the agent busy."""

    large_bytes: int = 64 * 1024
    """Answers smaller than this are never delayed for their size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsulSettings:
    """How to reach Consul and how to ask it."""

    addresses: tuple[str, ...] = ("127.0.0.1:8500",)
    """In order of preference: ``host:port``, ``http://`` or ``https://`` with an optional path, ``unix://PATH``. The
    local agent is the rule; others are tried in order when the current one fails, and kept while they work."""

    token: str = field(default="", repr=False)
    token_file: str = ""
    """Wins over ``token``; re-read whenever it changes, so that a token can be rotated without a restart."""

    auth: str = field(default="", repr=False)
    """``user:password`` for a proxy that asks for HTTP basic authentication."""

    datacenter: str = ""
    namespace: str = ""
    partition: str = ""
    """What queries that name none are asked for; empty: the agent's own."""

    ssl: bool = False
    """TLS for addresses written without a scheme."""

    ca_cert: str = ""
    ca_path: str = ""
    cert: str = ""
    key: str = ""
    """Files; re-read whenever they change, for the connections opened from then on. A ``cert`` alone holds both."""

    server_name: str = ""
    verify: bool = True

    wait: float = 60.0
    """Longest long poll. Short enough that a lost connection is noticed soon, long enough to cost nothing."""

    query_interval: float = 10.0
    """Between two executions of a prepared query, which cannot wait for a change: as late as a change is seen at most,
    and one request in ten seconds costs Consul little. Up to a tenth less, drawn at random."""

    stale: bool = True
    """Let any server answer, not the leader alone: reads scale and go on without a leader. Bounded by ``max_stale``."""

    max_stale: float = 2.0
    """Seconds since a server last heard its leader; older answers are asked for again from the leader."""

    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    """For a whole answer that need not wait; a long poll gets its wait and the agent's jitter on top."""

    backoff: Backoff = field(default_factory=lambda: Backoff(first=0.25, ceiling=60.0))
    """Between retries of one query. They never end: an outage needs no restart of ours."""

    pacing: Pacing = Pacing()

    max_body_bytes: int = 64 * 1024 * 1024
    """Of one answer: fifty thousand instances. Beyond, the answer is refused before it fills the memory."""

    max_connections: int = 64
    """All connections together. Consul allows 200 per client address by default, and others share ours."""

    limits: DataLimits = DataLimits()
