"""What comes of rendering the templates of one group. Must not know how."""

from __future__ import annotations

from ctemplate.core.model import Query, Rejection
from ctemplate.core.values import dataclass
from ctemplate.template.lost_servers import RemovedService


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """The texts, parallel to the templates; the queries they used, the missing queries, and the owners left out.

    ``kept`` are the owners, keys among them, whose last good data were rendered instead. ``remarks`` are sentences
    about calls without a result that are probably mistakes. ``removed`` are the services that are live and healthy, and
    of which an edit of the templates removes every server. While a query is missing the texts are incomplete, or empty
    if a template cannot do without the answer.
    """

    texts: tuple[str, ...]
    used: frozenset[Query]
    missing: frozenset[Query]
    quarantined: tuple[Rejection, ...]
    kept: tuple[Rejection, ...] = ()
    remarks: tuple[str, ...] = ()
    removed: tuple[RemovedService, ...] = ()
