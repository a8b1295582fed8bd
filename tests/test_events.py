"""The stream of events: it writes the log lines and calls the subscribers, which cannot disturb it."""

import ast
import contextlib
import json
import logging
import re
import threading
from pathlib import Path

import msgspec
import pytest

from ctemplate.cli.logs import JsonFormatter
from ctemplate.core import events, file_events, group_events, host_events, program_events
from ctemplate.core.event_stream import UNLOGGED, Event, EventStream, LinesLeftOut, OngoingEvent, SubscriberFailed, emit
from ctemplate.core.events import AnswerChanged, GuardReport, InputRead, OutageEnded
from ctemplate.core.file_events import ForeignFileReplaced, LiveFileEdited
from ctemplate.core.group_events import Applied, GroupEvent, GroupFailed, QuarantineEvent, Readmitted, RenderFailed
from ctemplate.core.host_events import StateUnusable

PAGE = Path(__file__).parent.parent / "docs" / "events.md"
PACKAGE = Path(events.__file__).parent.parent
ABOVE_DEBUG = {"info", "warning", "error", "exception", "critical", "log"}
READ = InputRead(subject="consul TLS files")
FAMILIES = {
    Event,
    OngoingEvent,
    GuardReport,
    GroupEvent,
    GroupFailed,
    QuarantineEvent,
}  # what several kinds of events share


def kinds():
    """Every kind of event, by its name."""
    modules = (events, file_events, group_events, host_events, program_events)
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    found = {kind for kind in found | {SubscriberFailed, LinesLeftOut} if issubclass(kind, Event)} - FAMILIES
    return {kind.__struct_config__.tag: kind for kind in found}


@pytest.fixture
def stream():
    made = EventStream()
    with made.entered():
        yield made


def test_an_event_is_a_log_line_and_reaches_every_subscriber(stream, caplog):
    caplog.set_level(logging.INFO)
    first, second = [], []
    with stream.subscribed("first", first.append), stream.subscribed("second", second.append):
        emit(READ)
    emit(InputRead(subject="later"))
    assert (first, second) == ([READ], [READ])
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("INFO", "consul TLS files: read again"),
        ("INFO", "later: read again"),
    ]


def test_an_event_that_is_only_counted_has_no_log_line(stream, caplog):
    caplog.set_level(logging.DEBUG)
    seen = []
    with stream.subscribed("metrics", seen.append):
        emit(AnswerChanged(query="service(web)", kind="service"))
    assert (len(seen), caplog.records) == (1, [])


def test_a_level_that_is_not_logged_still_reaches_subscribers(stream, caplog):
    caplog.set_level(logging.ERROR)
    seen = []
    with stream.subscribed("metrics", seen.append):
        emit(READ)
    assert (seen, caplog.records) == ([READ], [])


def test_a_subscriber_that_fails_costs_only_itself_an_event(stream, caplog):
    seen = []

    def broken(_event):
        raise KeyError("defect")

    with stream.subscribed("broken", broken), stream.subscribed("metrics", seen.append):
        emit(READ)
        emit(READ)
    failed = SubscriberFailed(subscriber="broken", cause="KeyError: 'defect'")
    assert sorted(seen, key=str) == sorted([READ, READ, failed], key=str)
    errors = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert errors == ["broken: a defect of ctemplate's own, please report it: KeyError: 'defect'"]


def test_two_streams_do_not_mix(stream):
    inner, outer = [], []
    other = EventStream()
    with stream.subscribed("outer", outer.append), other.subscribed("inner", inner.append):
        with other.entered():
            emit(READ)
        assert (inner, outer) == ([READ], [])
        emit(READ)
    assert (inner, outer) == ([READ], [READ])


