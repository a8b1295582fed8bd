"""Targets that registered values choose, and values that variables get: which of them are permitted.

Pure; must not know the directives that they come from.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from typing import NamedTuple

from ctemplate.core.values import dataclass
from ctemplate.nginx.language.scoped_names import Name

UPSTREAM_KINDS = ("http", "stream")
PORT_AT_END = re.compile(rb":\d+\Z")


class Origin(NamedTuple):
    """An address, perhaps with a port, and the number of a registered value that names it."""

    address: bytes
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A target that contains registered values (``data`` are their numbers): the real text, without scheme and path.

    ``kind`` limits the upstreams that it may name: those of ``http`` or ``stream``, of both if empty, or none if None.
    ``has_port`` means that the template's text adds a port, so that the target must be an address; ``is_variable`` that
    the values are in the name of a variable, which is never permitted.
    """

    directive: bytes
    authority: bytes
    kind: str | None
    data: frozenset[int]
    has_port: bool = False
    is_variable: bool = False

    def renumbered(self, numbers: Sequence[int]) -> Goal:
        """Return the same with other numbers of the registered values: ``numbers`` has one for each from 0 on."""
        return Goal(
            directive=self.directive,
            authority=self.authority,
            kind=self.kind,
            data=frozenset(numbers[at] for at in self.data),
            has_port=self.has_port,
            is_variable=self.is_variable,
        )

    @property
    def host(self) -> bytes:
        """The target without a port, in lower case."""
        return PORT_AT_END.sub(b"", self.authority.lower())

    def is_known(self, upstreams: Container[Name], addresses: Container[Origin]) -> bool:
        """Return whether nginx goes to one of the upstreams, or to an address that the values' registrant may name."""
        if self.is_variable:
            return False
        name = self.authority.lower()
        kinds = () if self.kind is None or is_special_name(name) else (self.kind,) if self.kind else UPSTREAM_KINDS
        return any((f"{kind} upstream", name) in upstreams for kind in kinds) or self.is_address(addresses)

    def is_address(self, addresses: Container[Origin]) -> bool:
        """Return whether nginx goes to an address that the values' registrant may name.

        An address may come from another service than the one that was read last, such as from a list: with the port
        that the template adds it must then be that of an instance.
        """
        address = PORT_AT_END.sub(b"", self.authority) if self.has_port else self.authority
        forms = dict.fromkeys((address, self.authority))
        return not self.is_variable and all(
            any(Origin(form, number) in addresses for form in forms) for number in self.data
        )


class Feed(NamedTuple):
    """A value that a variable may get: the real text, the numbers of the registered values in it, and its variables.

    ``has_port`` has the same meaning as in ``Goal``. ``named_by`` are the registered values in the variable's name.
    """

    variable: bytes
    value: bytes
    data: frozenset[int]
    has_port: bool
    variables: frozenset[bytes]
    named_by: frozenset[int] = frozenset()

    def renumbered(self, numbers: Sequence[int]) -> Feed:
        """Return the same with other numbers of the registered values: ``numbers`` has one for each from 0 on."""
        data, named_by = (frozenset(numbers[at] for at in each) for each in (self.data, self.named_by))
        return self._replace(data=data, named_by=named_by)


def is_special_name(name: bytes) -> bool:
    """Return whether nginx never looks for an upstream of that name: a name with port or brackets, or a socket."""
    return b":" in name or b"[" in name or not name
