"""The address of an agent, parsed from the operator's text."""

from __future__ import annotations

import urllib.parse

from ctemplate.core.errors import ConfigError, printable
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass

DEFAULT_PORT = 8500
SCHEME_PORTS = {"http": 80, "https": 443}
MAX_AGENT_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One agent's address: a TCP host and port, or the path of a unix socket. ``prefix`` goes before every path."""

    scheme: str
    host: str = "localhost"
    port: int = DEFAULT_PORT
    prefix: str = ""
    socket: str = ""

    def __str__(self) -> str:
        """Show the address as an operator would write it."""
        if self.socket:
            return f"unix://{self.socket}"
        return f"{self.scheme}://{self.authority}{self.prefix}"

    @property
    def authority(self) -> str:
        """The host and port of the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.socket else f"{host}:{self.port}"

    @property
    def is_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.scheme == "https"


def parse_address(text: str, *, ssl: bool = False) -> Address:
    """Parse ``host``, ``host:port``, ``http[s]://host[:port][/path]`` or ``unix://path``; ``ssl`` is for no scheme.

    Raises ConfigError.
    """
    if text.startswith("unix://"):
        return _unix(text)
    bare = "://" not in text
    try:
        parts = urllib.parse.urlsplit(f"//{text}" if bare else text)
        if _has_bare_ipv6(parts.netloc):
            raise _unusable(text, "an IPv6 address stands in brackets, such as [::1]:8500")
        port = parts.port
    except ValueError as exc:
        what = str(exc).lower()
        raise _unusable(text, f"the port must be 1 to {MAX_AGENT_PORT}" if what.startswith("port ") else what) from exc
    scheme = ("https" if ssl else "http") if bare else parts.scheme
    if scheme not in SCHEME_PORTS:
        raise _unusable(text, "the scheme must be http, https or unix")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("consul address", "user and password do not belong into an address, use the auth setting")
    if not parts.hostname or parts.query or parts.fragment or not text.isprintable() or " " in text:
        raise _unusable(text, "expected host:port, http://host:port/path or unix:///path")
    if port == 0:
        raise _unusable(text, f"the port must be 1 to {MAX_AGENT_PORT}")
    if parts.path.rstrip("/").endswith("/v1"):
        raise _unusable(text, "leave out /v1, which is added to every request")
    default = DEFAULT_PORT if bare else SCHEME_PORTS[scheme]
    prefix = urllib.parse.quote(parts.path.rstrip("/"), safe="/%")
    return Address(scheme=scheme, host=parts.hostname, port=port or default, prefix=prefix)


def _has_bare_ipv6(place: str) -> bool:
    host = place.rpartition("@")[2]
    return host.count(":") > 1 and not host.startswith("[")


def _unix(text: str) -> Address:
    path = text.removeprefix("unix://")
    if not path.startswith("/"):
        raise _unusable(text, "expected unix:// and an absolute path")
    return Address(scheme="http", socket=path)


_USER = lazy_pattern(r"//[^/@]*@")
"""User and password before a host, which no error shows."""


def _unusable(text: str, why: str) -> ConfigError:
    shown = _USER.sub("//...@", text)
    return ConfigError(f"consul address '{printable(shown, 100)}'", why)
