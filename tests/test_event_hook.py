"""[on_event]: a command and a URL get the events, in order and within their time limit, and no work waits for them."""

import asyncio
import contextlib
import json
import os

import pytest

from ctemplate.config.schema import OnEventSection
from ctemplate.core.event_stream import EventStream, emit
from ctemplate.core.events import HoldBegan, InputRead, Stopped
from ctemplate.core.section import Seconds
from ctemplate.runtime import event_hook
from ctemplate.runtime.event_hook import EventHook

HELD = HoldBegan(text="2 of 3 vanished", queries=("service(web)",))


@contextlib.asynccontextmanager
async def hooked(**section):
    """Run a hook within a stream of its own; it has handed out everything in the end."""
    stream = EventStream()
    hook = EventHook(events=stream, section=OnEventSection(**section))
    with stream.entered():
        async with hook.serving(lambda: None):
            yield stream


def writing(file):
    return ("sh", "-c", f'printf "%s\\n" "$CTEMPLATE_EVENT_NAME $CTEMPLATE_EVENT_LEVEL" "$CTEMPLATE_EVENT" >> {file}')


async def test_a_command_gets_the_event_in_its_environment(tmp_path):
    async with hooked(command=writing(tmp_path / "out")):
        emit(HELD)
        emit(InputRead(subject="below the level"))
        emit(HELD)
    first, document, *again = (tmp_path / "out").read_text().splitlines()
    assert first == "hold_began warning"
    assert json.loads(document) == {
        "event": "hold_began",
        "level": "warning",
        "message": "2 of 3 vanished",
        "fields": {"text": "2 of 3 vanished", "queries": ["service(web)"]},
    }
    assert again == [first, document]


async def test_events_may_be_chosen_by_name(tmp_path):
    async with hooked(command=writing(tmp_path / "out"), events=("stopped",)):
        emit(HELD)
        emit(Stopped())
    assert (tmp_path / "out").read_text().splitlines()[0] == "stopped info"


async def test_a_url_gets_it_as_a_post(httpserver):
    httpserver.expect_request("/hook", method="POST").respond_with_data("ok")
    async with hooked(url=httpserver.url_for("/hook")):
        emit(HELD)
    ((request, _),) = httpserver.log
    assert request.get_json()["event"] == "hold_began"


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        pytest.param({"command": "false"}, "false: exit status 1", id="fails"),
        pytest.param({"command": "/no/such/program"}, "/no/such/program", id="is not there"),
        pytest.param({"command": ("sleep", "60"), "timeout": Seconds(0.2)}, "sleep 60", id="hangs"),
        pytest.param({"url": "http://127.0.0.1:1/secret"}, "the URL cannot be reached: ConnectError", id="nobody"),
        pytest.param({"url": "no url"}, "the URL cannot be reached", id="no URL"),
    ],
)
async def test_a_failing_hook_is_reported_once_and_is_not_called_for_its_own_failure(section, reason, caplog):
    seen = []
    async with hooked(**section) as stream:
        with stream.subscribed("test", seen.append):
            emit(HELD)
            emit(HELD)
            async with asyncio.timeout(60):
                while sum(event.name == "hook_failed" for event in seen) < 2:  # noqa: ASYNC110 - a list sets no event
                    await asyncio.sleep(0.02)
    failures = [event for event in seen if event.name == "hook_failed"]
    assert [event.is_repeated for event in failures] == [False, True]
    assert reason in failures[0].reason
    assert "secret" not in caplog.text


async def test_a_url_that_answers_badly_is_reported(httpserver, caplog):
    httpserver.expect_request("/hook").respond_with_data("", status=500)
    async with hooked(url=httpserver.url_for("/hook")):
        emit(HELD)
    assert "on_event: hold_began: the URL answered with status 500; not retried for this event" in caplog.messages


async def test_a_flood_waits_for_no_hook_and_dropped_events_are_counted(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(event_hook, "QUEUED_EVENTS", 5)
    async with hooked(command=writing(tmp_path / "out")):
        for _ in range(100):
            emit(HELD)
    assert len((tmp_path / "out").read_text().splitlines()) == 10
    assert "on_event: 95 events were dropped, since the queue was full" in caplog.messages


async def test_other_threads_may_emit(tmp_path):
    async with hooked(command=writing(tmp_path / "out")):
        await asyncio.to_thread(emit, HELD)
    assert (tmp_path / "out").read_text().startswith("hold_began ")


async def test_without_a_command_and_a_url_nothing_is_queued(caplog):
    async with hooked(level="debug"):
        emit(HELD)
    assert caplog.messages == [str(HELD)]


async def test_another_section_applies_to_the_next_event(tmp_path):
    stream = EventStream()
    hook = EventHook(events=stream, section=OnEventSection(command=writing(tmp_path / "out")))
    with stream.entered():
        async with hook.serving(lambda: None):
            emit(Stopped())
            hook.section = OnEventSection(command=writing(tmp_path / "out"), level="info")
            emit(Stopped())
    assert (tmp_path / "out").read_text().count("stopped info") == 1


@pytest.mark.parametrize("remaining", [0.0, event_hook.EXIT_SECONDS, event_hook.EXIT_SECONDS + 0.2])
async def test_the_end_waits_no_longer_than_the_process_may(tmp_path, caplog, remaining):
    stream = EventStream()
    section = OnEventSection(command=("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600"), timeout=Seconds(600))
    with stream.entered():
        async with asyncio.timeout(60), EventHook(events=stream, section=section).serving(lambda: remaining):
            emit(HELD)
            emit(HELD)
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.02)
    assert (
        "on_event: 2 events were dropped, since there was no time left for them when ctemplate stopped"
        in caplog.messages
    )
    assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")  # noqa: ASYNC240, PTH110


@pytest.mark.parametrize(("error", "is_handed_out"), [(ValueError, True), (asyncio.CancelledError, False)])
async def test_an_error_is_handed_out_too_but_a_cancellation_leaves_at_once(tmp_path, error, is_handed_out):
    async def end():
        async with hooked(command=writing(tmp_path / "out")):
            emit(HELD)
            raise error

    with pytest.raises(error):
        await end()
    assert (tmp_path / "out").exists() is is_handed_out


@pytest.mark.parametrize("text", ["ü" * 120_000, "x" * 300_000, "€" + "ü" * 60_000])
async def test_a_long_event_reaches_the_command_cut_to_what_the_kernel_takes(tmp_path, text):
    async with hooked(command=writing(tmp_path / "out")):
        emit(HoldBegan(text="short", queries=(text,)))
    first, document = (tmp_path / "out").read_text().splitlines()
    assert first == "hold_began warning"
    assert document.startswith('{"event":"hold_began"')
    assert len(document.encode()) <= event_hook.VARIABLE_LENGTH_BYTES
