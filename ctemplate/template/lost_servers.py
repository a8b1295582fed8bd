"""Find what an edit loses: every live server, though its templates read the services, or every server of a service.

A misspelt key or tag fails no line, so nothing is left out. Pure; judges live text against new text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from ctemplate.core.errors import printable
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import Answer, Instance, Service, Snapshot, Status, further_addresses
from ctemplate.core.values import dataclass
from ctemplate.queries import named_service
from ctemplate.template.baseline import Baseline
from ctemplate.template.safety.quarantine import SHOWN_LENGTH
from ctemplate.template.safety.render_pass import Owner, Run

_WORD = lazy_pattern(r"[\w.:\[\]-]+")
_PART = lazy_pattern(r"[\w-]+")
_LONG = 4
"""Characters of a meta value, at least, that shows that an instance was printed, such as a host name or a path."""
_SERVER = lazy_pattern(r"\bserver\s+([^\s;{}]+:\d+)\b(?![^;\n]*\bdown\b)")
_SERVER_PORT = lazy_pattern(r"\bserver\s+[^\s;{}]*:(\d+)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedService:
    """A service of which an edit removes every server, ``servers`` of them."""

    name: str
    servers: int

    def __str__(self) -> str:
        """Return the name and the number of servers."""
        return f"{printable(self.name, SHOWN_LENGTH)!r} ({self.servers})"


def lost_servers(
    before: Baseline,
    live_text: str,
    texts: Sequence[str],
    *,
    runs: Sequence[Run],
    snapshot: Snapshot,
    known: Iterable[Answer],
) -> tuple[list[str], int]:
    """Return the services of which an edit loses every live server, and how many servers; none if it keeps any.

    ``known`` are the last live answers. A service that the new templates do not read was removed on purpose. A
    listed service whose instances no render has asked for since has them in the server lines of the live text.
    """
    read = {name for run in runs for name in _names(run, texts) if before.is_live(Owner(name))}
    words, instances = frozenset(_WORD.findall(live_text)), tuple(_instances(snapshot, known))
    live = [one for one in instances if one.name in read and _is_live(one, words)]
    if live:
        lost = not _is_any_printed(live, texts)
        servers = {(one.name, one.address, one.port) for one in live}
        return (sorted({one.name for one in live}), len(servers)) if lost else ([], 0)
    unknown = read - {one.name for one in instances} - {named_service(answer.query) for answer in snapshot}
    addresses = set(_SERVER.findall(live_text)) if unknown and not any(map(_SERVER.search, texts)) else set()
    return (sorted(unknown), len(addresses)) if addresses else ([], 0)


def removed_services(
    before: Baseline,
    live_text: str,
    texts: Sequence[str],
    *,
    excluded: Collection[str],
    snapshot: Snapshot,
    known: Iterable[Answer],
) -> tuple[RemovedService, ...]:
    """Return the services whose healthy servers the live text has, and the new texts have none of.

    A service that is known to be gone does not count, nor does one in ``excluded``, which is reported otherwise.
    """
    words, instances = frozenset(_WORD.findall(live_text)), tuple(_instances(snapshot, known))
    listed = {item.name for answer in snapshot for item in answer.value if isinstance(item, Service)}
    servers: dict[str, dict[tuple[str, int], Instance]] = {}
    for one in instances:
        is_there = one.name in listed or not listed
        if is_there and one.name not in excluded and before.is_live(Owner(one.name)) and _is_live(one, words):
            found = servers.setdefault(one.name, {})
            if one.details is not None or (one.address, one.port) not in found:  # details name further addresses
                found[one.address, one.port] = one
    printed = _PrintedServers.of(texts, instances)
    return tuple(
        RemovedService(name=name, servers=len(found))
        for name, found in sorted(servers.items())
        if not any(map(printed.has, found.values()))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _PrintedServers:
    """The words of new texts, and which names and addresses several services share."""

    whole: str
    words: frozenset[str]
    dns: frozenset[str]
    shared: frozenset[str]

    @classmethod
    def of(cls, texts: Sequence[str], instances: Iterable[Instance]) -> _PrintedServers:
        whole = "\n".join(texts)
        owners: dict[str, set[str]] = {}
        for one in instances:
            for word in _own_words(one):
                owners.setdefault(word, set()).add(one.name)
        shared = frozenset(word for word, names in owners.items() if len(names) > 1)
        words = frozenset(_WORD.findall(whole))
        dns = frozenset(name for name, dot, _ in (word.partition(".service") for word in words) if dot)
        return cls(whole=whole, words=words, dns=dns, shared=shared)

    def has(self, one: Instance) -> bool:
        """Whether a text names an instance: by address or name with its port, or by what only its service has."""
        port = str(one.port)
        names = [word for word in _own_words(one) if port in self.words or word not in self.shared]
        return (
            not self.words.isdisjoint([*(f"{word}:{port}" for word in _own_words(one)), *names])
            or not self.words.isdisjoint(f"{address}:{number}" for address, number in further_addresses(one))
            or one.name in self.dns
            or any(text in self.whole for text in one.meta.values() if _is_telling(text))
        )


def _names(run: Run, texts: Sequence[str]) -> frozenset[str]:
    """Return the services of which a pass asked for instances, or had them in a list and did not print the name.

    Where only the name is printed, another file has the servers.
    """
    items = [item for answer in run.used.values() if answer is not None for item in answer.value]
    found = {item.name for item in items if isinstance(item, Instance)}
    found |= {name for query in run.used if (name := named_service(query)) is not None}
    printed = frozenset(part for text in texts for part in _PART.findall(text))
    found |= {item.name for item in items if isinstance(item, Service) and item.name not in printed}
    return frozenset(found) - run.excluded


def _instances(snapshot: Snapshot, known: Iterable[Answer]) -> Iterator[Instance]:
    """Yield the instances of the newest answers, and of those known where there are no newer ones."""
    newest = tuple(snapshot)
    asked = {answer.query for answer in newest}
    for answer in (*newest, *(one for one in known if one.query not in asked)):
        yield from (one for one in answer.value if isinstance(one, Instance))


def _is_live(one: Instance, words: frozenset[str]) -> bool:
    """Whether an instance passes its checks, and the live text has its address."""
    places = ((one.address, one.port), *further_addresses(one))
    return one.status is Status.PASSING and any(f"{address}:{port}" in words for address, port in places)


def _is_any_printed(instances: Iterable[Instance], texts: Sequence[str]) -> bool:
    """Whether the new texts name an instance in any way: by address, node, id, host name, DNS name or port."""
    whole = "\n".join(texts)
    words = frozenset(_WORD.findall(whole))
    words |= {word.rpartition(":")[0] for word in words}
    ports = frozenset(_SERVER_PORT.findall(whole))
    return any(
        not words.isdisjoint(_own_words(one))
        or str(one.port) in ports
        or any(word.startswith(f"{one.name}.service") for word in words)
        or any(text in whole for text in one.meta.values() if _is_telling(text))
        for one in instances
    )


def _is_telling(text: str) -> bool:
    """Whether a meta value identifies an instance where it is printed."""
    return not text.isalnum() and len(text) >= _LONG


def _own_words(one: Instance) -> set[str]:
    words = {one.address, one.ip, one.node_address, one.node_ip, one.node, one.id}
    for address, _ in further_addresses(one):
        words |= {address, address.strip("[]")}
    return words - {"", one.name}
