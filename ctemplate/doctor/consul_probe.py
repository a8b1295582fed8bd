"""Ask Consul for the facts that the doctor checks: facts about itself, and each query of the templates once.

The I/O edge of ``consul``; reads only, over one connection.
"""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from ctemplate.core.errors import ConfigError
from ctemplate.core.model import Answer, Query, Snapshot
from ctemplate.doctor.consul import Agent, ConsulFacts
from ctemplate.queries import ServicesQuery, kind_of, named_service
from ctemplate.sources.catalog_file import CatalogFile
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.paths import FailureKind, RequestFailed, Resource
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.http.client import Client, ConsulReply
from ctemplate.sources.consul.http.outages import OutageLog
from ctemplate.sources.consul.http.transport import Connection
from ctemplate.sources.consul.watching.covers import Covers
from ctemplate.sources.consul.watching.planner import Planner
from ctemplate.sources.consul.watching.watch import Retries, Watch
from ctemplate.sources.local_files import answered_by_file, is_local, read_local
from ctemplate.sources.local_nginx import nginx_build
from ctemplate.template import Renderer, Template

TRIED_AT_MOST = 500  # queries; the rights to some of thousands of services are a sufficient sample
ROUNDS = 10  # renders; each one may need further queries because of the answers of the one before
LEADER = Resource(path="/v1/status/leader")
SELF = Resource(path="/v1/agent/self")


@dataclass(slots=True, kw_only=True)
class Tried:
    """The queries asked so far: their answers, their failures, and the number of queries beyond the limit."""

    answers: dict[Query, Answer] = field(default_factory=dict)
    refused: dict[Query, RequestFailed] = field(default_factory=dict)
    untried: set[Query] = field(default_factory=set)


async def consul_facts(settings: ConsulSettings, name: str, groups: Iterable[tuple[Template, ...]]) -> ConsulFacts:
    """Ask one agent. Raises TemplateError for a template that fails over the answers, ConfigError for bad settings."""
    client = Client(settings)
    connection = client.connect()
    try:
        leader = await _reply(client, connection, LEADER)
        if isinstance(leader, RequestFailed) and leader.kind is FailureKind.UNREACHABLE:
            return ConsulFacts(name=name, leader=leader)
        own = await _reply(client, connection, SELF)
        tried = await _tried(client, connection, tuple(groups))
        listed = await _listed(client, connection, tried)
    finally:
        connection.close()
    headers = {} if isinstance(leader, RequestFailed) else {key.lower(): value for key, value in leader.headers}
    return ConsulFacts(
        name=name,
        leader=leader if isinstance(leader, RequestFailed) else msgspec.json.decode(leader.body, type=str),
        agent=own if isinstance(own, RequestFailed) else msgspec.json.decode(own.body, type=Agent),
        skew=_skew(headers.get(b"date", b"").decode("latin-1")),
        denies_by_default=headers.get(b"x-consul-default-acl-policy", b"") == b"deny",
        has_token=bool(settings.token or settings.token_file),
        tried=len(tried.answers),
        untried=len(tried.untried),
        refused=tried.refused,
        filtered=frozenset(query for query, answer in tried.answers.items() if answer.filtered),
        empty=frozenset(query for query, answer in tried.answers.items() if not answer.value),
        left_out=tuple(
            dict.fromkeys(rejection for answer in tried.answers.values() for rejection in answer.rejections)
        ),
        listed=listed,
        connections=_planned(settings, tried),
        max_connections=settings.max_connections,
    )


async def _reply(client: Client, connection: Connection, resource: Resource) -> ConsulReply | RequestFailed:
    try:
        return await client.read(connection, resource)
    except RequestFailed as exc:
        return exc


def _skew(date: str) -> float | None:
    """Return how far a server's clock is ahead of ours, from its Date header, or None."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() - time.time()
    except (TypeError, ValueError):
        return None


async def _tried(client: Client, connection: Connection, groups: tuple[tuple[Template, ...], ...]) -> Tried:
    """Render with the known answers and ask the missing queries, until none is missing."""
    tried = Tried()
    for _ in range(ROUNDS):
        wanted = _wanted(groups, tried) - tried.answers.keys() - tried.refused.keys() - tried.untried
        if not wanted:
            break
        for query in sorted(wanted, key=str):
            await _try(client, connection, query, tried)
    return tried


def _wanted(groups: tuple[tuple[Template, ...], ...], tried: Tried) -> set[Query]:
    """Return the queries of all templates, as far as the current answers lead to them."""
    empty = {query: Answer(query=query, value=()) for query in tried.refused}
    snapshot = Snapshot(tried.answers | empty)
    return {query for templates in groups for query in Renderer(templates).render(snapshot).used}


def answers_of(source: CatalogFile, groups: tuple[tuple[Template, ...], ...]) -> tuple[Answer, ...]:
    """Return a catalog file's answers to all queries of the templates; raises TemplateError."""
    tried = Tried()
    for _ in range(ROUNDS):
        wanted = _wanted(groups, tried) - tried.answers.keys()
        if not wanted:
            break
        tried.answers.update({query: source.answer(query) for query in sorted(wanted, key=str)})
    return tuple(tried.answers.values())


async def _try(client: Client, connection: Connection, query: Query, tried: Tried) -> None:
    if len(tried.answers) + len(tried.refused) >= TRIED_AT_MOST:
        tried.untried.add(query)
        return
    try:
        edge = Decoder(client.settings.limits)
    except ValueError as exc:
        raise ConfigError("allowed networks", str(exc)) from exc
    if is_local(query):
        await _try_host(query, tried, client.settings.limits.file_folders)
        return
    outages = OutageLog()
    watch = Watch(query, client, edge, outages, Retries(client, outages))
    try:
        tried.answers[query] = await watch.read(connection)
    except RequestFailed as exc:
        tried.refused[query] = exc


async def _try_host(query: Query, tried: Tried, folders: Iterable[str]) -> None:
    if not answered_by_file(query):
        tried.answers[query] = Answer(query=query, value=(await nginx_build(query)).value)
        return
    try:
        tried.answers[query] = Answer(query=query, value=read_local(query, folders))
    except OSError as exc:
        what = (exc.strerror or str(exc)).lower()
        tried.refused[query] = RequestFailed("", str(query), what, FailureKind.REFUSED)


async def _listed(client: Client, connection: Connection, tried: Tried) -> frozenset[Query]:
    """Return the queries without an instance for services that the catalog lists: the token may lack node:read."""
    bare = [
        query
        for query, answer in tried.answers.items()
        if kind_of(query).reads_whole_service(query) and not (answer.value or answer.rejections)
    ]
    catalogs = {query: ServicesQuery(dc=query.dc, ns=query.ns, partition=query.partition) for query in bare}
    aside = Tried(answers={query: tried.answers[query] for query in catalogs.values() if query in tried.answers})
    for catalog in sorted(set(catalogs.values()) - aside.answers.keys(), key=str):
        await _try(client, connection, catalog, aside)
    names = {query: {service.name for service in answer.value} for query, answer in aside.answers.items()}
    return frozenset(query for query in bare if named_service(query) in names.get(catalogs[query], ()))


def _planned(settings: ConsulSettings, tried: Tried) -> int:
    """Return how many connections the source would open for these queries."""
    now = asyncio.get_running_loop().time()
    planner = Planner(max_connections=settings.max_connections)
    asked = (query for query in (*tried.answers, *tried.refused, *tried.untried) if not is_local(query))
    planner.want(Covers().want(asked), now)
    return planner.plan(now).connections
