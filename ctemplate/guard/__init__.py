"""The guard: holds the last good answer where a new one looks like trouble rather than change.

Pure: no clock, no I/O; every ``now`` is seconds on one monotonic clock of the caller's.
"""

from ctemplate.guard.guard import Guard, Memory
from ctemplate.guard.hold import Cause, Hold
from ctemplate.guard.policy import GuardPolicy, Policies
from ctemplate.guard.reports import Report, described
from ctemplate.guard.rules.holding import GRACE

__all__ = ["GRACE", "Cause", "Guard", "GuardPolicy", "Hold", "Memory", "Policies", "Report", "described"]
