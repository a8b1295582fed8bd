"""The guard: keeps the last good answer where a new one looks like a failure rather than a change.

Pure: no clock, no I/O; every ``now`` is seconds on one monotonic clock that the caller reads.
"""

from ctemplate.core.events import GuardReport
from ctemplate.core.settings import GuardPolicy
from ctemplate.guard.evidence.hold import Cause, Hold
from ctemplate.guard.evidence.policy import Policies
from ctemplate.guard.evidence.reports import described
from ctemplate.guard.guard import Guard, Memory
from ctemplate.guard.rules.holding import CONFIRM_GRACE

__all__ = ["CONFIRM_GRACE", "Cause", "Guard", "GuardPolicy", "GuardReport", "Hold", "Memory", "Policies", "described"]
