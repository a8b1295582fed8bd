"""The address at which status is served: host and port (loopback by default), or a unix socket. Pure."""

from __future__ import annotations

from ctemplate.core.errors import ConfigError, printable
from ctemplate.core.model import MAX_PORT
from ctemplate.core.values import dataclass

LOOPBACK = "127.0.0.1"
SOCKET_SCHEME = "unix:"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusAddress:
    """A TCP address, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    socket: str = ""

    @property
    def authority(self) -> str:
        """Return host and port in the form of a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{SOCKET_SCHEME}{self.socket}" if self.socket else self.authority


def parse_status_address(text: str) -> StatusAddress:
    """Return the address of ``HOST:PORT``, ``:PORT``, ``PORT``, ``[IPV6]:PORT``, ``unix:PATH`` or ``/PATH``.

    Raises ConfigError.
    """
    if text.startswith((SOCKET_SCHEME, "/")):
        path = text.removeprefix(SOCKET_SCHEME).removeprefix("//")
        if not path.startswith("/"):
            raise ConfigError("-status-addr", f"must be an absolute path for a socket, got {printable(text)!r}")
        return StatusAddress(socket=path)
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) <= MAX_PORT):
        raise ConfigError("-status-addr", f"must be HOST:PORT, PORT or unix:PATH, got {printable(text)!r}")
    bare = host.removeprefix("[").removesuffix("]")
    if ":" in bare and bare == host:
        raise ConfigError("-status-addr", f"write an IPv6 address in brackets, got {printable(text)!r}")
    return StatusAddress(host=bare or LOOPBACK, port=int(port))
