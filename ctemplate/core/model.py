"""The domain's frozen values: queries, answers, services, instances, targets and outcomes.

Must not know sources, rendering or files.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from itertools import starmap
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from ctemplate.core.each_file import EachFile
from ctemplate.core.micro import MicroService, micro_service
from ctemplate.core.values import dataclass

MAX_PORT = 65535
MAX_WEIGHT = 65535
ARGUMENTS = ("name", "path", "prefix")


class Query(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True, tag_field="query", omit_defaults=True):
    """One question to a source. Queries with equal fields are the same query. ``None`` means the source's default.

    Each kind of query has its own class; the facts about the kind are declared in ``queries``.
    """

    dc: str | None = None
    ns: str | None = None
    partition: str | None = None
    peer: str | None = None

    def __str__(self) -> str:
        """Show the query as a template writes it: ``service(web, dc=east)``."""
        parts = [] if self.argument is None else [self.argument]
        scope = ((field, getattr(self, field)) for field in self.__struct_fields__ if field not in ARGUMENTS)
        parts += [f"{field}={value}" for field, value in scope if value is not None]
        return f"{self.__struct_config__.tag}({', '.join(parts)})"

    @property
    def argument(self) -> str | None:
        """Return the name that the query asks for, None if it asks for all."""
        return next((str(getattr(self, field)) for field in ARGUMENTS if hasattr(self, field)), None)


class Status(enum.StrEnum):
    """The state of an instance, aggregated from all checks of its node and its service."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"
    MAINTENANCE = "maintenance"


class Service(msgspec.Struct, frozen=True, kw_only=True, gc=False, cache_hash=True):
    """A service's name and the union of its instances' tags, sorted."""

    name: str
    tags: tuple[str, ...] = ()


