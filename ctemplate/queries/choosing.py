"""How a template's call selects instances: by datacenter, state and tag, and the words that its arguments allow.

Knows a render pass only as a ``Reader``; must not know how a query is asked.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import chain

from ctemplate.core.model import Instance, Query, Service, Status
from ctemplate.queries.kind import Reader

ANY = "any"
STATUS_WORDS = {status.value: (status,) for status in Status} | {ANY: tuple(Status)}


def word(key: str, value: object) -> str:
    """Return an argument as plain text; raises TypeError for a value that is not text."""
    if isinstance(value, Service | Instance):
        kind = type(value).__name__.lower()
        raise TypeError(f"{key} must be a text, got a whole {kind}; write its {key}, such as svc.{key}")
    if not isinstance(value, str):
        str(value)  # an undefined value raises its own error
        raise TypeError(f"{key} must be a text, got {value!r}")
    return str(value)


def scope_words(**words: str | None) -> dict[str, str]:
    """Return the scope fields that a call passes; an empty text counts as not passed."""
    return {key: text for key, value in words.items() if value is not None and (text := word(key, value))}


def datacenters_of(dc: Iterable[str]) -> tuple[str, ...]:
    """Return the datacenters of a list without duplicates, in their order."""
    return tuple(dict.fromkeys(word("dc", each) for each in dc))


def wanted_statuses(status: str | Iterable[str]) -> tuple[Status, ...]:
    """Return the states that a word or a list of words names; raises ValueError for an unknown word."""
    if isinstance(status, str):
        found = STATUS_WORDS.get(status)
        return found if found is not None else _unknown_status(status)
    return tuple({found: None for each in status for found in wanted_statuses(each)})


def _unknown_status(status: str) -> tuple[Status, ...]:
    near = difflib.get_close_matches(status, STATUS_WORDS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(STATUS_WORDS)}"
    raise ValueError(f"status: unknown word {status!r}; {hint}")


def chosen(instances: Iterable[Instance], statuses: tuple[Status, ...], tag: str | None) -> tuple[Instance, ...]:
    """Return the instances in one of the states and, if a tag is given, with that tag."""
    found = [instance for instance in instances if instance.status in statuses]
    return tuple(found if tag is None else [instance for instance in found if tag in instance.tags])


def instances_of_many(
    reader: Reader, queries: Sequence[Query], statuses: tuple[Status, ...], tag: str | None, *, failover: bool
) -> tuple[Instance, ...]:
    """Return the instances of one service in several datacenters; with ``failover`` those of the first that has any.

    All datacenters are asked, so that their answers are present or stored when they are needed. An absent datacenter
    only counts beside others.
    """
    if failover:
        found = _first(reader, queries, statuses, tag)
    else:
        found = tuple(
            chain.from_iterable(
                chosen(reader.instances(query, tag, has_alternatives=True) or (), statuses, tag) for query in queries
            )
        )
    if not found:
        reader.await_all(queries)
    return found


def _first(
    reader: Reader, queries: Sequence[Query], statuses: tuple[Status, ...], tag: str | None
) -> tuple[Instance, ...]:
    """Return the instances of the first query with any; queries behind it, or behind an unanswered one, are spare."""
    found: tuple[Instance, ...] = ()
    is_decided = reader.is_left_out(queries[0])
    for query in queries:
        value = reader.instances(query, tag, has_alternatives=True, prefetch_only=is_decided)
        if not is_decided:
            found = chosen(value or (), statuses, tag)
            is_decided = bool(found) or value is None
    return found
