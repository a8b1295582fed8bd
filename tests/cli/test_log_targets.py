"""The log's targets beside stderr: a file that may be renamed, syslog, and the journal's priorities."""

import io
import json
import logging
import os
import socket
import threading

import pytest

from ctemplate.cli import log_targets
from ctemplate.cli.logs import JournalFormatter, JsonFormatter, TextFormatter, is_journal
from ctemplate.core.errors import ConfigError
from ctemplate.core.group_events import Applied


@pytest.fixture
def logged():
    """Return a function that gives a logger with targets; they are closed in the end."""
    made, logger = [], logging.getLogger("log-targets")
    logger.propagate, logger.level = False, logging.DEBUG

    def start(formatter=None, **options):
        made.append(log_targets.log_targets(formatter or TextFormatter(), **options))
        logger.addHandler(made[-1])
        return logger, made[-1]

    yield start
    for target in made:
        logger.removeHandler(target)
        target.close()


def test_a_file_gets_every_line_and_is_opened_anew_when_it_was_moved(tmp_path, logged):
    file, moved = tmp_path / "c.log", tmp_path / "c.log.1"
    file.write_text("before\n")
    logger, _ = logged(file=str(file))
    logger.info("one")
    wait_until(lambda: "INFO one\n" in file.read_text())
    file.rename(moved)
    logger.info("two")
    wait_until(lambda: file.exists() and file.read_text().endswith("INFO two\n"))
    assert moved.read_text().startswith("before\n")
    assert "two" not in moved.read_text()


def test_a_pipe_that_nothing_reads_is_refused_at_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="cannot be opened: nothing reads this pipe"):
        log_targets.LogFile(str(pipe))


def test_a_pipe_that_is_read_gets_every_line(tmp_path, logged):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)) as reader:
        logger, target = logged(file=str(pipe))
        logger.info("one")
        logger.info("two")
        target.close()
        assert [line.split()[-1] for line in reader.read().splitlines()] == ["one", "two"]


def wait_until(condition):
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("nothing was written")


def test_events_reach_a_file_with_their_fields(tmp_path, logged):
    logger, target = logged(JsonFormatter(), file=str(tmp_path / "c.log"))
    event = Applied(group="edge", subject="nginx.conf")
    logger.log(logging.INFO, "%s", event, extra={"event": event})
    target.close()
    assert json.loads((tmp_path / "c.log").read_text())["fields"]["group"] == "edge"


def test_a_file_that_cannot_be_opened_is_an_error_of_the_configuration(tmp_path):
    with pytest.raises(ConfigError, match=r"^log_file: .*: cannot be opened: no such file or directory$"):
        log_targets.log_targets(TextFormatter(), file=str(tmp_path / "none" / "c.log"))


def test_a_writer_that_hangs_delays_no_caller_and_losses_are_counted(monkeypatch):
    held, written = threading.Event(), []

    class Hanging(logging.Handler):
        def emit(self, record):
            held.wait(60)
            written.append(record.getMessage())

    monkeypatch.setattr(log_targets, "QUEUED_RECORDS", 3)
    target = log_targets.TargetQueue(Hanging())
    for number in range(10):
        target.handle(logging.makeLogRecord({"msg": f"line {number}"}))
    held.set()
    wait_until(lambda: len(written) >= 3)
    wait_until(target.queue.empty)
    target.handle(logging.makeLogRecord({"msg": "last"}))
    target.close()
    assert written[0] == "line 0"
    assert written[-1] == "last"
    assert any("found no room" in line for line in written)


def test_syslog_gets_facility_priority_and_name(tmp_path, logged, monkeypatch):
    path = str(tmp_path / "log")
    monkeypatch.setattr(log_targets, "SYSLOG_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(60)
        logger, _ = logged(syslog="LOCAL5", name="edge")
        logger.error("bad")
        logger.info("well")
        first, second = listener.recv(4096).decode(), listener.recv(4096).decode()
    local5 = 21
    assert first.startswith(f"<{local5 * 8 + 3}>edge: ")
    assert first.endswith("ERROR bad")
    assert second.startswith(f"<{local5 * 8 + 6}>edge: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"syslog": "LOCAL9"}, "syslog_facility: must be one of auth, ", id="facility"),
        pytest.param({"syslog": "LOCAL0"}, "syslog: no syslog listens at ", id="nobody listens"),
    ],
)
def test_a_syslog_that_cannot_be_had_is_an_error_of_the_configuration(tmp_path, monkeypatch, options, message):
    monkeypatch.setattr(log_targets, "SYSLOG_SOCKET", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=f"^{message}"):
        log_targets.log_targets(TextFormatter(), **options)


@pytest.mark.parametrize(("level", "priority"), [("ERROR", 3), ("WARNING", 4), ("INFO", 6), ("DEBUG", 7)])
def test_each_line_for_the_journal_has_its_priority(level, priority):
    number = logging.getLevelName(level)
    record = logging.makeLogRecord({"levelno": number, "levelname": level, "msg": "one\n    two"})
    first, second = JournalFormatter(TextFormatter()).format(record).split("\n")
    assert first.startswith(f"<{priority}>")
    assert second == f"<{priority}>    two"


def test_the_journal_is_known_by_device_and_inode(tmp_path):
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        assert is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, stream)
        assert not is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"}, stream)
        assert not is_journal({}, stream)
    assert not is_journal({"JOURNAL_STREAM": "1:1"}, io.StringIO())
