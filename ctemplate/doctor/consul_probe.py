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
from ctemplate.doctor.consul import ELSEWHERE, Agent, ConsulFacts
from ctemplate.doctor.templates import TemplateFacts
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
from ctemplate.template.rendering import Rendering

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
    renderings: tuple[Rendering, ...] = ()

    def render(self, groups: Iterable[tuple[Template, ...]]) -> set[Query]:
        """Render all templates over the answers so far; return the queries that they use."""
        empty = {query: Answer(query=query, value=()) for query in self.refused}
        snapshot = Snapshot(self.answers | empty)
        self.renderings = tuple(Renderer(templates).render(snapshot) for templates in groups)
        return {query for rendering in self.renderings for query in rendering.used}

    def facts(self) -> TemplateFacts:
        """Return what the templates do not find, and the data over which they fail.

        What else is left out depends on the files around the templates', which are not read here.
        """
        known = () if self.refused else self.renderings  # a refused query may be the reason that nothing is found
        left_out = [each for one in self.renderings for each in one.quarantined]
        absent = {query for one in self.renderings for query in one.missing if query in self.answers}
        return TemplateFacts(
            remarks=tuple(dict.fromkeys(remark for one in known for remark in one.remarks)),
            absent=tuple(sorted(absent, key=str)),
            unusable=tuple(dict.fromkeys(each for answer in self.answers.values() for each in answer.rejections)),
            unprintable=tuple(dict.fromkeys(each for each in left_out if each.field == "template")),
        )


async def consul_facts(settings: ConsulSettings, name: str, groups: Iterable[tuple[Template, ...]]) -> ConsulFacts:
    """Ask one agent. Raises TemplateError for a template that fails over the answers, ConfigError for bad settings."""
    client = Client(settings)
    connection = client.connect()
    try:
        leader = await _reply(client, connection, LEADER)
        if isinstance(leader, RequestFailed) and leader.kind in ELSEWHERE:
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
        templates=tried.facts(),
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
        wanted = tried.render(groups) - tried.answers.keys() - tried.refused.keys() - tried.untried
        if not wanted:
            break
        for query in sorted(wanted, key=str):
            await _try(client, connection, query, tried)
    return tried


def catalog_facts(source: CatalogFile, groups: tuple[tuple[Template, ...], ...]) -> TemplateFacts:
    """Return what the templates make of a catalog file's answers; raises TemplateError."""
    tried = Tried()
    for _ in range(ROUNDS):
        wanted = tried.render(groups) - tried.answers.keys()
        if not wanted:
            break
        tried.answers.update({query: source.answer(query) for query in sorted(wanted, key=str)})
    return tried.facts()


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
