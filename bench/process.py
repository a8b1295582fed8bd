"""What the kernel knows of a process: CPU time, memory, connections."""

import contextlib
import re
import threading
import time
from pathlib import Path
from typing import Self

ESTABLISHED = "01"


def cpu_seconds(pid: int) -> float:
    """Return the CPU time used so far, in seconds, user and system together, to the microsecond.

    The kernel has a clock for each process, named by its pid: clock_getcpuclockid(3).
    """
    return time.clock_gettime((~pid << 3) | 2)


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def connections(port: int) -> int:
    """Count the established connections to a port on loopback, each once, by the side of the one who asked."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(1 for row in rows if int(row[2].split(":")[1], 16) == port and row[3] == ESTABLISHED)


class Connections:
    """Watches how many connections a port has at most while the block lasts."""

    def __init__(self, port: int) -> None:
        self.most = 0
        self._port = port
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._count, name="connections", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _count(self) -> None:
        while not self._is_over.wait(0.05):
            self.most = max(self.most, connections(self._port))


def sockets(pid: int) -> int:
    """Count the sockets that a process holds open, whoever is at their other end."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += str(link.readlink()).startswith("socket:")
    return count
