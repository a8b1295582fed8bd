"""The status page's stream: it tells each change of what the page shows, and nothing while only ages change."""

import asyncio

import pytest
from reports import group, report

from ctemplate.catalog import Catalog
from ctemplate.config.schema import StatusSection
from ctemplate.core.host_events import ReleaseRefused
from ctemplate.runtime.status_service import page_routes
from ctemplate.runtime.status_view import StatusView
from ctemplate.status.http_server import StatusRequest

WAITING = report(is_ready=False, problems=("not rendered yet",), groups=(group(state="waiting"),))
LATER = report(
    is_ready=False,
    problems=("not rendered yet",),
    groups=(group(state="waiting", stuck_for=7.0),),
    at=1030.0,
    loop_lag=1.0,
)


class Shown:
    """A stream, and what the page would be shown."""

    def __init__(self):
        self.report = WAITING
        self.view = StatusView(catalog=Catalog())

    async def stream(self):
        routes = page_routes(self.view, StatusSection(), lambda: (), self._now)
        request = StatusRequest(method="GET", path="/stream", headers={}, body=b"")
        return (await routes["/stream"](request)).stream

    async def _now(self):
        return self.report


@pytest.mark.looptime
@pytest.mark.parametrize(
    "after",
    [
        pytest.param(report(), id="ready"),
        pytest.param(report(is_ready=False, problems=("not rendered yet",)), id="another state"),
        pytest.param(report(is_ready=False, problems=("a", "b"), groups=WAITING.groups), id="one problem more"),
    ],
)
async def test_what_follows_an_event_is_told_without_another_event(after):
    shown = Shown()
    stream = await shown.stream()
    assert b"event: change" in await anext(stream)
    told = asyncio.create_task(anext(stream))
    shown.report = LATER
    await asyncio.sleep(5)
    assert not told.done(), "nothing but ages has changed"
    shown.report = after
    assert b"event: change" in await told


@pytest.mark.looptime
async def test_an_event_is_told_where_the_report_stays_the_same():
    shown = Shown()
    stream = await shown.stream()
    await anext(stream)
    shown.view.history.take(ReleaseRefused(reason="wrong token"))
    assert b"event: change" in await anext(stream)
