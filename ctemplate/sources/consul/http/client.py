"""One request to Consul over one kept connection; every failure becomes one type of error.

Knows addresses and credentials; must not know watches or the catalog.
"""

from __future__ import annotations

import asyncio
import hashlib
import urllib.parse
import weakref
from collections.abc import Sequence
from dataclasses import field
from time import monotonic

import msgspec

from ctemplate.core.errors import ConfigError
from ctemplate.core.event_stream import emit
from ctemplate.core.events import AddressChanged, RequestEnded
from ctemplate.core.values import dataclass
from ctemplate.sources.consul.endpoints.blocking import read_timeout
from ctemplate.sources.consul.endpoints.paths import (
    STATUS_OK,
    Consistency,
    FailureKind,
    Meta,
    RequestFailed,
    Resource,
    Right,
    diagnose,
    granted,
)
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.http.address import Address, parse_address
from ctemplate.sources.consul.http.address_health import AddressHealth, FailoverLimiter
from ctemplate.sources.consul.http.credentials import Credentials
from ctemplate.sources.consul.http.host_names import HostNames
from ctemplate.sources.consul.http.transport import (
    AnswerLost,
    BodyTooLarge,
    Connection,
    Contact,
    HttpMessage,
    HttpRequest,
    TimedOut,
)

DIGEST_BYTES = 16


