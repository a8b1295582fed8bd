"""Where nginx connects to: the hosts in pass and similar directives, and those that registered values choose.

nginx splits such a target into host and port, and looks for an upstream with the host's name; if there is none, it
connects to the host itself. So a registered value in a target must name an upstream, or be an address that was judged
safe. Pure. Must not know who registered a value or what follows from a finding.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, reduce

from ctemplate.core.values import dataclass
from ctemplate.nginx.language.directives import CONNECTS, FEEDS, LOGS, PASS, VALUE_BLOCKS, VARIABLE_OF_BLOCK
from ctemplate.nginx.language.file_paths import (
    NO_PATHS,
    PathValue,
    PathVariables,
    path_variables,
    reached_paths,
    unsafe_paths,
)
from ctemplate.nginx.language.goals import PORT_AT_END, UPSTREAM_KINDS, Feed, Goal, Origin, is_special_name
from ctemplate.nginx.language.local_variables import EVALUATES, Block, MarkedText, is_named_by_data, with_local_value
from ctemplate.nginx.language.parser import Directive, walk
from ctemplate.nginx.language.scoped_names import Name
from ctemplate.nginx.language.unique_names import Both

_SCHEME = re.compile(rb"(?:https?|grpcs?|rtmps?|s?uwsgi|\$\{?\w+\}?)://", re.IGNORECASE)
_PATH = re.compile(
    rb"[/?]|\$(?:(?:request_uri|uri|document_uri|is_args)\b|\{(?:request_uri|uri|document_uri|is_args)\})"
)
_VARIABLE = re.compile(rb"\$(?:\{(\w+)\}|(\w+))")
_WHOLE = re.compile(rb"\$(?:\{\w+\}|\w+)")
_MARK = re.compile(rb"\x01(\d+)\x02")
_ADDRESS_AND_PORT = re.compile(rb"\x01\d+\x02:")
_SEEMS_ROUTED = re.compile(
    r"(?:^|[{};])[ \t]*(?:\w+_pass\s|resolver\s|auth_http\s"
    r"|(?:upstream|location|map)\s[^;{}]+\{|(?:server|http|stream)\s*\{)",
    re.MULTILINE,
)
_ROUTING_WORDS = ("_pass", "resolver", "auth_http", "upstream", "location", "map", "server", "http", "stream")
"""The words of the pattern: without any of them, a long text need not be searched for it."""
_KNOWN_TARGETS = 64
"""Targets with placeholders whose facts are remembered: in parts of one form they are the same texts."""
_OPTION = re.compile(rb"(?:valid|ipv4|ipv6|status_zone)=")

SERVER_NAME = b"server_name"
"""A directive whose first argument is the value of the variable of this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Where the directives of a text send requests, as far as the text shows it.

    ``hosts`` are the hosts that the template's own text names; no upstream may have one of these names. ``routed`` are
    the variables in targets, ``composed`` those of them that are only a part of a target, such as before a port.
    ``paths`` are the variables in paths of files, and ``path_values`` the texts that variables get. ``server_names``
    are the values of ``$server_name``: few texts read it, so that they are looked at only for these.
    """

    goals: tuple[Goal, ...] = ()
    hosts: frozenset[Name] = frozenset()
    routed: frozenset[bytes] = frozenset()
    composed: frozenset[bytes] = frozenset()
    feeds: tuple[Feed, ...] = ()
    paths: PathVariables = NO_PATHS
    path_values: tuple[PathValue, ...] = ()
    server_names: tuple[MarkedText, ...] = ()

    def renumbered(self, numbers: Sequence[int]) -> Routes:
        """Return the same with other numbers of the registered values: ``numbers`` has one for each from 0 on."""
        return Routes(
            goals=tuple(goal.renumbered(numbers) for goal in self.goals),
            hosts=self.hosts,
            routed=self.routed,
            composed=self.composed,
            feeds=tuple(feed.renumbered(numbers) for feed in self.feeds),
            paths=self.paths,
            path_values=tuple(
                replace(value, data=frozenset(numbers[at] for at in value.data)) for value in self.path_values
            ),
            server_names=tuple(_renumbered(name, numbers) for name in self.server_names),
        )

    @property
    def reads_server_name(self) -> bool:
        """Whether a target or the path of a file contains ``$server_name``."""
        return any(SERVER_NAME in each for each in (self.routed, *self.paths))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRoutes:
    """What a text may rely on: upstreams of other texts, addresses known as safe, and variables that others route by.

    ``addresses`` returns whether a value's registrant may name an address, or an address with its port; ``host_names``
    are those that are no IP addresses, in lower case. ``variable`` is the variable that the surrounding block sets,
    empty if there is none. ``paths`` are the variables in paths of files that other texts open. ``seen`` says in
    parentheses which configuration the upstreams are of.
    """

    upstreams: Container[Name] = frozenset()
    addresses: Container[Origin] = frozenset()
    host_names: Container[bytes] = frozenset()
    hosts: frozenset[Name] = frozenset()
    routed: frozenset[bytes] = frozenset()
    paths: PathVariables = NO_PATHS
    variable: bytes = b""
    seen: str = ""


NO_ROUTES = KnownRoutes()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Contains every item that one of its parts contains."""

    parts: tuple[Container[Name], ...]

    def __contains__(self, name: object) -> bool:
        return any(name in part for part in self.parts)


