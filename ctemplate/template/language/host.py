"""Addresses of this host, for templates. They are the machine's own, so no registrant chooses them."""

from __future__ import annotations

import ipaddress
import pkgutil
from typing import Any

from ctemplate.core.errors import printable
from ctemplate.template.safety.tainted_text import Trusted

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
IPV4, IPV6 = 4, 6


def interface_ip(name: str = "", version: int = IPV4) -> str:
    """Return the first address of an interface of this host, IPv6 in brackets; without a name, the private one.

    Without a name it is the first address on any interface that the internet does not route (RFC 6890). Addresses are
    read again in each render, and their change causes no render. Raises LookupError if there is none.
    """
    if version not in {IPV4, IPV6}:
        raise ValueError(f"interface_ip: version must be {IPV4} or {IPV6}, got {version!r}")
    adapters = pkgutil.resolve_name("ifaddr:get_adapters")()  # most templates never need it
    interfaces = [(adapter.name, ip.ip) for adapter in adapters for ip in adapter.ips]
    found = [
        address
        for interface, shown in interfaces
        if (address := _address(shown)).version == version
        and (interface == name if name else address.is_private and not address.is_loopback)
        and (bool(name) or not address.is_link_local)
    ]
    if not found:
        where = f"on the interface {printable(name)!r}" if name else "for private use on this host"
        known = ", ".join(dict.fromkeys(interface for interface, _ in interfaces))
        raise LookupError(f"interface_ip: no IPv{version} address {where}; interfaces: {known}")
    return Trusted(f"[{found[0]}]" if version == IPV6 else str(found[0]))


def interfaces() -> list[dict[str, Any]]:
    """Return all addresses of this host with their properties, in the order of the interfaces.

    ``name`` is the interface's, ``ip`` the address, ``address`` the same with IPv6 in brackets; further fields are
    ``network``, ``prefix``, ``version``, ``is_private``, ``is_loopback`` and ``is_link_local``. Addresses are read
    again in each render, and their change causes no render.
    """
    adapters = pkgutil.resolve_name("ifaddr:get_adapters")()  # most templates never need it
    return [_facts(adapter.name, ip.ip, ip.network_prefix) for adapter in adapters for ip in adapter.ips]


def _facts(name: str, shown: str | tuple[str, int, int], prefix: int) -> dict[str, Any]:
    address = _address(shown)
    network = ipaddress.ip_network(f"{str(address).partition('%')[0]}/{prefix}", strict=False)
    return {
        "name": Trusted(name),
        "ip": Trusted(address),
        "address": Trusted(f"[{address}]" if address.version == IPV6 else address),
        "network": Trusted(network),
        "prefix": prefix,
        "version": address.version,
        "is_private": address.is_private and not address.is_loopback and not address.is_link_local,
        "is_loopback": address.is_loopback,
        "is_link_local": address.is_link_local,
    }


def _address(shown: str | tuple[str, int, int]) -> _Address:
    return ipaddress.ip_address(shown if isinstance(shown, str) else shown[0])