def test_every_thread_may_emit(stream):
    seen = []
    with stream.subscribed("metrics", seen.append):
        threads = [threading.Thread(target=stream.publish, args=(READ,)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen == [READ] * 20


def test_a_subscriber_may_leave_while_an_event_is_handed_on(stream):
    seen = []
    with contextlib.ExitStack() as stack:
        leaving = contextlib.ExitStack()
        leaving.enter_context(stream.subscribed("leaves", lambda _: leaving.close()))
        stack.enter_context(stream.subscribed("metrics", seen.append))
        emit(READ)
    assert seen == [READ]


def test_json_lines_carry_the_event_s_name_and_fields():
    figures = {"lines_added": 3, "lines_removed": 1, "servers_added": 2}
    event = Applied(group="nginx", subject="/etc/nginx/nginx.conf", waited=0.5, **figures)
    record = logging.LogRecord("ctemplate.events", logging.INFO, "", 0, "%s", (event,), None)
    record.event = event
    line = json.loads(JsonFormatter().format(record))
    assert line.pop("time")
    assert line == {
        "level": "info",
        "logger": "ctemplate.events",
        "message": "/etc/nginx/nginx.conf: applied, +3 -1 lines, +2 -0 servers",
        "event": "applied",
        "fields": {
            "group": "nginx",
            "subject": "/etc/nginx/nginx.conf",
            "waited": 0.5,
            "lines_added": 3,
            "lines_removed": 1,
            "servers_added": 2,
            "servers_removed": 0,
        },
    }


def test_json_lines_without_an_event_are_as_before():
    record = logging.LogRecord("ctemplate.apply", logging.INFO, "", 0, "%s: kept", ("a",), None)
    line = json.loads(JsonFormatter().format(record))
    assert line.keys() == {"time", "level", "logger", "message"}


@pytest.mark.parametrize(
    ("event", "level"),
    [
        pytest.param(
            OutageEnded(cause="denied", subject="a", seconds=1.0, was_reported=False), "DEBUG", id="unreported"
        ),
        pytest.param(OutageEnded(cause="denied", subject="a", seconds=1.0), "INFO", id="reported"),
        pytest.param(RenderFailed(group="g", where="t.j2:1", what="x", is_repeated=True), "DEBUG", id="repeated"),
        pytest.param(RenderFailed(group="g", where="t.j2:1", what="x"), "ERROR", id="first"),
    ],
)
def test_levels_depend_on_what_the_operator_knows(event, level):
    assert logging.getLevelName(event.severity) == level


def test_every_kind_of_event_can_be_written_as_json():
    samples = {str: "a", float: 1.0, int: 1, bool: True, tuple[str, ...]: ("a",), float | None: None}
    for name, kind in kinds().items():
        fields = {field.name: samples[field.type] for field in msgspec.structs.fields(kind)}
        event = kind(**fields)
        assert json.loads(msgspec.json.encode(event))["event"] == name == event.name
        assert event.severity == UNLOGGED or "\n" not in str(event).replace("\n    ", "")


def test_the_page_lists_every_event_with_its_level_and_fields():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| .+ \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    told = {name: (level, tuple(re.findall(r"`(\w+)`", fields))) for name, level, fields in rows}
    assert told == {name: (level_of(kind), kind.__struct_fields__) for name, kind in kinds().items()}


def plain_lines(source):
    """Yield the number of each line that writes to the log above DEBUG without an event."""
    if not any(f".{name}" in source for name in ABOVE_DEBUG):
        return  # to parse it would take a hundred times as long
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ABOVE_DEBUG:
            target = ast.unparse(node.func.value)
            if target in {"log", "logger", "logging"} or "getLogger" in target:
                yield node.lineno


def test_every_line_above_debug_is_an_event():
    writers = {PACKAGE / "core" / "event_stream.py", *PACKAGE.glob("cli/log*.py")}  # these write the log themselves
    assert any(plain_lines((PACKAGE / "core" / "event_stream.py").read_text("utf-8")))
    files = set(PACKAGE.rglob("*.py")) - writers
    found = {f"{file.relative_to(PACKAGE)}:{line}" for file in files for line in plain_lines(file.read_text("utf-8"))}
    assert found == set()


@pytest.mark.parametrize(
    ("event", "level", "text"),
    [
        pytest.param(
            ForeignFileReplaced(path="/a"), "INFO", "/a: replaces a file that ctemplate did not write", id="no loss"
        ),
        pytest.param(
            ForeignFileReplaced(path="/a", losses=("server b", "server c"), unnamed=2),
            "WARNING",
            "/a: replaces a file that ctemplate did not write; these vanish: server b, server c and 2 more",
            id="losses",
        ),
        pytest.param(
            StateUnusable(path="/s/journal", reason="cannot be removed: busy"),
            "WARNING",
            "/s/journal: cannot be removed: busy",
            id="without a consequence",
        ),
        pytest.param(
            LiveFileEdited(group="g", path="/a", is_removed=True, is_left=True),
            "WARNING",
            "/a: was removed by another program; left as it is",
            id="removed, left",
        ),
        pytest.param(
            LiveFileEdited(group="g", path="/a", is_removed=False, is_left=False),
            "WARNING",
            "/a: was changed by another program; overwritten with the rendered file",
            id="changed, overwritten",
        ),
    ],
)
def test_lines_of_files_depend_on_what_happened(event, level, text):
    assert (logging.getLevelName(event.severity), str(event)) == (level, text)


def test_a_flood_of_lines_is_cut_and_counted(caplog):
    caplog.set_level(logging.INFO)
    now, seen, stream = [0.0], [], EventStream(lines_per_minute=3)
    stream._limit._clock = lambda: now[0]
    with stream.subscribed("metrics", seen.append):
        for number in range(10):
            stream.publish(Readmitted(group="g", service=str(number)))
            stream.publish(Applied(group="g", subject=f"file {number}"))
        now[0] = 59.0
        stream.publish(READ)
        assert "not logged" not in caplog.text
        now[0] = 60.0
        stream.publish(READ)
    assert len(seen) == 22
    assert (
        caplog.messages.count("7 more lines of the event readmitted within a minute are not logged; see its metric")
        == 1
    )
    assert sum("no longer left out" in line for line in caplog.messages) == 3
    assert sum(": applied" in line for line in caplog.messages) == 10
    stream.publish(Readmitted(group="g", service="later"))
    assert "service 'later': no longer left out" in caplog.messages


TWO_LEVELS = {
    events.DefectFound: "ERROR or DEBUG",
    file_events.ForeignFileReplaced: "WARNING or INFO",
    file_events.FormerFilesLeft: "WARNING or INFO",
    file_events.WrittenInPlace: "WARNING or DEBUG",
    host_events.StateUnusable: "ERROR, WARNING or DEBUG",
    host_events.ReleaseUnavailable: "ERROR or WARNING",
    host_events.StatusUnavailable: "ERROR or DEBUG",
    host_events.RunEnded: "INFO or none",
    host_events.ReleaseRefused: "WARNING or DEBUG",
    host_events.HookFailed: "WARNING or DEBUG",
    events.OutageEnded: "INFO or DEBUG",
    events.AddressChanged: "INFO or DEBUG",
    events.ConfigurationNotice: "WARNING or INFO",
    events.InputRefused: "ERROR or WARNING",
}


def level_of(kind):
    """Return the level as the page has it; of those whose level depends on a field, both."""
    if issubclass(kind, GroupFailed):
        return "ERROR or DEBUG"
    if kind in TWO_LEVELS:
        return TWO_LEVELS[kind]
    return "none" if kind.LEVEL == UNLOGGED else logging.getLevelName(kind.LEVEL)
