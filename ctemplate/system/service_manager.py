"""Notify the service manager that started this process of its state: systemd's notification protocol.

A datagram of ``NAME=VALUE`` lines to the socket that the environment names. Knows nothing of what the process does.
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from typing import Self

from ctemplate.core.event_stream import emit
from ctemplate.core.host_events import ServiceManagerUnreachable
from ctemplate.core.values import dataclass

SOCKET, WATCHDOG, WATCHDOG_PROCESS = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
ABSTRACT = "@"  # begins the name of a socket that is in no folder
MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceManager:
    """The socket of a service manager; ``watchdog`` is its interval for signs of life, None without one."""

    address: str
    watchdog: float | None = None

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> Self | None:
        """Return the service manager to notify, None without one; remove it from the children's environment."""
        address = environ.pop(SOCKET, "")
        usec, pid = environ.pop(WATCHDOG, ""), environ.pop(WATCHDOG_PROCESS, "")
        if not address:
            return None
        if not address.startswith((ABSTRACT, "/")):
            what = f"{SOCKET}: is not a socket path, found {address!r}; the service manager gets no notifications"
            emit(ServiceManagerUnreachable(address=address, reason=what))
            return None
        is_ours = not pid or pid == str(os.getpid())
        watchdog = int(usec) / MICROSECONDS if is_ours and usec.isdecimal() and int(usec) else None
        return cls(address=address, watchdog=watchdog)

    def tell(self, **values: str | int) -> None:
        """Send the values without waiting; a manager that cannot be reached is logged."""
        lines = "\n".join(f"{name}={value}" for name, value in values.items())
        name = f"\0{self.address[1:]}" if self.address.startswith(ABSTRACT) else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as line:
                line.sendto(lines.encode(), name)
        except OSError as exc:
            what = f"{self.address}: the service manager cannot be notified: {exc.strerror or exc}"
            emit(ServiceManagerUnreachable(address=self.address, reason=what))
