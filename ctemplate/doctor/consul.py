"""Judge facts about Consul: reachability, leader, version, clock, token and connections. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ctemplate.core.model import Query
from ctemplate.core.settings import CONSUL_DEFAULTS
from ctemplate.doctor.diagnosis import Diagnosis, error, ok, warning
from ctemplate.doctor.templates import TemplateFacts, template_diagnoses
from ctemplate.queries import Losses, kind_of
from ctemplate.queries.kind import ReadRight
from ctemplate.sources.consul.endpoints.paths import FailureKind, RequestFailed
from ctemplate.sources.local_files import is_local

TELLS_FILTERED_SINCE = (1, 11)
ELSEWHERE = {
    FailureKind.UNREACHABLE: "start it, or correct consul.address or CONSUL_HTTP_ADDR",
    FailureKind.REFUSED: "correct consul.address or CONSUL_HTTP_ADDR",
}
"""What to do if the address answers as no Consul does, by the failure of a request that every Consul answers."""

LARGEST_SKEW = 5.0  # seconds; the Date header has no fractions, and an answer takes time to arrive
WHOLE_RESOURCES = frozenset({"peering", "operator", "mesh"})  # resources whose rules have no name
RIGHTS_NAMED = 5  # how many queries with the same error a line lists
NODE_RIGHT = 'its policy needs node:read, node_prefix "" { policy = "read" }'
DEFAULT_LIMIT = 200  # connections per client; used if the agent's own limit cannot be read


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `/v1/agent/self`; https://developer.hashicorp.com/consul/api-docs/agent#read-configuration."""

    config: dict[str, Any] = msgspec.field(name="Config", default_factory=dict)
    debug: dict[str, Any] = msgspec.field(name="DebugConfig", default_factory=dict)

    @property
    def version(self) -> str:
        """Return the agent's version, empty if it reports none."""
        return str(self.config.get("Version") or "")

    @property
    def checks_rights(self) -> bool:
        """Return whether the agent checks rights by tokens; True if it does not say."""
        return self.debug.get("ACLsEnabled") is not False

    @property
    def connection_limit(self) -> int | None:
        """Return how many connections one client may have: 0 for no limit, None if the agent reports none."""
        limit = self.debug.get("HTTPMaxConnsPerClient")
        return limit if isinstance(limit, int) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsulFacts:
    """The answers of one agent. ``skew`` is its clock minus ours in seconds; ``refused`` are the queries that failed.

    ``leader`` is the leader's address, empty if there is none. ``filtered`` are the queries from whose answers Consul
    admits to have removed entries, ``empty`` the queries with an empty answer, ``listed`` the queries without an
    instance for a service that the catalog lists. ``untried`` counts the queries that were not asked.
    """

    name: str
    leader: str | RequestFailed
    agent: Agent | RequestFailed | None = None
    skew: float | None = None
    denies_by_default: bool = False
    has_token: bool = False
    tried: int = 0
    untried: int = 0
    refused: Mapping[Query, RequestFailed] = field(default_factory=dict)
    filtered: frozenset[Query] = frozenset()
    empty: frozenset[Query] = frozenset()
    templates: TemplateFacts = field(default_factory=TemplateFacts)
    listed: frozenset[Query] = frozenset()
    connections: int = 0
    max_connections: int = CONSUL_DEFAULTS.max_connections


def consul_diagnoses(facts: ConsulFacts) -> Iterator[Diagnosis]:
    """Yield a line for each thing about Consul."""
    if isinstance(facts.leader, RequestFailed) and facts.leader.kind in ELSEWHERE:
        yield error(facts.name, facts.leader.what, ELSEWHERE[facts.leader.kind])
        return
    yield ok(facts.name, "answers")
    yield _leader(facts)
    yield _version(facts)
    yield from _clock(facts)
    yield from _rights(facts)
    yield from template_diagnoses(facts.templates)
    yield _limit(facts)


def _leader(facts: ConsulFacts) -> Diagnosis:
    what = "Consul's leader"
    if isinstance(facts.leader, RequestFailed):
        return error(what, facts.leader.what, "look into the servers' logs; live files stay as they are meanwhile")
    if not facts.leader:
        return error(what, "none", "look into the servers' logs; live files stay as they are meanwhile")
    return ok(what, facts.leader)


def _version(facts: ConsulFacts) -> Diagnosis:
    what = "Consul's version"
    if not isinstance(facts.agent, Agent) or not facts.agent.version:
        why = facts.agent.what if isinstance(facts.agent, RequestFailed) else "the agent does not say"
        return warning(what, f"unknown, {why}", 'agent_prefix "" { policy = "read" } lets the token read it')
    numbers = tuple(int(part) for part in facts.agent.version.split("+")[0].split("-")[0].split(".")[:2])
    if numbers < TELLS_FILTERED_SINCE and facts.agent.checks_rights:
        found = f"{facts.agent.version} does not report that it leaves out what a token may not read"
        return warning(what, found, "check the token's policy yourself, or use 1.11 or newer")
    return ok(what, facts.agent.version)


