"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess

from harness import program

from bench.agent import consul_version
from bench.programs import ConsulTemplate


def nginx_version() -> str:
    """Return what nginx calls itself."""
    shown = subprocess.run([program("nginx"), "-v"], capture_output=True, text=True, check=True)
    return shown.stderr.strip().removeprefix("nginx version: ")


def description(other: ConsulTemplate | None) -> str:
    """Return machine, versions, and how busy the machine is before anything begins."""
    facts = [
        platform.machine(),
        f"{os.cpu_count()} cores",
        f"Python {platform.python_version()}",
        consul_version(),
        nginx_version(),
        *([other.version()] if other else ["no consul-template: CONSUL_TEMPLATE names none"]),
        f"load {os.getloadavg()[0]:.2f} before the run",
    ]
    return f"{'; '.join(facts)}. ctemplate starts with its bytecode compiled, as pip leaves it."
