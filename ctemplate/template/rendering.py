"""What comes of rendering the templates of one group. Must not know how."""

from __future__ import annotations

from ctemplate.core.model import Query, Rejection
from ctemplate.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """The texts, parallel to the templates; the queries they used, those still missing, and who was left out.

    ``kept`` are those, keys among them, of whom the last good data were rendered instead. ``remarks`` are sentences
    about calls that find nothing and hardly mean to. While a query is missing the texts are incomplete, or empty where
    a template cannot do without the answer.
    """

    texts: tuple[str, ...]
    used: frozenset[Query]
    missing: frozenset[Query]
    quarantined: tuple[Rejection, ...]
    kept: tuple[Rejection, ...] = ()
    remarks: tuple[str, ...] = ()
