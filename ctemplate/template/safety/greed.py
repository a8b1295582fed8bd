"""Which services use more than their share, where a render has exceeded a limit. Pure.

All services share a render's time, steps and output, so a few with maximal registrations could use them up. Must not
know limits, or the cause of any other failure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ctemplate.core.model import Answer, Instance, Service

FAIR = 20_000
"""Values of one service, that is instances, tags and meta pairs: a thousand instances with nineteen tags each. A
service with more may be left out; so may one with ``TIMES`` as many values as a quarter of the live services have."""

TIMES = 10


def weights(answers: Iterable[Answer | None]) -> dict[str, int]:
    """Return the number of values of each service in the answers."""
    found: dict[str, int] = {}
    for answer in answers:
        for one in answer.value if answer is not None else ():
            if isinstance(one, Service | Instance):
                found[one.name] = found.get(one.name, 0) + _weight(one)
    return found


def _weight(one: object) -> int:
    """Return the number of values of a service or an instance; 1 for anything else."""
    if not isinstance(one, Service | Instance):
        return 1
    more = len(one.meta) + len(one.ports) if isinstance(one, Instance) else 0
    return 1 + len(one.tags) + more


def greedy(known: dict[str, int], live: Collection[str] = ()) -> tuple[str, ...]:
    """Return the heaviest services, until half of all values are left; none within its share.

    Services that were not live come first, and only live ones say what a share is, since new ones may outnumber them.
    Before any is live, all say it: a lower quartile moves only if most services are heavy.
    """
    if not known:
        return ()
    share = min(FAIR, TIMES * _lower_quartile(known[name] for name in live or known))
    left = whole = sum(known.values())
    found: list[str] = []
    for service in sorted(known, key=lambda name: (name in live, -known[name], name)):
        if 2 * left <= whole:
            break
        if known[service] > share:
            found.append(service)
            left -= known[service]
    return tuple(found)


def _lower_quartile(numbers: Iterable[int]) -> int:
    """Return what a quarter of the numbers do not exceed; ``statistics`` would take a fiftieth of a start."""
    ordered = sorted(numbers)
    return ordered[(len(ordered) - 1) // 4]
