"""Every setting of the Consul source, including those that no operator needs to change, with the reason for its value.

Plain frozen values: knows nothing of options, environment variables or configuration files. Secrets never show in a
``repr``.
"""

from __future__ import annotations

from ctemplate.core.settings import ConsulSection, DataLimits
from ctemplate.core.values import dataclass


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


class ConsulSettings(ConsulSection, frozen=True, kw_only=True):
    """How to reach Consul and how to ask it."""

    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    """For a whole answer that need not wait; a long poll gets its wait and the agent's jitter on top."""

    pacing: Pacing = Pacing()
    limits: DataLimits = DataLimits()

    @property
    def stale(self) -> bool:
        """Whether any server may answer, not only the leader: reads scale and work without a leader."""
        return self.max_stale > 0