class ConsulReply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A good answer as received: its headers and their meaning, its bytes and their digest.

    ``waited`` is how many seconds it took to come.
    """

    meta: Meta
    body: bytes
    digest: bytes
    waited: float = 0.0
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """What all requests to an address share, made once."""

    headers: bytes = field(repr=False)
    credentials: dict[str, str] = field(repr=False)

    @classmethod
    def of(cls, address: Address, credentials: dict[str, str]) -> AgentAddress:
        """Prepare an address."""
        headers = {"Host": address.authority, **credentials}
        return cls("".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("ascii"), credentials)


class Client:
    """Asks the agent at the current address; connections are the caller's to keep.

    The address is sticky: it stays until it or the requests to it fail; then the next one becomes current. The
    constructor raises ConfigError.
    """

    def __init__(self, settings: ConsulSettings) -> None:
        if not settings.addresses:
            raise ConfigError("consul address", "none is given")
        self.settings = settings
        self._addresses = [parse_address(text, ssl=settings.ssl) for text in settings.addresses]
        self._current = 0
        self._standing = AddressHealth()
        self._tour = FailoverLimiter(len(self._addresses))
        self._turned = asyncio.Event()
        self._names = HostNames()
        self._contacts = {address: Contact() for address in self._addresses}
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._credentials = Credentials(settings, needs_tls=any(address.is_tls for address in self._addresses))
        self._places = {address: AgentAddress.of(address, self._credentials.headers()) for address in self._addresses}

    @property
    def address(self) -> Address:
        """The current address."""
        return self._addresses[self._current]

    def switch(self, failed: Address) -> bool:
        """Make the next address current, if the failed one still is; return whether there is another to try."""
        if len(self._addresses) > 1 and failed == self.address:
            self._current = (self._current + 1) % len(self._addresses)
            has_served = self._standing.has_served
            emit(AddressChanged(address=str(self.address), before=str(failed), has_served=has_served))
            self._standing = AddressHealth()
        return failed != self.address

    async def failed_over(self) -> None:
        """Wait until the client switches to another address because the current one does not work any more."""
        await self._turned.wait()

    def served(self, address: Address, resource: Resource) -> None:
        """Record that an address gave a usable answer."""
        if address == self.address:
            self._standing.answered(resource)
            self._tour.served()

    def failed(self, address: Address, resource: Resource) -> None:
        """Record that no usable answer arrived; switch where request after request fails, whatever the cause."""
        dc = dict(urllib.parse.parse_qsl(resource.params)).get("dc")
        if len(self._addresses) == 1 or address != self.address or dc not in {None, self.settings.datacenter}:
            return  # a failing other datacenter is no evidence against the address
        if self._standing.failed(resource) and self._tour.may_turn(monotonic()):
            self.switch(address)
            self._turned.set()
            self._turned = asyncio.Event()

    def connect(self) -> Connection:
        """Return a connection for the current address; it opens when it is first used."""
        connection = Connection(
            self.address,
            context=self._credentials.context(),
            server_name=self.settings.server_name,
            limit_bytes=self.settings.max_body_bytes,
            contact=self._contacts[self.address],
            names=self._names,
        )
        self._connections.add(connection)
        return connection

    @property
    def contact_at(self) -> float:
        """When a byte last came from the current address, on the loop's clock; minus infinity for never."""
        return self._contacts[self.address].at

    @property
    def is_waiting(self) -> bool:
        """Whether a request to the current address awaits its answer."""
        return any(each.is_busy and each.address == self.address for each in self._connections)

    def give_up(self, address: Address, what: str) -> None:
        """End every request under way to an address as unreachable, and switch to the next address."""
        self.switch(address)
        for connection in tuple(self._connections):
            if connection.address == address:
                connection.fail(TimedOut(what))

    async def ping(self, connection: Connection, *, limit: float) -> bool | None:
        """Request the agent's front page, which it serves by itself; return whether it is alive, None for unknown.

        Any answer counts: an agent that refuses, redirects or closes is alive. A failure on our side proves nothing.
        """
        request = self._request(connection.address, f"{connection.address.prefix}/", limit)
        try:
            await connection.ask(request)
        except AnswerLost as exc:
            is_silent = isinstance(exc, TimedOut) or isinstance(exc.__cause__, ConnectionRefusedError)
            return False if is_silent else None
        return True

    async def read(
        self,
        connection: Connection,
        resource: Resource,
        *,
        index: int = 0,
        wait: float | None = None,
        consistency: Consistency = Consistency.DEFAULT,
    ) -> ConsulReply:
        """Request a resource: at once with ``index`` 0, else when it has passed the index or ``wait`` seconds are over.

        Raises RequestFailed.
        """
        try:
            reply = await self._read(connection, resource, index=index, wait=wait, consistency=consistency)
        except RequestFailed as exc:
            emit(RequestEnded(result=exc.kind.name.lower()))
            if not exc.remedy.switches:
                self.failed(connection.address, resource)
            raise
        emit(RequestEnded(result="ok"))
        return reply

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return sum(each.is_open for each in self._connections)

    async def _read(
        self, connection: Connection, resource: Resource, *, index: int, wait: float | None, consistency: Consistency
    ) -> ConsulReply:
        wait = self.settings.wait if wait is None else wait
        target = connection.address.prefix + resource.target(index=index, wait=wait, consistency=consistency)
        limit = self.settings.read_timeout if index == 0 else read_timeout(wait)
        connection.context = self._credentials.context()
        request, began = self._request(connection.address, target, limit), monotonic()
        try:
            message = await connection.ask(request)
        except AnswerLost as exc:
            kind = FailureKind.GARBLED if isinstance(exc, BodyTooLarge) else FailureKind.UNREACHABLE
            raise RequestFailed(str(connection.address), resource.path, str(exc), kind) from exc
        return _accepted(message, monotonic() - began, connection, resource)

    async def allows(self, connection: Connection, rights: Sequence[Right], *, dc: str | None = None) -> bool | None:
        """Ask whether the token has all of these rights (64 at most); None where Consul does not say.

        Without ACLs everything is allowed. Consul's web interface uses the same endpoint; it exists since Consul 1.7.
        Raises RequestFailed.
        """
        resource = Resource.named("/v1/internal/acl/authorize", dc=dc or self.settings.datacenter)
        body = msgspec.json.encode(rights)
        request = HttpRequest(
            head=b"POST %b HTTP/1.1\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (
                (connection.address.prefix + resource.target()).encode("ascii"),
                self._place(connection.address).headers,
                len(body),
            ),
            body=body,
            connect_timeout=self.settings.connect_timeout,
            read_timeout=self.settings.read_timeout,
            is_repeatable=False,
        )
        try:
            message = await connection.ask(request)
        except AnswerLost as exc:
            raise RequestFailed(str(connection.address), resource.path, str(exc), FailureKind.UNREACHABLE) from exc
        return granted(message.status, message.body, asked=len(rights))

    def _request(self, address: Address, target: str, limit: float) -> HttpRequest:
        head = b"GET %b HTTP/1.1\r\n%b\r\n" % (target.encode("ascii"), self._place(address).headers)
        return HttpRequest(head=head, connect_timeout=self.settings.connect_timeout, read_timeout=limit)

    def _place(self, address: Address) -> AgentAddress:
        """Return the prepared address, with the current credentials."""
        headers, place = self._credentials.headers(), self._places[address]
        if place.credentials is not headers:
            place = self._places[address] = AgentAddress.of(address, headers)
        return place


def _accepted(message: HttpMessage, waited: float, connection: Connection, resource: Resource) -> ConsulReply:
    headers, body = tuple(message.headers), message.body
    meta, location = Meta.of(headers), ""
    if message.status != STATUS_OK:
        location = next((value.decode("latin-1") for name, value in headers if name.lower() == b"location"), "")
    if wrong := diagnose(message.status, meta, body, location, not_found=resource.not_found):
        kind, what = wrong
        raise RequestFailed(str(connection.address), resource.path, what, kind)
    digest = hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()
    return ConsulReply(meta=meta, body=body, digest=digest, waited=waited, headers=headers)
