"""The rules of blocking queries: which index is next, how long to wait, what is too old, how often to ask.

Pure: nothing here waits, reads a clock or sends.
https://developer.hashicorp.com/consul/api-docs/features/blocking
"""

from __future__ import annotations

from dataclasses import field

from ctemplate.core.timing import TokenBucket
from ctemplate.core.values import dataclass
from ctemplate.sources.consul.endpoints.paths import Meta
from ctemplate.sources.consul.endpoints.settings import Pacing

JITTER_FRACTION = 16  # an agent adds up to a sixteenth to the wait, so that its clients spread
READ_MARGIN = 5.0
STREAMING = "streaming"


def next_index(current: int, received: int | None) -> int:
    """Return the index for the next blocking query; 0 asks without one.

    An index that goes backwards means that Consul's state was rebuilt: start again from 0. A missing index and 0 count
    as 1, since 0 would never block.
    """
    index = max(received or 0, 1)
    return 0 if index < current else index


def read_timeout(wait: float, margin: float = READ_MARGIN) -> float:
    """Return the seconds after which a long poll counts as lost: the wait, the agent's jitter and a margin."""
    return wait * (1 + 1 / JITTER_FRACTION) + margin


def is_abandoned(index: int, received: int | None, *, waited: float, wait: float) -> bool:
    """Return whether a long poll returned early with its index unchanged: Consul ends all polls at a restore.

    Repeated with its index, such a poll would sleep until the restored state has passed it, and miss the lower index.
    """
    return 0 < index == received and waited < wait


def is_too_old(meta: Meta, *, max_stale: float) -> bool:
    """Return whether a stale read has to be repeated at the leader.

    The streaming backend reports neither age nor leader, so its answers are accepted.
    """
    if meta.query_backend == STREAMING:
        return False
    return not meta.known_leader or (meta.last_contact or 0.0) > max_stale


@dataclass(slots=True)
class PollPace:
    """Paces one query: a few requests in a row are free, answers without news cost more, and so do large ones."""

    pacing: Pacing
    _asked: TokenBucket = field(init=False)
    _idle: TokenBucket = field(init=False)

    def __post_init__(self) -> None:
        self._asked = TokenBucket(interval=self.pacing.interval, burst=self.pacing.burst)
        self._idle = TokenBucket(interval=self.pacing.idle_interval, burst=self.pacing.idle_burst)

    def delay(self, now: float, *, is_news: bool, size: int = 0) -> float:
        """Return the seconds to wait after an answer of ``size`` bytes before asking again."""
        asked = self._asked.delay(now)
        if size >= self.pacing.large_bytes:
            asked = max(asked, size / self.pacing.bytes_per_second)
        return asked if is_news else max(asked, self._idle.delay(now))


@dataclass(slots=True)
class IndexPosition:
    """A query's state with one agent: its index, and whether the leader must confirm the last answer."""

    index: int = 0
    must_confirm: bool = False

    def accepts(self, received: int | None, *, was_stale: bool, is_too_old: bool) -> bool:
        """Advance after an answer; return whether its data may be used, or the leader has to be asked instead.

        A stale answer that is too old, or any whose index went backwards, may come from a server that has just
        restarted, or be older than an answer on another connection.
        """
        index = next_index(self.index, received)
        if index == 0 or (was_stale and is_too_old):
            self.restart(must_confirm=True)
            return False
        self.index, self.must_confirm = index, False
        return True

    def restart(self, *, must_confirm: bool = False) -> None:
        """Ask without an index next."""
        self.index = 0
        self.must_confirm = self.must_confirm or must_confirm