def unjudged_goals(
    routes: Iterable[Routes], upstreams: Container[Name], known: KnownRoutes
) -> Iterator[tuple[Goal, bool]]:
    """Yield the targets that are neither a known upstream nor a judged address, including targets with variables.

    Each comes with whether all targets of such directives are the same text.
    """
    found: dict[bytes, list[tuple[Goal, bool]]] = {}
    for goal in _goals(tuple(routes), known.routed):
        found.setdefault(goal.directive, []).append((goal, goal.is_known(upstreams, known.addresses)))
    for judged in found.values():
        is_general = not any(is_known for _, is_known in judged)
        yield from ((goal, is_general) for goal, is_known in judged if not is_known)


def settled_routes(routes: Routes, addresses: Container[Origin]) -> Routes:
    """Return the routes without the targets that are judged addresses, which need no second check.

    Targets that may be upstreams stay, since most are upstreams.
    """
    left = tuple(goal for goal in routes.goals if goal.kind is not None or not goal.is_address(addresses))
    if len(left) == len(routes.goals):
        return routes
    return replace(routes, goals=left)


def _goals(routes: tuple[Routes, ...], routed: frozenset[bytes]) -> Iterator[Goal]:
    for one in routes:
        yield from one.goals
    if not any(one.feeds or one.server_names for one in routes):
        return
    reached, composed = reach(routes, routed)
    for variable, value, data, has_port, _, named_by in _feeds(routes, reached):
        directive, authority = b"$" + variable, _authority(value)
        if named_by:
            yield Goal(directive=directive, authority=authority, kind=None, data=named_by, is_variable=True)
        if data:
            kind = None if variable in composed else ""
            yield Goal(directive=directive, authority=authority, kind=kind, data=data, has_port=has_port)


def _feeds(routes: tuple[Routes, ...], reached: frozenset[bytes]) -> Iterator[Feed]:
    """Yield the values of these variables."""
    for one in routes:
        yield from (feed for feed in one.feeds if feed.variable in reached)
        if SERVER_NAME in reached:
            yield from (_feed(SERVER_NAME, name) for name in one.server_names)


def reach(
    routes: Iterable[Routes], routed: frozenset[bytes] = frozenset()
) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Return the variables that targets consist of, directly or through other variables, and the partial ones."""
    routes = tuple(routes)
    whole = routed.union(*(one.routed for one in routes))
    parts = frozenset().union(*(one.composed for one in routes))
    feeds = [feed for one in routes for feed in one.feeds if feed.variables]
    while True:
        more = [feed for feed in feeds if feed.variable in whole]
        grown = whole.union(*(feed.variables for feed in more))
        split = parts.union(*(feed.variables for feed in more if feed.variable in parts or not _is_whole(feed.value)))
        if (grown, split) == (whole, parts):
            return whole, parts
        whole, parts = grown, split


def named_hosts(routes: Iterable[Routes]) -> frozenset[Name]:
    """Return the hosts that the texts themselves name in targets, directly or through variables."""
    routes = tuple(routes)
    routed, _ = reach(routes)
    fed = (feed.value for feed in _feeds(routes, routed) if not feed.data)
    return frozenset().union(*(one.hosts for one in routes), *(_own_host(value, "") for value in fed))


def addressed_hosts(routes: Iterable[Routes], known: KnownRoutes) -> dict[Name, frozenset[int]]:
    """Return the host names that are instances' addresses in targets, as names of upstreams, with the values' numbers.

    An upstream of that name would take the requests.
    """
    found: dict[Name, frozenset[int]] = {}
    for goal in _goals(tuple(routes), known.routed):
        host = goal.host
        if host not in known.host_names or goal.kind is None or not goal.is_address(known.addresses):
            continue
        for kind in (goal.kind,) if goal.kind else UPSTREAM_KINDS:
            name = f"{kind} upstream", host
            found[name] = found.get(name, frozenset()) | goal.data
    return found


def has_used_values(routes: Iterable[Routes], known: KnownRoutes = NO_ROUTES) -> bool:
    """Return whether values of variables may decide where nginx goes, or which files it opens."""
    if any(SERVER_NAME in each for each in (known.routed, *known.paths)):
        return True
    return any(one.feeds or one.reads_server_name for one in routes)


def routes(directives: tuple[Directive, ...], *, inside: bytes = b"", variable: bytes = b"") -> Routes:
    """Return where directives send requests that contain no registered values; see ``routes_of``."""
    both = ((depth, parent, one, one) for depth, parent, one in walk(directives, inside=inside))
    return routes_of(both, inside=inside, variable=variable)


def routes_of(both: Both, *, inside: bytes = b"", variable: bytes = b"") -> Routes:
    """Return where directives send requests; ``variable`` is the variable that the block ``inside`` sets."""
    reading = _RouteReading(inside, variable)
    for depth, parent, one, like in both:
        reading.read(depth, parent, one, like)
    return Routes(
        goals=tuple(reading.goals),
        hosts=frozenset(reading.hosts),
        routed=frozenset(reading.routed),
        composed=frozenset(reading.composed),
        feeds=tuple(reading.feeds),
        paths=reading.paths,
        path_values=tuple(reading.path_values),
        server_names=tuple(reading.server_names),
    )


def file_variables(routes: Iterable[Routes]) -> PathVariables:
    """Return the variables in the paths of files that texts open, directly or through other variables."""
    routes = tuple(routes)
    opened = reduce(PathVariables.joined, (one.paths for one in routes), NO_PATHS)
    return reached_paths((value for one in routes for value in one.path_values), opened)


def misplaced_paths(routes: Iterable[Routes], known: KnownRoutes) -> Iterator[tuple[bytes, int]]:
    """Yield each variable through which a registered value chooses a file, with the number of the value."""
    routes = tuple(routes)
    opened = reduce(PathVariables.joined, (one.paths for one in routes), known.paths)
    values = [value for one in routes for value in one.path_values]
    if any(SERVER_NAME in each for each in reached_paths(values, opened)):
        values += (PathValue.of(SERVER_NAME, *name) for one in routes for name in one.server_names)
    return unsafe_paths(values, opened)


def seems_routed(text: str) -> bool:
    """Return whether a text of unknown format seems to hold nginx's directives that say where requests go."""
    return any(word in text for word in _ROUTING_WORDS) and _SEEMS_ROUTED.search(text) is not None


