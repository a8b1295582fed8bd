"""The meaning of a configuration for its traffic, and the changes between two of them, in nginx's terms.

Pure: directives in, sentences out. Knows nothing of files, services or how a configuration was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from ctemplate.core.values import dataclass
from ctemplate.nginx.language.parser import Directive

MINUS = "\N{MINUS SIGN}"
PROTOCOLS = (b"http", b"stream")
ORDINARY_WEIGHT = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A ``server`` line of an upstream: its state in a word, and its weight."""

    state: str = "up"
    weight: str = ORDINARY_WEIGHT

    @classmethod
    def from_parameters(cls, parameters: Sequence[str]) -> Backend:
        """Read the parameters after the address."""
        state = next((word for word in ("down", "backup") if word in parameters), "up")
        weights = [word.partition("=")[2] for word in parameters if word.startswith("weight=")]
        return cls(state=state, weight=weights[-1] if weights else ORDINARY_WEIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficModel:
    """Upstreams with their backends by address, served host names, listening sockets, includes, and the user.

    Upstream names have a prefix with their protocol unless it is http: ``stream db-5432``.
    """

    upstreams: Mapping[str, Mapping[str, Backend]] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()
    listeners: frozenset[str] = frozenset()
    includes: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendChange:
    """A backend that is added (``old`` is None), removed (``new`` is None) or changed."""

    upstream: str
    address: str
    old: Backend | None
    new: Backend | None

    def __str__(self) -> str:
        if self.old is None and self.new is not None:
            state = "" if self.new.state == "up" else f" {self.new.state}"
            return f"+{self.address}{state}"
        if self.new is None:
            return f"{MINUS}{self.address}"
        if self.old is not None and self.old.state != self.new.state:
            return f"{self.address} {self.new.state}"
        return f"{self.address} weight {self.new.weight}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The differences between two meanings. A new or removed upstream lists its backends too."""

    backends: tuple[BackendChange, ...] = ()
    upstreams_added: tuple[str, ...] = ()
    upstreams_removed: tuple[str, ...] = ()
    hosts_added: tuple[str, ...] = ()
    hosts_removed: tuple[str, ...] = ()
    listeners_added: tuple[str, ...] = ()
    listeners_removed: tuple[str, ...] = ()
    includes_added: tuple[str, ...] = ()
    includes_removed: tuple[str, ...] = ()
    users_added: tuple[str, ...] = ()
    users_removed: tuple[str, ...] = ()

    @property
    def losses(self) -> tuple[str, ...]:
        """Return one short line for each thing that would be removed."""
        return (
            *(f"upstream {name}" for name in self.upstreams_removed),
            *(f"server {name}" for name in self.hosts_removed),
            *(f"listener {name}" for name in self.listeners_removed),
            *(f"include {name}" for name in self.includes_removed),
            *(f"user {name}" for name in self.users_removed),
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return one line for each upstream that changes, then lines for servers, listeners, includes and the user."""
        return (
            *self._upstream_sentences(),
            *_named("server", self.hosts_added, self.hosts_removed),
            *_named("listener", self.listeners_added, self.listeners_removed),
            *_named("include", self.includes_added, self.includes_removed),
            *_named("user", self.users_added, self.users_removed),
        )

    def _upstream_sentences(self) -> Iterator[str]:
        by_upstream: dict[str, list[BackendChange]] = {}
        for change in self.backends:
            by_upstream.setdefault(change.upstream, []).append(change)
        for name in sorted({*by_upstream, *self.upstreams_added, *self.upstreams_removed}):
            shown = ", ".join(str(change) for change in by_upstream.get(name, ()))
            if name in self.upstreams_added:
                yield f"upstream {name} added: {shown}"
            elif name in self.upstreams_removed:
                yield f"upstream {name} removed: {shown}"
            else:
                yield f"{name}: {shown}"


def _named(kind: str, added: Sequence[str], removed: Sequence[str]) -> Iterator[str]:
    yield from (f"{kind} {name} added" for name in added)
    yield from (f"{kind} {name} removed" for name in removed)


def meaning(directives: Sequence[Directive]) -> TrafficModel:
    """Return what the directives of a main configuration, or of a fragment, mean for traffic."""
    upstreams: dict[str, dict[str, Backend]] = {}
    hosts: set[str] = set()
    listeners: set[str] = set()
    for protocol, directive in _in_protocol(directives, b"http"):
        if directive.name == b"upstream" and directive.args:
            name = _text(directive.args[0])
            upstreams[name if protocol == b"http" else f"{_text(protocol)} {name}"] = dict(_backends(directive))
        elif directive.name == b"server" and directive.block is not None:
            sockets = [_socket(protocol, entry) for entry in directive.block if entry.name == b"listen" and entry.args]
            listeners.update(sockets)
            hosts.update(
                _text(name) for entry in directive.block if entry.name == b"server_name" for name in entry.args if name
            )
    return TrafficModel(
        upstreams=upstreams,
        hosts=frozenset(hosts),
        listeners=frozenset(listeners),
        includes=frozenset(_includes(directives)),
        users=frozenset(_text(entry.args[0]) for entry in directives if entry.name == b"user" and entry.args),
    )


def _includes(directives: Sequence[Directive]) -> Iterator[str]:
    """Yield the includes at the top level and directly inside http and stream, where servers come from."""
    for directive in directives:
        if directive.name == b"include" and directive.args:
            yield _text(directive.args[0])
        elif directive.name in PROTOCOLS and directive.block is not None:
            yield from _includes(directive.block)


def changes(old: TrafficModel, new: TrafficModel) -> Changes:
    """Return the differences, each part sorted."""
    names = sorted({*old.upstreams, *new.upstreams})
    backends = (
        BackendChange(upstream=name, address=address, old=before.get(address), new=after.get(address))
        for name in names
        for before, after in [(old.upstreams.get(name, {}), new.upstreams.get(name, {}))]
        for address in sorted({*before, *after})
        if before.get(address) != after.get(address)
    )
    return Changes(
        backends=tuple(backends),
        upstreams_added=tuple(name for name in names if name not in old.upstreams),
        upstreams_removed=tuple(name for name in names if name not in new.upstreams),
        hosts_added=tuple(sorted(new.hosts - old.hosts)),
        hosts_removed=tuple(sorted(old.hosts - new.hosts)),
        listeners_added=tuple(sorted(new.listeners - old.listeners)),
        listeners_removed=tuple(sorted(old.listeners - new.listeners)),
        includes_added=tuple(sorted(new.includes - old.includes)),
        includes_removed=tuple(sorted(old.includes - new.includes)),
        users_added=tuple(sorted(new.users - old.users)),
        users_removed=tuple(sorted(old.users - new.users)),
    )


def _in_protocol(directives: Sequence[Directive], protocol: bytes) -> Iterator[tuple[bytes, Directive]]:
    """Yield upstreams and servers with their protocol; those of a fragment count as http."""
    for directive in directives:
        if directive.name in PROTOCOLS and directive.block is not None:
            yield from _in_protocol(directive.block, directive.name)
        else:
            yield protocol, directive


def _backends(upstream: Directive) -> Iterator[tuple[str, Backend]]:
    for entry in upstream.block or ():
        if entry.name == b"server" and entry.args:
            address, *parameters = map(_text, entry.args)
            yield address, Backend.from_parameters(parameters)


def _socket(protocol: bytes, listen: Directive) -> str:
    is_udp = b"udp" in listen.args
    transport = "udp" if is_udp else "http" if protocol == b"http" else "tcp"
    return f"{_text(listen.args[0])} ({transport})"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
