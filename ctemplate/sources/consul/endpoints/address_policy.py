"""Which addresses a service may have, and how they print.

A registrant chooses the address freely; the balancer must not connect to its own ports or to addresses of no host.
"""

from __future__ import annotations

import ipaddress
import re

from ctemplate.core.errors import printable
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.settings import DataLimits
from ctemplate.core.values import dataclass

HOSTNAME_FIX = " but a host name; data.allow_hostnames allows them"
LOOPBACK_FIX = "; data.allow_loopback allows them"

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
HOSTNAME = lazy_pattern(rf"(?=.{{1,253}}\Z)({LABEL}\.)*[a-z]([a-z0-9_-]{{0,61}}[a-z0-9])?\.?", re.IGNORECASE)
OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
ORDINARY = lazy_pattern(rf"(?!(0|127|169|22[4-9]|2[3-5][0-9])\.){OCTET}(\.{OCTET}){{3}}")
"""IPv4 addresses that print unchanged: not unspecified, loopback, link-local or multicast."""
LOCAL_NAMES = frozenset({"localhost", "localdomain"})
THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
BROADCAST = ipaddress.ip_address("255.255.255.255")


def parse_ip(address: str) -> IPAddress | None:
    """Parse an IP address; one with a zone is refused, since it is valid on one host only."""
    try:
        return None if "%" in address else ipaddress.ip_address(address)
    except ValueError:
        return None


def plain_ip(address: IPAddress) -> IPAddress:
    """Return the IPv4 address that an IPv6 one wraps, or the address itself."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_loopback(address: str) -> bool:
    """Return whether an address is the host itself."""
    parsed = parse_ip(address)
    return parsed is not None and plain_ip(parsed).is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPolicy:
    """What the operator allows."""

    allow_hostnames: bool = False
    allow_loopback: bool = False
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    @classmethod
    def of(cls, limits: DataLimits) -> AddressPolicy:
        """Read the limits; raises ValueError for an invalid network."""
        return cls(
            allow_hostnames=limits.allow_hostnames,
            allow_loopback=limits.allow_loopback,
            networks=tuple(ipaddress.ip_network(network) for network in limits.allowed_networks),
        )

    def judge(self, address: str, node_address: str) -> tuple[str, str]:
        """Return how a service's address prints, and why it is refused: one of the two is empty.

        IPv6 prints in brackets.
        """
        if not address:
            return "", "is empty, and so is the node's"
        if not self.networks and ORDINARY.fullmatch(address):
            return address, ""
        may_loop = self.allow_loopback or is_loopback(node_address)
        parsed = parse_ip(address)
        if parsed is not None:
            refusal = self._refused_ip(plain_ip(parsed), may_loop=may_loop)
        else:
            refusal = self._refused_name(address, may_loop=may_loop)
        if refusal:
            return "", f"'{printable(address, 100)}' {refusal}"
        return (f"[{parsed}]" if isinstance(parsed, ipaddress.IPv6Address) else str(parsed or address)), ""

    def _refused_ip(self, address: IPAddress, *, may_loop: bool) -> str:
        if address.is_loopback and not may_loop:
            return f"is a loopback address, and the node's own is not{LOOPBACK_FIX}"
        if kind := _unroutable(address):
            return f"is {kind} address"
        if self.networks and not any(address in network for network in self.networks):
            return "is in none of data.allowed_networks"
        return ""

    def _refused_name(self, name: str, *, may_loop: bool) -> str:
        if not self.allow_hostnames:
            return f"is not an IP address{HOSTNAME_FIX if HOSTNAME.fullmatch(name) else ''}"
        if not HOSTNAME.fullmatch(name):
            return "is not an IP address or host name"
        if name.lower().rstrip(".").rsplit(".", 1)[-1] in LOCAL_NAMES and not may_loop:
            return f"is a loopback name, and the node's own address is not{LOOPBACK_FIX}"
        return "is a host name, and data.allowed_networks names networks" if self.networks else ""


def _unroutable(address: IPAddress) -> str:
    if address.is_unspecified or address in THIS_NETWORK:
        return "an unspecified"
    if address.is_link_local:
        return "a link-local"
    if address.is_multicast:
        return "a multicast"
    return "the broadcast" if address == BROADCAST else ""
