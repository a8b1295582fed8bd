"""The baseline: the templates of the last good rendering, and the owners of the data in it.

It distinguishes an edit of a template, which may contain an error, from a change of data, for which the template is not
to blame. Pure; must not know where it is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from ctemplate.core.model import Answer, Instance, OwnedEntry, Service
from ctemplate.template.safety.render_pass import Owner
from ctemplate.template.template import Template

_KNOWN = 100_000
_DIGITS = 12


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The last good rendering, as digests: ``lines`` of the templates' lines, ``live`` of the owners."""

    template: str
    lines: frozenset[str] = frozenset()
    live: frozenset[str] = frozenset()

    @classmethod
    def of(cls, templates: Iterable[Template], owners: Iterable[Owner]) -> Baseline:
        """Return the baseline of a rendering that has become live."""
        templates = tuple(templates)
        lines = frozenset(_digest(line) for template in templates for line in template.lines)
        return cls(template=template_digest(templates), lines=lines, live=frozenset(map(_owner_digest, owners)))

    def is_live(self, owner: Owner) -> bool:
        """Whether the last good rendering contained data of the owner."""
        return _owner_digest(owner) in self.live

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