def variable_of(block: Directive) -> bytes:
    """Return the variable that a ``map`` or a similar block sets; empty for any other block."""
    at = VARIABLE_OF_BLOCK.get(block.name)
    if at is None or not block.args[at:]:
        return b""
    return block.args[at].removeprefix(b"$").lower()


class _RouteReading:
    """One walk over the directives of a text, with the server block and the variable around each directive."""

    def __init__(self, inside: bytes, variable: bytes) -> None:
        known = inside.decode("ascii", "replace")
        self._blocks: dict[int, Block] = {}  # by the depth of what they hold
        self._kinds = [known if known in {"http", "stream"} else ""]
        self._variable = variable
        self._named_by: frozenset[int] = frozenset()
        self.goals: list[Goal] = []
        self.hosts: set[Name] = set()
        self.routed: set[bytes] = set()
        self.composed: set[bytes] = set()
        self.feeds: list[Feed] = []
        self.paths = NO_PATHS
        self.path_values: list[PathValue] = []
        self.server_names: list[MarkedText] = []

    def read(self, depth: int, parent: bytes, one: Directive, like: Directive) -> None:
        del self._kinds[depth + 1 :]
        if one.block and like.block:
            self._blocks[depth + 1] = (one.block, like.block)
        kind = self._kinds[depth]
        if parent in VALUE_BLOCKS:
            if one.args and self._variable:
                self._take(self._variable, MarkedText(one.args[-1], like.args[-1]), self._named_by)
            return
        self._kinds.append(one.name.decode() if one.name in {b"http", b"stream"} else kind)
        if one.name in VALUE_BLOCKS:
            self._variable, self._named_by = variable_of(one), _marks(variable_of(like))
        if not one.args or len(one.args) != len(like.args):
            return
        if PASS.fullmatch(one.name):
            self._target(one, like, kind, self._blocks.get(depth) if parent in EVALUATES else None)
        else:
            self._directive(parent, one, like)

    def _directive(self, parent: bytes, one: Directive, like: Directive) -> None:
        if (paths := path_variables(one)) != NO_PATHS:
            self.paths = self.paths.joined(paths)
        if one.name in CONNECTS or (one.name == b"server" and parent == b"upstream"):
            count = None if one.name == b"resolver" else 1
            for real, marked in zip(one.args[:count], like.args[:count], strict=True):
                if not _OPTION.match(marked):
                    self._address(one.name, real, marked)
        elif one.name in LOGS:
            self._log(one.name, one.args[0], like.args[0])
        elif FEEDS.fullmatch(one.name) and one.args[0].startswith(b"$"):
            text = MarkedText(one.args[-1], like.args[-1])
            self._take(one.args[0][1:].lower(), text, _marks(like.args[0]))
        elif one.name == SERVER_NAME:
            self.server_names.append(MarkedText(one.args[0].removeprefix(b"."), like.args[0].removeprefix(b".")))

    def _target(self, one: Directive, like: Directive, kind: str, block: Block | None) -> None:
        name, real, marked = one.name, one.args[0], like.args[0]
        if block is not None and is_named_by_data(_place(marked)):
            real, marked = with_local_value(MarkedText(real, marked), block, one) or (real, marked)
        if _placed_data(marked)[0]:
            self.goals.append(_goal(name, real, marked, kind))
            return
        variables = _variables(_place(real))
        self.routed |= variables
        if not variables:
            self.hosts |= _own_host(real, kind)
        elif not _is_whole(real):
            self.composed |= variables

    def _address(self, name: bytes, real: bytes, marked: bytes) -> None:
        if _placed_data(marked)[0]:
            self.goals.append(_goal(name, real, marked, None))

    def _log(self, name: bytes, real: bytes, marked: bytes) -> None:
        data = _marks(marked)
        if data and real.startswith(b"syslog:"):
            for server in _servers(real) - _servers(marked):
                self.goals.append(Goal(directive=name, authority=server, kind=None, data=data))

    def _take(self, variable: bytes, text: MarkedText, named_by: frozenset[int]) -> None:
        self.feeds.append(_feed(variable, text, named_by))
        self.path_values.append(PathValue.of(variable, text.real, text.marked))


