"""Look up host names without the threads that all blocking work shares: a resolver may hang for half a minute.

Connections that need a name at the same time share one lookup, in a thread of its own that nobody has to wait for.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable

from ctemplate.core.values import dataclass

SHARED_FOR = (
    5.0  # seconds for which others join a lookup: after a failure of DNS, an old one hangs longer than a new one
)


@dataclass(slots=True, kw_only=True)
class NameLookup:
    """A lookup under way, and when it began, on the loop's clock."""

    since: float
    found: asyncio.Future[tuple[str, ...]]


class HostNames:
    """The IP addresses of host names, in the resolver's order; one that last accepted a connection comes first."""

    def __init__(self, resolve: Callable[[str], tuple[str, ...]] | None = None) -> None:
        self._resolve = resolve or ip_addresses
        self._lookups: dict[str, NameLookup] = {}
        self._preferred: dict[str, str] = {}

    async def find(self, host: str) -> tuple[str, ...]:
        """Return a host's addresses, at least one; that of an address is itself. Raises OSError."""
        if _is_address(host):
            return (host,)
        loop = asyncio.get_running_loop()
        lookup = self._lookups.get(host)
        if lookup is None or lookup.found.done() or loop.time() >= lookup.since + SHARED_FOR:
            lookup = self._lookups[host] = NameLookup(since=loop.time(), found=self._started(loop, host))
        found = await asyncio.shield(lookup.found)
        return tuple(sorted(found, key=lambda each: each != self._preferred.get(host)))

    def prefer(self, host: str, address: str) -> None:
        """Note that an address of a host accepted a connection."""
        self._preferred[host] = address

    def _started(self, loop: asyncio.AbstractEventLoop, host: str) -> asyncio.Future[tuple[str, ...]]:
        found: asyncio.Future[tuple[str, ...]] = loop.create_future()
        found.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody may be waiting any more

        def tell(addresses: tuple[str, ...] | None, error: OSError | None) -> None:
            if not found.done():
                found.set_result(addresses or ()) if error is None else found.set_exception(error)

        def run() -> None:
            addresses, error = None, None
            try:
                addresses = self._resolve(host)
            except OSError as exc:
                error = exc
            except UnicodeError as exc:
                error = socket.gaierror(socket.EAI_NONAME, str(exc))
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tell, addresses, error)

        try:
            threading.Thread(target=run, name="lookup", daemon=True).start()
        except RuntimeError as exc:
            found.set_exception(OSError(f"no thread for looking up the host name: {exc}"))
        return found


def ip_addresses(host: str) -> tuple[str, ...]:
    """Return a host's addresses, each once. Blocks on the resolver; raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(place[0]) for *_, place in found))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
