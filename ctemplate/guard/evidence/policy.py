"""The guard's policies: the one for all services, and those for single ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from ctemplate.core.model import Query
from ctemplate.core.settings import GuardPolicy
from ctemplate.core.values import dataclass
from ctemplate.queries import kind_of

UNGUARDED = GuardPolicy(hold=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The policy for all, and those of single services or prepared queries, by name.

    ``is_scoped``: queries go to one namespace or partition, which may be without services.
    """

    default: GuardPolicy = GuardPolicy()
    is_scoped: bool = False
    services: Mapping[str, GuardPolicy] = field(default_factory=dict)

    def of(self, query: Query) -> GuardPolicy:
        """Return the policy for a query's answer."""
        name = kind_of(query).service_name(query)
        return self.default if name is None else self.services.get(name, self.default)