def _feed(variable: bytes, text: MarkedText, named_by: frozenset[int] = frozenset()) -> Feed:
    real, marked = text
    return Feed(variable, real, _marks(marked), _has_port(marked), _variables(_place(real)), named_by)


def _renumbered(text: MarkedText, numbers: Sequence[int]) -> MarkedText:
    if b"\x01" not in text.marked:
        return text
    marked = _MARK.sub(lambda found: b"\x01%d\x02" % numbers[int(found[1])], text.marked)
    return MarkedText(text.real, marked)


def _goal(name: bytes, real: bytes, marked: bytes, kind: str | None) -> Goal:
    (data, has_port), is_variable = _placed_data(marked), is_named_by_data(_place(marked))
    authority = _authority(real)
    return Goal(directive=name, authority=authority, kind=kind, data=data, has_port=has_port, is_variable=is_variable)


@lru_cache(maxsize=_KNOWN_TARGETS)
def _placed_data(marked: bytes) -> tuple[frozenset[int], bool]:
    """Return the values that determine where a target leads, and whether the template's text adds a port to them."""
    return _marks(_place(marked)), _has_port(marked)


def _has_port(marked: bytes) -> bool:
    """Return whether the template's text separates host and port, so that the text before must be only an address."""
    return _ADDRESS_AND_PORT.match(_authority(marked)) is not None


def _place(target: bytes) -> bytes:
    """Return the part of a target that determines the destination: scheme, host and port, or the path of a socket."""
    scheme = _SCHEME.match(target)
    return (scheme[0] if scheme else b"") + _authority(target)


def _authority(target: bytes) -> bytes:
    """Return host and port of a target in the way that nginx splits it; ``unix:PATH`` for a socket."""
    scheme = _SCHEME.match(target)
    target = target[scheme.end() :] if scheme else target
    if target[:5].lower() == b"unix:":
        return target[:5] + target[5:].partition(b":")[0]
    path = _PATH.search(target)
    return target[: path.start()] if path else target


def _own_host(target: bytes, kind: str) -> frozenset[Name]:
    """Return the host in a target if it is certainly a host: an upstream's name has no port, and usually no dot.

    Without a kind it is a host for ``http`` and ``stream``.
    """
    authority = _authority(target).lower()
    host = PORT_AT_END.sub(b"", authority)
    is_host = host != authority or b"." in host or host == b"localhost"
    if not is_host or is_special_name(host) or b"$" in host:
        return frozenset()
    return frozenset((f"{each} upstream", host) for each in ((kind,) if kind else UPSTREAM_KINDS))


def _servers(log: bytes) -> set[bytes]:
    parameters = log.removeprefix(b"syslog:").split(b",")
    return {parameter.removeprefix(b"server=") for parameter in parameters if parameter.startswith(b"server=")}


def _is_whole(target: bytes) -> bool:
    """Return whether each variable in a target is all of the authority, so that it may be the name of an upstream.

    nginx looks for no upstream where a port follows the variable.
    """
    authority = _authority(target)
    return not _variables(authority) or _WHOLE.fullmatch(authority) is not None


def _variables(text: bytes) -> frozenset[bytes]:
    return frozenset((braced or plain).lower() for braced, plain in _VARIABLE.findall(text))


def _marks(text: bytes) -> frozenset[int]:
    return frozenset(int(number) for number in _MARK.findall(text))
