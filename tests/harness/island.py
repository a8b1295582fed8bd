"""A network namespace with two links to this one: the link of clients stays, the link between servers can be cut.

Works for root only.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator


class Island:
    """A namespace whose programs see this one at `shore`, and are seen from here at `place` and `clients_place`."""

    def __init__(self, number: int = os.getpid() % 250 + 1):
        """Choose names and addresses by a number; the network is that of benchmarks, routed nowhere."""
        self.name = f"island{number}"
        self.clients_place = f"198.18.{number}.2"
        self.shore = f"198.18.{number}.5"
        self.place = f"198.18.{number}.6"
        self._clients_shore = f"198.18.{number}.1"
        self._link = f"isl{number}"

    @staticmethod
    def is_allowed() -> bool:
        """Whether this process may make namespaces."""
        if shutil.which("ip") is None:
            return False
        return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0

    def make(self) -> None:
        _ip("netns", "add", self.name)
        for suffix, shore, place in (("c", self._clients_shore, self.clients_place), ("s", self.shore, self.place)):
            here, there = f"{self._link}{suffix}0", f"{self._link}{suffix}1"
            _ip("link", "add", here, "type", "veth", "peer", "name", there)
            _ip("link", "set", there, "netns", self.name)
            _ip("addr", "add", f"{shore}/30", "dev", here)
            _ip("link", "set", here, "up")
            _ip("-n", self.name, "addr", "add", f"{place}/30", "dev", there)
            _ip("-n", self.name, "link", "set", there, "up")
        _ip("-n", self.name, "link", "set", "lo", "up")

    def remove(self) -> None:
        """Remove the namespace, and its links with it."""
        for suffix in "cs":
            _ip("link", "delete", f"{self._link}{suffix}0", check=False)
        _ip("netns", "delete", self.name, check=False)

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Cut the link between servers; clients still reach the island."""
        _ip("-n", self.name, "link", "set", f"{self._link}s1", "down")
        try:
            yield
        finally:
            _ip("-n", self.name, "link", "set", f"{self._link}s1", "up")


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=not check)
