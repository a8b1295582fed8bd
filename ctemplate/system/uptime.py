"""Moments counted since the boot, and processes that cannot be confused with later ones of the same pid.

The clock is the kernel's for the start of processes, so that setting the wall clock changes nothing.
"""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path

import msgspec

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TICKS = os.sysconf("SC_CLK_TCK")


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A moment in clock ticks since a boot; ``boot`` is the kernel's id of that boot."""

    boot: str
    ticks: int

    def is_after(self, recorded: Moment) -> bool:
        """Return whether this moment, of the present boot, is after a recorded moment of this or an earlier boot."""
        return self.boot != recorded.boot or self.ticks > recorded.ticks

    def earlier(self, seconds: float) -> Moment:
        """Return the moment that is this many seconds earlier."""
        return Moment(boot=self.boot, ticks=self.ticks - int(seconds * TICKS))


class RunningProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process; its start time distinguishes it from every other process with the same pid."""

    pid: int
    started: Moment


def now() -> Moment:
    """Return the present moment."""
    return Moment(boot=boot_id(), ticks=int(time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS))


def at_wall_clock(seconds: float) -> Moment:
    """Return the moment of a wall-clock time, such as a file's; correct if the clock was not set since."""
    return now().earlier(time.time() - seconds)


@cache
def boot_id() -> str:
    """Return the kernel's id of the present boot, empty if the kernel reports none."""
    try:
        return BOOT_ID.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