def _clock(facts: ConsulFacts) -> Iterator[Diagnosis]:
    if facts.skew is None:
        return
    what = "clock against Consul's"
    if abs(facts.skew) <= LARGEST_SKEW:
        yield ok(what, f"less than {LARGEST_SKEW:g}s apart")
    else:
        side = "behind" if facts.skew > 0 else "ahead"
        yield warning(what, f"{abs(facts.skew):.0f}s {side}", "set both by NTP; times in logs cannot be compared")


def _rights(facts: ConsulFacts) -> Iterator[Diagnosis]:
    """Yield the rights that the token lacks for the templates' queries."""
    what = "rights of the token" if facts.has_token else "rights without a token"
    denied = [query for query, failure in facts.refused.items() if failure.kind is FailureKind.DENIED]
    others = {query: failure for query, failure in facts.refused.items() if query not in denied}
    for query, failure in others.items():
        fix = "see [data] file_folders and the file's mode" if is_local(query) else "see what Consul says of it"
        yield error(str(query), failure.what, fix)
    if denied:
        yield error(what, f"{_named(denied)}: {facts.refused[denied[0]].what}", _policy(denied))
    if facts.filtered:
        found = f"Consul left out data of {_named(sorted(facts.filtered, key=str))}"
        yield error(what, found, _policy(list(facts.filtered)))
    bare = sorted((query for query in facts.empty - facts.filtered if _lists_consul(query)), key=str)
    if bare:
        found = f"{_named(bare)} is empty, though Consul itself is always a service"
        yield error(what, found, _policy(bare))
    if facts.listed:
        found = f"{_named(sorted(facts.listed, key=str))}: listed in the catalog, and no instance is shown"
        yield error(what, found, NODE_RIGHT)
    if facts.denies_by_default and not facts.has_token:
        found = "Consul denies by default, and left out data does not show"
        yield error(what, found, "give a token by consul.token_file or CONSUL_HTTP_TOKEN_FILE")
    elif not (facts.refused or facts.filtered or facts.listed or bare):
        rest = f", {facts.untried} more not tried" if facts.untried else ""
        yield ok(what, f"all {facts.tried} queries of the templates were answered{rest}")


def _lists_consul(query: Query) -> bool:
    """Return whether the query's answer contains Consul's own service for every token that may read it."""
    return kind_of(query).losses is Losses.NAMES and (query.ns, query.partition, query.peer) == (None, None, None)


def _named(queries: list[Query]) -> str:
    more = f" and {len(queries) - RIGHTS_NAMED} more" if len(queries) > RIGHTS_NAMED else ""
    return ", ".join(str(query) for query in queries[:RIGHTS_NAMED]) + more


def _policy(queries: list[Query]) -> str:
    """Return the ACL rules that let a token read the queries."""
    names: dict[tuple[str, str], set[ReadRight]] = {}
    for right in (right for query in queries for right in kind_of(query).rights(query)):
        names.setdefault((right.resource, right.access), set()).add(right)
    if not names:
        return "give a token that Consul knows; any may read this"
    rules = " and ".join(_rule(*what, found) for what, found in names.items())
    assumed = {query: right.resource for query in queries for right in kind_of(query).rights(query) if right.is_assumed}
    doubts = (f"; {resource} is assumed: Consul documents no right for {query}" for query, resource in assumed.items())
    return f"its policy needs {rules}{''.join(doubts)}"


def _rule(resource: str, access: str, rights: set[ReadRight]) -> str:
    if resource in WHOLE_RESOURCES:
        return f'{resource} = "{access}"'
    right = next(iter(rights))
    if len(rights) > 1 or right.name is None:
        folder = _common_folder([right.name or "" for right in rights]) if resource == "key" else ""
        return f'{resource}_prefix "{folder}" {{ policy = "{access}" }}'
    return f'{resource}{"_prefix" if right.is_prefix else ""} "{right.name}" {{ policy = "{access}" }}'


def _common_folder(paths: list[str]) -> str:
    """Return the deepest folder that contains all paths, with its trailing slash; empty if there is none."""
    common = os.path.commonprefix(paths)  # noqa: RUF071  # cut at its last slash
    return common[: common.rfind("/") + 1]


def _limit(facts: ConsulFacts) -> Diagnosis:
    what = "connections to Consul"
    known = facts.agent.connection_limit if isinstance(facts.agent, Agent) else None
    limit = DEFAULT_LIMIT if known is None else known
    allowed = (
        f"{limit} allowed" if known is not None else f"{limit} allowed by default, the agent's own limit is unknown"
    )
    planned = f"{facts.connections} planned, {facts.max_connections} at most"
    if limit and facts.max_connections > limit:
        fix = f"lower -max-connections below {limit}, or raise limits.http_max_conns_per_client of the agent"
        is_error = facts.connections > limit
        return (error if is_error else warning)(what, f"{planned}, {allowed}", fix)
    return ok(what, f"{planned}, {allowed if limit else 'no limit'}")
