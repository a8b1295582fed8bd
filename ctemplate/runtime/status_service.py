"""What is served where status has an address: health, the report, metrics, the page with its data, and releases.

Knows how nothing of it is transported; see ``http_server``.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import field
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ctemplate.config.schema import StatusSection
from ctemplate.core.event_stream import emit
from ctemplate.core.host_events import ReleaseRefused
from ctemplate.core.model import Instance, Snapshot
from ctemplate.core.values import dataclass
from ctemplate.queries import Losses, kind_of
from ctemplate.runtime.assembly import Assembly
from ctemplate.runtime.control_socket import release_held
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.runtime.history_store import HistoryKeeper, history_path
from ctemplate.runtime.services import DaemonService
from ctemplate.runtime.status_view import StatusView
from ctemplate.status.health import stuck_groups
from ctemplate.status.http_server import JSON_TYPE, Reply, StatusRequest, StatusRoutes, serve_status
from ctemplate.status.report import Report, ReportNow
from ctemplate.status.services import ServicesPage, services_page
from ctemplate.system.inputs import read_input

if TYPE_CHECKING:
    from ctemplate.status.metrics import Metrics

Workers = Callable[[], Iterable[GroupWorker]]

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
PAGE_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
STREAM_INTERVAL = 1.0  # seconds between two looks whether something changed, for each stream
HEARTBEAT = 15.0  # seconds until a stream without news says that it is alive
STREAM_LIFETIME = 600.0  # seconds; the page asks again, and a client that is gone loses its place
TOKEN_FILE_LIMIT_BYTES = 4096
SHORTEST_TOKEN = 16  # characters, as for status.token
ATTEMPTS = 10  # wrong tokens in a minute, until none is compared any more
ATTEMPTS_WITHIN = 60.0


def status_services(
    view: StatusView, assembly: Assembly, report: ReportNow, workers: Workers
) -> tuple[DaemonService, ...]:
    """Return what serves status, and keeps its history, where there is an address for that."""
    address, section = assembly.status_address, assembly.config.status
    if address is None:
        return ()
    path = history_path(assembly.state_dir, assembly.plans)
    metrics, keeper = view.counted(), HistoryKeeper(history=view.history, path=path)

    async def serve() -> None:
        routes = {**status_routes(metrics, report), **page_routes(view, section, workers, report)}
        await serve_status(address, routes, section.hosts)

    return (
        DaemonService(
            key=("status", address, section.token, section.token_file, section.hosts),
            name="status",
            run=serve,  # reads the page's files, so that a failure to do so costs this service alone
        ),
        DaemonService(key=("keep-history", path), name="keep-history", run=keeper.run),
    )


def status_routes(metrics: Metrics, report: ReportNow) -> StatusRoutes:
    """Return what machines ask for: ``/healthz``, ``/readyz``, ``/status`` and ``/metrics``."""

    async def healthz(_: StatusRequest) -> Reply:
        stuck = stuck_groups(await report())
        return _verdict(stuck)

    async def readyz(_: StatusRequest) -> Reply:
        return _verdict((await report()).problems)

    async def status(_: StatusRequest) -> Reply:
        return _json(await report())

    async def exposition(_: StatusRequest) -> Reply:
        return Reply(body=metrics.exposition(await report()), content_type=metrics.content_type)

    return {"/healthz": healthz, "/readyz": readyz, "/status": status, "/metrics": exposition}


def _verdict(problems: tuple[str, ...]) -> Reply:
    """Answer ok, or 503 with a line for each problem."""
    if not problems:
        return Reply(body=b"ok\n")
    return Reply(status=HTTPStatus.SERVICE_UNAVAILABLE, body="".join(f"{each}\n" for each in problems).encode())


def _json(value: object, status: HTTPStatus = HTTPStatus.OK) -> Reply:
    return Reply(body=msgspec.json.encode(value) + b"\n", content_type=JSON_TYPE, status=status)


def page_routes(view: StatusView, section: StatusSection, workers: Workers, report: ReportNow) -> StatusRoutes:
    """Return the page and what it asks for: ``/services``, ``/history``, ``/stream`` and ``POST /release``."""
    gate = ReleaseGate(section=section)

    async def services(request: StatusRequest) -> Reply:
        offset = request.query.get("offset", "")
        number = int(offset) if re.fullmatch(r"[0-9]{1,9}", offset) else 0
        known, search = view.catalog.snapshot(), request.query.get("q", "")
        return _json(await asyncio.to_thread(_services, known, _held(view), search, number))

    async def history(request: StatusRequest) -> Reply:
        entries = view.history.entries
        if "id" in request.query:
            return _json([each for each in entries if str(each.id) == request.query["id"]])
        return _json([msgspec.structs.replace(each, diff=()) for each in entries])

    async def stream(_: StatusRequest) -> Reply:
        return Reply(body=b"retry: 3000\n\n", content_type="text/event-stream", stream=_ticks(view, report))

    async def release(request: StatusRequest) -> Reply:
        refusal = await gate.refusal(request)
        if refusal is not None:
            return refusal
        try:
            wanted = msgspec.json.decode(request.body, type=ReleaseWish)
        except msgspec.MsgspecError as exc:
            return _json({"error": f"not a request to release: {exc}"}, HTTPStatus.BAD_REQUEST)
        if not wanted.service and wanted.service is not None:
            return _json({"error": "service: is empty; null releases everything"}, HTTPStatus.BAD_REQUEST)
        return _json(release_held(wanted.service, view.catalog, tuple(workers()), by="page"))

    return {**page_files(), "/services": services, "/history": history, "/stream": stream, "POST /release": release}


class ReleaseWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request to release: a service, or null for everything; nothing is released by an empty body."""

    service: str | None


