"""What a kind of query is: everything that the rest of the program must know of it, as facts without defaults.

Whoever handles queries asks their kind for a fact and never for their class, so that a new kind is one new module in
this folder. Knows how Consul is asked and how its answers are decoded; must not know who asks for a fact.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NewType, Protocol, TypeVar

import msgspec

from ctemplate.core.model import Answer, Instance, OwnedEntry, Query, Rejection, Service
from ctemplate.queries.catalog_entries import CatalogPage, RecordedAnswer, RecordingRules
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource

Q = TypeVar("Q", bound=Query)

OwnText = NewType("OwnText", str)
"""A text that Consul itself or the operator wrote, which is printed as it stands."""

Decoded = tuple[tuple[Any, ...], tuple[Rejection, ...]]
"""An answer's value, and what was left out of it and why."""


class WatchRole(enum.Enum):
    """What a query is to whoever watches."""

    WANTED = "a template asks for it"
    LOCAL = "a template asks for it, and a file of this host answers it"
    SENTINEL = "its wake-ups tell of changes in the answers to others"
    NODE = "it names the services that changed on one node"
    CENSUS = "it is read at once in place of many others, and never long-polled"


class Losses(enum.Enum):
    """How the guard judges that something is missing from an answer."""

    NAMES = "names of services; none may vanish unconfirmed"
    INSTANCES = "instances of a service; a part may vanish"
    NONE = "whatever comes is taken at once"


class Subject(enum.Enum):
    """Which service an answer is about."""

    NAMED = "the service that the query names"
    CHOSEN = "one service, which the answer names"
    ALL = "all services of a datacenter"
    NO_SERVICE = "no service"


class Ownership(enum.Enum):
    """Whose text the values of an answer are to the rule for what templates print."""

    REGISTRANTS = "the service's or instance's that was read last, which can be left out"
    ENTRIES = "each entry's own; none can be left out, so that a render with a forbidden one is refused"
    NOT_PRINTED = "no template sees them"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRight:
    """A right that a token needs, to read unless ``access`` says otherwise.

    ``name`` None stands for every name. ``is_prefix``: for all that begin so.
    """

    resource: str
    name: str | None
    is_prefix: bool = False
    access: str = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Where the answers of an earlier process are stored: the section of the file, and the type of an entry."""

    section: str
    entry: type[msgspec.Struct]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogForm(Generic[Q]):
    """How a kind's answers stand in a catalog file.

    ``is_plain``: the query asks for what a datacenter's page holds; otherwise its answer stands beside it by itself.
    ``playback`` reads the answer from a page, ``record`` makes the page that gives the answer again.
    """

    is_plain: Callable[[Q], bool]
    playback: Callable[[Q, CatalogPage], Decoded]
    record: Callable[[Answer, RecordingRules], RecordedAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover(Generic[Q]):
    """How the answers to many queries are found in that to one, which may be asked in their place.

    ``within`` are the queries whose answers hold the query's entry, the narrowest first; ``name`` is what that entry is
    called there, ``entry_name`` tells it of an entry. What such an answer lacks may also be what our token may not
    read.
    """

    within: Callable[[Q], tuple[Query, ...]]
    name: Callable[[Q], str]
    entry_name: Callable[[Any], str]


class Reader(Protocol):
    """What a template function gets of the pass that calls it."""

    def ask(self, query: Query) -> Answer | None:
        """Return the answer to a query, None while there is none; the pass waits for it."""

    def instances(
        self, query: Query, tag: str | None = None, *, has_alternatives: bool = False, prefetch_only: bool = False
    ) -> tuple[Instance, ...] | None:
        """Return the instances that a query gives, without those left out; None while there is no answer.

        With ``has_alternatives`` an absent answer counts as one; with ``prefetch_only`` nothing waits for it. ``tag``
        is the one that will be chosen.
        """

    def is_left_out(self, query: Query) -> bool:
        """Whether the service that a query names is left out."""

    def listed(self, query: Query, *, has_alternatives: bool = False) -> tuple[Service, ...]:
        """Return the services that a query gives, without those left out; none while there is no answer."""

    def await_all(self, queries: Iterable[Query]) -> None:
        """Wait for queries, if the datacenters of all of them are absent."""

    def explain_instances(self, queries: Sequence[Query], tag: str | None) -> None:
        """Remark on a call that gives no instance, where its name or tag is most likely a slip."""

    def explain_tag(self, queries: Iterable[Query], tag: str) -> None:
        """Remark on a tag that no service carries."""

    def absent(self, query: Query) -> Any:
        """Return what stands for the value of a query that has none; to use it is to wait for the value."""

    def read_entry(self, entry: OwnedEntry) -> None:
        """Take note that what is printed next is most likely made of the entry's texts."""

    def own_text(self, text: str) -> OwnText:
        """Return a text that Consul itself or the operator wrote: it is printed as it stands."""

    def key_text(self, path: str, text: str) -> str:
        """Return the text of a key: the operator's own below a prefix that is trusted, else a registrant's."""


F = TypeVar("F", bound=Callable[..., Any])


def template_function(name: str) -> Callable[[F], F]:
    """Give a function the name by which templates call it, for the errors of wrong calls."""

    def named(function: F) -> F:
        function.__name__ = function.__qualname__ = name
        return function

    return named


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[Q]):
    """The facts about one kind of query, none of which has a default.

    ``request`` gets the query and its scope (``dc``, ``ns``, ``partition``, ``peer``), the settings' where the query
    names none. ``not_found`` says what status 404 means. ``blocks``: Consul can hold the answer back until it changes;
    what it cannot is polled. ``sentinel`` names the list of services whose sentinels tell of changes, None where none
    does.

    ``service_name`` is the name by which policies and releases mean the query; ``reads_whole_service``: the answer
    holds every instance of that service. ``keeps_order``: the order of the answer is the source's, not ours;
    ``is_shuffled``: Consul orders it anew each time, by lot or by what it measures.
    ``rights`` are those that a token needs to see everything. ``cover`` is None where no other query's answer holds
    that of this one.

    ``stored`` and ``catalog`` are None for what no template asks for. ``functions`` are those by which templates ask,
    the first argument a ``Reader``. ``readable`` are the types whose fields templates read.
    """

    query: type[Q]
    role: WatchRole
    request: Callable[[Q, Mapping[str, str | None]], Resource]
    not_found: NotFound
    decode: Callable[[Q, bytes, Decoder], Decoded]
    blocks: bool
    sentinel: Callable[[Q], Query | None]
    losses: Losses
    subject: Subject
    service_name: Callable[[Q], str | None]
    reads_whole_service: Callable[[Q], bool]
    keeps_order: Callable[[Q], bool]
    is_shuffled: bool
    rights: Callable[[Q], tuple[ReadRight, ...]]
    cover: Cover[Q] | None
    ownership: Ownership
    stored: Stored | None
    catalog: CatalogForm[Q] | None
    functions: tuple[Callable[..., Any], ...]
    readable: tuple[type[msgspec.Struct], ...]


def nothing(_: Query) -> None:
    """Return None, whatever the query."""


def never(_: Query) -> bool:
    """Return False, whatever the query."""
    return False
