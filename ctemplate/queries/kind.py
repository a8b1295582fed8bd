"""The definition of a kind of query: all facts about it that the rest of the program needs, without defaults.

Code that handles queries reads the facts of their kind and never checks their class, so that a new kind is one new
module in this folder. Knows how Consul is asked and how its answers are decoded; must not know who uses a fact.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NewType, Protocol, TypeVar

import msgspec

from ctemplate.core.model import Answer, Instance, OwnedEntry, Query, Rejection, Service
from ctemplate.core.values import dataclass
from ctemplate.queries.catalog_entries import CatalogPage, RecordedAnswer, RecordingRules
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource

Q = TypeVar("Q", bound=Query)
EntryForm = TypeVar("EntryForm")

OwnText = NewType("OwnText", str)
"""A text that Consul itself or the operator wrote; it is printed unchanged."""

Decoded = tuple[tuple[Any, ...], tuple[Rejection, ...]]
"""An answer's value, and the data that was left out of it with the reasons."""


class WatchRole(enum.Enum):
    """The role of a query for the watch."""

    WANTED = "a template asks for it"
    LOCAL = "a template asks for it, and a file of this host answers it"
    NGINX = "a template asks for it, and this host's nginx answers it"
    SENTINEL = "its wake-ups announce changes in the answers to others"
    NODE = "it names the services that changed on one node"
    CENSUS = "it is read at once in place of many others, and never long-polled"


class Losses(enum.Enum):
    """How the guard decides that something is missing from an answer."""

    NAMES = "names of services; none may vanish unconfirmed"
    INSTANCES = "instances of a service; a part may vanish"
    NONE = "whatever comes is taken at once"


class Subject(enum.Enum):
    """Which service an answer is about."""

    NAMED = "the service that the query names"
    CHOSEN = "one service, which the answer names"
    ALL = "all services of a datacenter"
    NO_SERVICE = "no service"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRight:
    """A right that a token needs: to read, unless ``access`` says otherwise.

    ``name`` None means every name. ``is_prefix``: the rule covers all names with this prefix. ``is_assumed`` marks
    a right that Consul's documentation does not name, and that a similar path needs.
    """

    resource: str
    name: str | None
    is_prefix: bool = False
    access: str = "read"
    is_assumed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """How answers of an earlier process are stored: the section of the file, and the type of an entry."""

    section: str
    entry: type[msgspec.Struct]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogForm(Generic[Q]):
    """The form of a kind's answers in a catalog file.

    ``is_plain``: a datacenter's page contains the answer to this query; otherwise the file has a separate entry for it.
    ``playback`` reads the answer from a page, ``record`` makes a page from which ``playback`` reads the same answer.
    """

    is_plain: Callable[[Q], bool]
    playback: Callable[[Q, CatalogPage], Decoded]
    record: Callable[[Answer, RecordingRules], RecordedAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover(Generic[Q]):
    """How the answers to many queries are found in the answer to one query that can be asked instead.

    ``within`` are the queries whose answers contain the query's entry, the narrowest first; ``name`` is the entry's
    name there, and ``entry_name`` returns the name of an entry. An entry may also be missing from such an answer
    because the token may not read it.
    """

    within: Callable[[Q], tuple[Query, ...]]
    name: Callable[[Q], str]
    entry_name: Callable[[Any], str]


class Reader(Protocol):
    """The part of a render pass that a template function uses."""

    def ask(self, query: Query) -> Answer | None:
        """Return the answer to a query, None if there is none yet; the pass then waits for it."""

    def instances(
        self, query: Query, tag: str | None = None, *, has_alternatives: bool = False, prefetch_only: bool = False
    ) -> tuple[Instance, ...] | None:
        """Return a query's instances without those left out; None if there is no answer yet.

        With ``has_alternatives`` an absent answer counts as an answer; with ``prefetch_only`` the pass does not wait
        for the answer. ``tag`` is the tag that the caller will select by.
        """

    def is_left_out(self, query: Query) -> bool:
        """Return whether the service that a query names is left out."""

    def listed(self, query: Query, *, has_alternatives: bool = False) -> tuple[Service, ...]:
        """Return a query's services without those left out; none if there is no answer yet."""

    def await_all(self, queries: Iterable[Query]) -> None:
        """Wait for the queries, if all their datacenters are absent."""

    def explain_instances(self, queries: Sequence[Query], tag: str | None) -> None:
        """Report a call that gives no instance if its name or tag is most likely a typing error."""

    def explain_tag(self, queries: Iterable[Query], tag: str) -> None:
        """Report a tag that no service carries."""

    def explain_path(self, function: str, query: Query) -> None:
        """Report a path or a node's name without a value if it has consul-template's form for a datacenter."""

    def absent(self, query: Query) -> Any:
        """Return the stand-in for a missing value; a template that uses it waits for the value."""

    def read_entry(self, entry: OwnedEntry) -> None:
        """Record that the next printed text most likely comes from this entry."""

    @property
    def nginx_program(self) -> str:
        """The program of the nginx that reads the group's files, as its reload command names it."""

    def own_text(self, text: str) -> OwnText:
        """Return a text that Consul itself or the operator wrote; it is printed unchanged."""

    def key_text(self, path: str, text: str) -> str:
        """Return a key's text: trusted as the operator's own below a trusted prefix, else treated as a registrant's."""

    def key_bytes(self, path: str, data: bytes) -> bytes:
        """Return a key's value that is no text: the numbers in it are registered, except below a trusted prefix."""

    def made_of(self, answer: Answer, make: Callable[[Reader, Any, Any], EntryForm]) -> tuple[EntryForm, ...]:
        """Return what ``make`` returns for the reader, the query and each entry of its answer.

        ``make`` is not called again for an entry that an earlier answer had as well. It depends on nothing else.
        """


F = TypeVar("F", bound=Callable[..., Any])


def template_function(name: str) -> Callable[[F], F]:
    """Set the name by which templates call a function, so that errors of wrong calls show it."""

    def named(function: F) -> F:
        function.__name__ = function.__qualname__ = name
        return function

    return named


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[Q]):
    """The facts about one kind of query, none of which has a default.

    ``request`` gets the query and its scope (``dc``, ``ns``, ``partition``, ``peer``); the settings supply the fields
    that the query leaves out. ``not_found`` says what status 404 means. ``blocks``: Consul can delay the answer until
    it changes; other queries are polled. ``sentinel`` names the list of services whose sentinels report changes, None
    if there is none.

    ``service_name`` is the query's name in policies and releases; ``reads_whole_service``: the answer contains every
    instance of that service. ``keeps_order``: the answer keeps the source's order instead of ours; ``is_shuffled``:
    Consul changes the order with each answer, at random or by measured distance. ``rights`` are those that a token
    needs to see everything. ``cover`` is None if no other query's answer contains the answer to this one.

    ``stored`` and ``catalog`` are None for kinds that no template asks for. ``functions`` are the template functions
    for this kind; their first argument is a ``Reader``. ``readable`` are the types whose fields templates read.
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
    stored: Stored | None
    catalog: CatalogForm[Q] | None
    functions: tuple[Callable[..., Any], ...]
    readable: tuple[type[msgspec.Struct], ...]


def nothing(_: Query) -> None:
    """Return None, whatever the query."""


def never(_: Query) -> bool:
    """Return False, whatever the query."""
    return False