def page_files() -> StatusRoutes:
    """Return the files of the page, which are the same for everybody."""
    return {path: _file(*named) for path, named in PAGE_FILES.items()}


def _file(name: str, content_type: str) -> Callable[[StatusRequest], Awaitable[Reply]]:
    content = resources.files("ctemplate.status").joinpath("page", name).read_bytes()

    async def file(_: StatusRequest) -> Reply:
        return Reply(body=content, content_type=content_type, policy=PAGE_POLICY)

    return file


def _held(view: StatusView) -> Mapping[str, frozenset[str]]:
    """Return the ids of held instances by query."""
    return {
        str(hold.query): frozenset(entry.id for entry in hold.entries if isinstance(entry, Instance))
        for hold in view.catalog.holds
    }


def _services(snapshot: Snapshot, held: Mapping[str, frozenset[str]], search: str, offset: int) -> ServicesPage:
    found = {str(answer.query): answer.value for answer in snapshot if kind_of(answer.query).losses is Losses.INSTANCES}
    return services_page(found, held, search=search, offset=offset)


async def _ticks(view: StatusView, report: ReportNow) -> AsyncIterator[bytes]:
    """Yield an event whenever something changed, at most once a second; what changed is asked for then.

    The report is compared as well: it may follow an event later, and time alone may change it.
    """
    clock, sent = time.monotonic, None
    began = spoke = clock()
    while clock() - began < STREAM_LIFETIME:
        now = (view.history.version, _verdicts(await report()))
        if now != sent:
            sent, spoke = now, clock()
            yield f"event: change\ndata: {view.history.version}\n\n".encode()
        elif clock() - spoke >= HEARTBEAT:
            spoke = clock()
            yield b": nothing new\n\n"
        await asyncio.sleep(STREAM_INTERVAL)


def _verdicts(report: Report) -> tuple[object, ...]:
    """Return what a report says but for ages, which change all the time."""
    groups = tuple(msgspec.structs.replace(group, stuck_for=0.0) for group in report.groups)
    counts = (len(report.problems), len(report.holds), len(report.source.outages))
    return (report.is_ready, counts, report.configuration, groups, report.unverified)


@dataclass(slots=True, kw_only=True)
class ReleaseGate:
    """Accepts release requests that carry the token, and slows down clients that guess it."""

    section: StatusSection
    _wrong: deque[float] = field(default_factory=lambda: deque(maxlen=ATTEMPTS))

    async def refusal(self, request: StatusRequest) -> Reply | None:
        """Return why a request may not release, None where it may."""
        if not self.section.has_token:
            return _refused("no token is configured; on the host, run ctemplate release", HTTPStatus.FORBIDDEN)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON_TYPE:
            return _refused(f"the body must be {JSON_TYPE}", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        now = time.monotonic()
        if len(self._wrong) == ATTEMPTS and now - self._wrong[0] < ATTEMPTS_WITHIN:
            return _refused("too many wrong tokens; wait a minute", HTTPStatus.TOO_MANY_REQUESTS)
        try:
            token = await asyncio.to_thread(self._token)
        except OSError as exc:
            return self._reported(f"the token cannot be read: {(exc.strerror or str(exc)).lower()}", now)
        given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if not token or not hmac.compare_digest(_digest(given), _digest(token)):
            return self._reported("wrong token", now)
        return None

    def _token(self) -> str:
        """Return the token as it is now; raises OSError."""
        if not self.section.token_file:
            return self.section.token or ""
        content = read_input(Path(self.section.token_file), limit_bytes=TOKEN_FILE_LIMIT_BYTES)
        found = content.decode(errors="replace").strip()
        if len(found) < SHORTEST_TOKEN:
            raise OSError(None, f"it is shorter than {SHORTEST_TOKEN} characters")
        return found

    def _reported(self, reason: str, now: float) -> Reply:
        is_repeated = bool(self._wrong) and now - self._wrong[-1] < ATTEMPTS_WITHIN
        self._wrong.append(now)
        emit(ReleaseRefused(reason=reason, is_repeated=is_repeated))
        return _refused(reason, HTTPStatus.FORBIDDEN)


def _refused(reason: str, status: HTTPStatus) -> Reply:
    return _json({"error": reason}, status)


def _digest(text: str) -> bytes:
    """Return a digest, so that a comparison takes no longer for a longer text."""
    return hashlib.sha256(text.encode(errors="replace")).digest()
