"""The services left out of one rendering of a group, or rendered with older data, and its passes."""

from __future__ import annotations

import copy
from dataclasses import field

from ctemplate.core.errors import TemplateError, printable
from ctemplate.core.values import dataclass
from ctemplate.template.lost_servers import RemovedService
from ctemplate.template.safety.quarantine import SHOWN_LENGTH, Held, QuarantineVerdict, partly
from ctemplate.template.safety.render_pass import NOBODY, Owner, Partly, Run
from ctemplate.template.safety.substitute_entries import SubstituteEntries
from ctemplate.template.safety.substitutes import Substitute


@dataclass(slots=True)
class RenderState:
    """The owners that are left out of one rendering, those whose last good data are used, and the resulting passes.

    ``things`` are owners that are no service and whose last good entries are used; ``removed`` are the services of
    which an edit removes every server.
    """

    held: dict[Owner, Held]
    substitutes: dict[str, Substitute]
    runs: tuple[Run, ...] = ()
    things: dict[str, SubstituteEntries] = field(default_factory=dict)
    removed: tuple[RemovedService, ...] = ()

    @property
    def excluded(self) -> frozenset[str]:
        """The services that are left out entirely."""
        return frozenset(owner.service for owner in self.held if owner.is_whole)

    @property
    def partly(self) -> Partly:
        """The single instances that are left out, and services left out of listings by a tag."""
        return partly(self.held) if any(not owner.is_whole for owner in self.held) else NOBODY

    @property
    def verdicts(self) -> dict[Owner, QuarantineVerdict]:
        """The reason for each that is left out, or not rendered as registered."""
        kept = {Owner(name): one.verdict for name, one in self.substitutes.items()}
        return {owner: one.verdict for owner, one in self.held.items()} | kept

    def limits(self) -> list[float]:
        """Return the moments until which last good data may be in use."""
        kept = [one.until for one in self.substitutes.values()] + [one.until for one in self.things.values()]
        return [until for until in kept if until < float("inf")]

    def explained(self, error: TemplateError) -> TemplateError:
        """Return an error of a pass with what had been left out of that pass, most likely its cause."""
        if not self.held:
            return error
        rejection = self.held[min(self.held)].verdict.rejection
        shown = printable(rejection.service, SHOWN_LENGTH)
        named = copy.copy(error)
        named.what = f"{error.what}; before that, service {shown!r} was left out: {rejection.reason}"
        return named

    def lacks(self, service: str) -> bool:
        """Whether nothing of a service's newest data is rendered."""
        return service in self.substitutes or Owner(service) in self.held