class CheckReport(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The texts of a health check: its author's notes, and the output of its last run."""

    notes: str = ""
    output: str = ""


class CheckState(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One health check of a node (``service_id`` empty) or of a service instance.

    ``has_run`` is False for one that its agent runs and that has no output yet. ``always_has_output``: no result of it
    lacks an output, as that of a script may. ``report`` is None unless the query asked for details.
    """

    id: str
    name: str = ""
    status: str = Status.PASSING
    service_id: str = ""
    has_run: bool = True
    always_has_output: bool = False
    report: CheckReport | None = None

    @property
    def notes(self) -> str:
        """Return the notes of the check's author; raises LookupError if the query did not ask for details."""
        return asked(self.report, "notes").notes

    @property
    def output(self) -> str:
        """Return the output of the check's last run; raises LookupError if the query did not ask for details."""
        return asked(self.report, "output").output


class TaggedAddress(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A further address of an instance, printable like the instance's own; ``port`` is 0 when unset."""

    address: str
    port: Annotated[int, Meta(ge=0, le=MAX_PORT)] = 0

    @property
    def ip(self) -> str:
        """Return the address without the brackets of IPv6, for hosts files and zones."""
        return self.address.strip("[]")


class Weights(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An instance's weights in two states, each 0 to 65535."""

    passing: Annotated[int, Meta(ge=0, le=MAX_WEIGHT)] = 1
    warning: Annotated[int, Meta(ge=0, le=MAX_WEIGHT)] = 1


class InstanceDetails(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The parts of a health entry that few templates read, and that only a query for details keeps."""

    tagged_addresses: Mapping[str, TaggedAddress] = {}
    node_tagged_addresses: Mapping[str, str] = {}
    weights: Weights = Weights()


Detail = TypeVar("Detail")


def asked(found: Detail | None, field: str) -> Detail:
    """Return what a query for details keeps; raises LookupError if the query was another one."""
    if found is None:
        advice = "write service(…, details=true) or connect(…, details=true)"
        raise LookupError(f"{field!r} is one of the details; {advice}")
    return found


class Instance(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One instance of a service, already valid: it can be printed unchanged in a ``server`` line.

    ``address`` is an IP address, IPv6 in brackets (a host name only if the operator allows it); ``port`` is 0 when
    unset. ``weight`` is the weight for its status: the passing or the warning weight, 0 to 65535. ``created`` orders
    registrations: lower is longer registered. ``node_id`` is the id that a node was given at its first start, empty for
    a node that another program registered. ``ports`` are the named ports of an instance with several ports.
    ``details`` is None unless the query asked for them.
    """

    id: str
    name: str
    node: str
    address: str
    port: int
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = {}
    weight: int = 1
    status: Status = Status.PASSING
    node_id: str = ""
    node_address: str = ""
    node_meta: Mapping[str, str] = {}
    checks: tuple[CheckState, ...] = ()
    datacenter: str = ""
    created: int = 0
    ports: Mapping[str, int] = {}
    details: InstanceDetails | None = None

    @property
    def tagged_addresses(self) -> Mapping[str, TaggedAddress]:
        """Return further addresses, by their tags; raises LookupError if the query did not ask for details."""
        return asked(self.details, "tagged_addresses").tagged_addresses

    @property
    def node_tagged_addresses(self) -> Mapping[str, str]:
        """Return the node's further addresses; raises LookupError if the query did not ask for details."""
        return asked(self.details, "node_tagged_addresses").node_tagged_addresses

    @property
    def weights(self) -> Weights:
        """Return the weights in both states; raises LookupError if the query did not ask for details."""
        return asked(self.details, "weights").weights

    @property
    def ip(self) -> str:
        """Return the address without the brackets of IPv6, for hosts files and zones."""
        return self.address.strip("[]")

    @property
    def node_ip(self) -> str:
        """Return the node's address without the brackets of IPv6."""
        return self.node_address.strip("[]")

    @property
    def micro(self) -> MicroService:
        """Return the data that go-micro wrote into the tags."""
        return micro_service(self.tags)


def further_addresses(instance: Instance) -> Iterator[tuple[str, int]]:
    """Yield the addresses in an instance's details, in the form of a ``server`` line, each with its port."""
    details = instance.details or InstanceDetails()
    for each in details.tagged_addresses.values():
        yield each.address, each.port
        yield each.address, instance.port
    for text in details.node_tagged_addresses.values():
        yield f"[{text}]" if ":" in text else text, instance.port


class OwnedEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An entry of an answer that belongs to no service; its writers choose its texts."""

    def owner_name(self) -> str:
        """Return whose texts these are, safe to print: ``key 'nginx/limit'``."""
        raise NotImplementedError

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return the texts that templates may print, each with the name of its field."""
        raise NotImplementedError

    def can_be_left_out(self) -> bool:
        """Return whether templates may go without it permanently; else its last good state is used for a while."""
        return True

    def secrets(self) -> tuple[str, ...]:
        """Return the texts that may appear only in the output."""
        return ()


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Something registered that is left out: its owner, the field, and the reason. ``reason`` is safe to print.

    The owner is a service or, if ``node`` is given, a node; with ``thing`` the data belong to no service, such as ``key
    'nginx/limit'``.
    """

    service: str
    field: str
    reason: str
    instance: str = ""
    node: str = ""
    thing: str = ""

    @property
    def owner_name(self) -> str:
        """The service, or the thing, that it is about."""
        return self.thing or self.service

    def __str__(self) -> str:
        if self.thing:
            return f"{self.thing}: {self.reason}"
        if self.node:
            return f"node {self.node!r}: {self.field}: {self.reason}"
        owner = f"service {self.service!r}" + (f" instance {self.instance!r}" if self.instance else "")
        return f"{owner}: {self.field}: {self.reason}"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The newest data for a query. ``seen_at`` is wall-clock seconds; ``index`` is 0 if a source has none.

    ``last_contact`` is the age of the data in seconds, if a server reported it. ``filtered`` means that the source
    admitted leaving out data for lack of rights. ``rejections`` lists the data that was left out as invalid.
    ``session`` is the moment (wall clock) since when the source has been in contact without a break. ``absent`` marks
    not an answer, but a stand-in for that of a datacenter that has been unreachable since the start; it only counts
    beside others' answers.
    """

    query: Query
    value: tuple[Any, ...]
    index: int = 0
    seen_at: float = 0.0
    rejections: tuple[Rejection, ...] = ()
    filtered: bool = False
    known_leader: bool = True
    last_contact: float | None = None
    session: float = 0.0
    absent: bool = False


def reads_alike(now: Answer | None, before: Answer | None) -> bool:
    """Return whether a template sees no difference between two answers; a catalog stores equal values only once."""
    if now is before:
        return True
    return now is not None and before is not None and now.value is before.value and now.absent is before.absent


class Server(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One of the source's own servers: the id of its node, and the index of its registration."""

    node_id: str
    created: int


Servers = frozenset[Server]


class ServerSet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The servers of a datacenter, seen in a session; see ``Answer``."""

    dc: str | None = None
    servers: Servers = frozenset()
    session: float = 0.0


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """A loss that a consistent read is to confirm, with the rights to the services and nodes it concerns.

    ``is_first``: nothing is lost, but a first answer is empty, which it may be for lack of rights.
    """

    query: Query
    services: tuple[str, ...]
    nodes: tuple[str, ...] = ()
    is_first: bool = False


class Snapshot:
    """An immutable view of all answers at one moment; a render reads exactly one.

    ``read`` collects the queries that were looked up, since a failed render cannot report them.
    """

    __slots__ = ("_answers", "read")

    def __init__(self, answers: Mapping[Query, Answer]) -> None:
        self._answers = dict(answers)
        self.read: set[Query] = set()

    def reads_as(self, known: Mapping[Query, Answer | None]) -> bool:
        """Return whether each query has the answer that is known, or one that reads alike."""
        newest = zip(map(self._answers.get, known), known.values(), strict=True)
        others = [both for both in newest if both[0] is not both[1]]
        if not all(starmap(reads_alike, others)):
            return False
        self.read.update(known)
        return True

    def answers(self, queries: Iterable[Query]) -> dict[Query, Answer | None]:
        """Return the answers to several queries, None for those that have none yet."""
        queries = tuple(queries)
        self.read.update(queries)
        return dict(zip(queries, map(self._answers.get, queries), strict=True))

    def get(self, query: Query) -> Answer | None:
        """Return the answer to the query, or None if there is none yet."""
        self.read.add(query)
        return self._answers.get(query)

    def __len__(self) -> int:
        return len(self._answers)

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._answers.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One output file: its path, its mode and owner. ``None`` keeps those of the live file.

    With ``each`` it is one file for an item of a list; the target of a group that represents all of these has
    ``each.path`` as its destination. ``has_backup``: the replaced file stays beside it. ``makes_folder``: a missing
    folder is created.
    """

    destination: Path
    mode: int | None = None
    user: str | None = None
    group: str | None = None
    each: EachFile | None = None
    has_backup: bool = False
    makes_folder: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The new bytes of one target; None for a file that is to go, since its item is gone."""

    target: Target
    content: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFile:
    """A candidate file beside or apart from the live path that it is to replace.

    ``is_removed``: the live file is to be removed, and the candidate is an empty file in its place.
    """

    candidate: Path
    live: Path
    is_removed: bool = False


class Outcome(enum.Enum):
    """The result of applying a group's new output.

    HELD: nothing was done, since the files were restored. PLANNED: a run that replaces nothing would replace files.
    """

    UNCHANGED = "unchanged"
    APPLIED = "applied"
    PENDING_START = "pending start"
    WAITING = "waiting"
    DELAYED = "delayed"
    HELD = "held"
    PLANNED = "planned"
