"""The baseline: the templates of the last good rendering, and the owners of the data in it.

It distinguishes an edit of a template, which may contain an error, from a change of data, for which the template is not
to blame. Pure; must not know where it is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from ctemplate.core.model import Answer, Instance, OwnedEntry, Service
from ctemplate.template.safety.render_pass import Claim, Owner
from ctemplate.template.template import Template

_KNOWN = 100_000
_DIGITS = 12


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The last good rendering, as digests: ``lines`` of the templates' lines, ``live`` of the owners.

    ``claims`` are what services had, and ``created`` when each was first registered, as far as known while it is live.
    ``unlisted`` are tags by which the rendering did not list services that have them.
    """

    template: str
    lines: frozenset[str] = frozenset()
    live: frozenset[str] = frozenset()
    claims: frozenset[str] = frozenset()
    created: dict[str, int] = {}
    unlisted: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        templates: Iterable[Template],
        owners: Iterable[Owner],
        claims: Iterable[Claim] = (),
        created: Mapping[str, int] | None = None,
    ) -> Baseline:
        """Return the baseline of a rendering that has become live; ``created`` are the services' registrations."""
        templates = tuple(templates)
        lines = frozenset(_digest(line) for template in templates for line in template.lines)
        live = frozenset(map(_owner_digest, owners))
        dated = {_service_digest(name): number for name, number in (created or {}).items()}
        return cls(
            template=template_digest(templates),
            lines=lines,
            live=live,
            claims=frozenset(map(_claim_digest, claims)),
            created={known: number for known, number in dated.items() if known in live},
        )

    def changed(
        self,
        *,
        gone: Iterable[Owner],
        new: Iterable[Owner],
        claims: frozenset[Claim] | None,
        created: Mapping[str, int],
    ) -> Baseline:
        """Return the baseline of the same templates after owners went and came; itself where nothing differs.

        ``created`` are dates of services, and ``claims`` all claims, None where they are as before.
        """
        left, added = frozenset(map(_owner_digest, gone)), frozenset(map(_owner_digest, new))
        live = self.live
        live = live - left if left else live
        live = live | added if added else live
        dates = self.created.copy()
        for known in left - added:
            dates.pop(known, None)
        for name, number in created.items():
            if (known := _service_digest(name)) in live:
                dates[known] = min(number, dates.get(known, number))
        had = self.claims if claims is None else frozenset(map(_claim_digest, claims))
        is_same = live is self.live or live == self.live
        if is_same and had == self.claims and dates == self.created:
            return self
        return msgspec.structs.replace(self, live=live, claims=had, created=dates)

    def with_dates_of(self, before: Baseline) -> Baseline:
        """Return the baseline with the earlier dates of one before it: a service that stays live keeps its date."""
        dated = {known: number for known, number in before.created.items() if known in self.live}
        dated |= {known: min(number, dated.get(known, number)) for known, number in self.created.items()}
        return msgspec.structs.replace(self, created=dated)

    def with_unlisted(self, tags: Iterable[tuple[str, str]]) -> Baseline:
        """Return the baseline of a rendering that did not list these services by these tags; itself where it is so."""
        found = frozenset(_owner_digest(Owner(service, tag=tag)) for service, tag in tags)
        return self if found == self.unlisted else msgspec.structs.replace(self, unlisted=found)

    def unlisted_in(self, answers: Iterable[Answer]) -> frozenset[tuple[str, str]]:
        """Return the services in some answers, each with a tag by which the last good rendering did not list it."""
        services = (item for answer in answers if self.unlisted for item in answer.value if isinstance(item, Service))
        tags = ((one.name, tag) for one in services for tag in one.tags)
        return frozenset(one for one in tags if _owner_digest(Owner(one[0], tag=one[1])) in self.unlisted)

    def is_live(self, owner: Owner) -> bool:
        """Whether the last good rendering contained data of the owner."""
        return _owner_digest(owner) in self.live

    def had(self, claim: Claim) -> bool:
        """Whether the last good rendering contained what a service claims, as that service's own."""
        return _claim_digest(claim) in self.claims

    def since(self, service: str) -> float:
        """Return the earliest registration of a service known while it has been live, infinity where unknown."""
        return self.created.get(_service_digest(service), float("inf"))

    def live_part(self, answer: Answer) -> Answer:
        """Return an answer without the services and instances that the last good rendering did not contain.

        Entries of no service, such as keys, stay: one that could not be used was stored as good data itself.
        """
        owners = [(item, Owner.of(item)) for item in answer.value if isinstance(item, Service | Instance)]
        value: list[object] = [item for item, owner in owners if self.is_live(owner)]
        value = value or [item for item, owner in owners if self.is_live(owner.whole)]
        value += [item for item in answer.value if isinstance(item, OwnedEntry)]
        return msgspec.structs.replace(answer, value=tuple(value))

    def knows(self, line: str) -> bool:
        """Whether the templates contained a line."""
        return _digest(line) in self.lines


def template_digest(templates: Iterable[Template]) -> str:
    """Return a digest of a group's templates and the operator's variables."""
    return hashlib.sha256(repr([template.identity for template in templates]).encode()).hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]


@lru_cache(maxsize=_KNOWN)
def _owner_digest(owner: Owner) -> str:
    return _digest("\0".join(owner))


@lru_cache(maxsize=_KNOWN)
def _service_digest(name: str) -> str:
    return _owner_digest(Owner(name))


@lru_cache(maxsize=_KNOWN)
def _claim_digest(claim: Claim) -> str:
    return _digest(repr((claim.kind, claim.value, claim.service)))
