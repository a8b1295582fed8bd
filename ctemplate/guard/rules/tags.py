"""Tags that vanish from every service at once: kept for ``hold``, since no ordinary change does that."""

from __future__ import annotations

from typing import ClassVar

from ctemplate.guard.evidence.entries import key
from ctemplate.guard.evidence.hold import Cause
from ctemplate.guard.rules import Change, make_hold
from ctemplate.guard.rules.holding import Holding

SEVERAL = 2  # services; a single one may lose its tags


class TagsRule(Holding):
    """The services of one answer that are shown with their former tags."""

    causes: ClassVar[frozenset[Cause]] = frozenset({Cause.TAGS_GONE})

    def observe(self, change: Change) -> None:
        """Keep the tags of all services when all lose them."""
        self.review(change.now)
        names = {key(service) for service in change.new.value}
        are_gone = not any(service.tags for service in change.new.value)
        self.keep(lambda service: are_gone and key(service) in names, change.new.value)
        if not change.is_news or not are_gone or change.policy.hold <= 0:
            return
        others = change.held | self.held()
        tagged = tuple(service for service in change.before.value if service.tags and key(service) in names)
        fresh = tuple(service for service in tagged if key(service) not in others)
        if fresh and len(tagged) >= SEVERAL:
            until, cause = change.now + change.policy.hold, Cause.TAGS_GONE
            self.holds += (make_hold(change.before, fresh, cause=cause, since=change.now, until=until, is_open=False),)
