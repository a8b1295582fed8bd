import fcntl
import io
import itertools
import logging
import os
import threading

import pytest

from ctemplate.cli import log_writer
from ctemplate.cli.log_writer import LogWriter
from ctemplate.cli.logs import QueuedHandler, TextFormatter

SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ
LINE = "x" * 99 + "\n"


NUMBERS = itertools.count(300)  # of descriptors, none twice: a writer that a test left waiting writes to its own


@pytest.fixture
def pipe():
    """Return the reading descriptor of a small pipe and the stream that writes into it."""
    reader, lowest = os.pipe()
    descriptor = fcntl.fcntl(lowest, fcntl.F_DUPFD, next(NUMBERS))
    os.close(lowest)
    fcntl.fcntl(descriptor, SET_PIPE_SIZE, 4096)
    stream = os.fdopen(descriptor, "w")
    before = set(threading.enumerate())
    yield reader, stream
    os.close(reader)
    for thread in set(threading.enumerate()) - before:
        thread.join(5.0)  # one that went on would write to whatever gets its descriptor's number next


def read_to_end(reader):
    with os.fdopen(os.dup(reader)) as file:
        return file.read()


def test_lines_are_written_in_order(pipe):
    reader, stream = pipe
    writer = LogWriter(stream)
    for number in range(20):
        writer.put(f"{number}\n")
    writer.flush()
    stream.close()
    assert read_to_end(reader) == "".join(f"{number}\n" for number in range(20))


def test_a_stream_that_is_no_file_is_written_too():
    stream = io.StringIO()
    writer = LogWriter(stream)
    writer.put("line\n")
    writer.flush()
    assert stream.getvalue() == "line\n"


def test_who_does_not_read_holds_nobody_up_and_is_told_what_is_lost(pipe, monkeypatch):
    monkeypatch.setattr(log_writer, "LIMIT_CHARACTERS", 10_000)
    reader, stream = pipe
    writer = LogWriter(stream, lambda count: f"{count} lost\n")
    for _ in range(1000):
        writer.put(LINE)  # 100 KB into a pipe of 4 KB: whoever waited would wait for ever
    writer.flush(0.2)  # gives up
    writer.flush(60)  # does not even try again
    text = ""
    while "lost\n" not in text:
        text += os.read(reader, 4096).decode()
    *lines, told = text.splitlines(keepends=True)
    assert set(lines) == {LINE}
    assert told == f"{1000 - len(lines)} lost\n"
    writer.put("again\n")
    writer.flush()
    assert os.read(reader, 4096) == b"again\n"
    stream.close()


def test_a_reader_that_is_gone_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(log_writer, "AGAIN_SECONDS", 0.01)
    reader, descriptor = os.pipe()
    os.close(reader)
    with os.fdopen(descriptor, "w") as stream:
        writer = LogWriter(stream)
        writer.put(LINE)
        writer.flush(60)
        writer.put(LINE)
        writer.flush(60)


def test_a_stream_that_others_made_non_blocking_is_waited_for(pipe):
    reader, stream = pipe
    os.set_blocking(stream.fileno(), False)
    writer = LogWriter(stream)
    for _ in range(100):
        writer.put(LINE)
    assert os.read(reader, 5) == b"xxxxx"
    text = "xxxxx"
    while len(text) < 100 * len(LINE):
        text += os.read(reader, 4096).decode()
    assert text == LINE * 100
    writer.flush()
    stream.close()


def test_the_loss_is_a_log_line(pipe):
    _, stream = pipe
    writer = LogWriter(stream)
    handler = QueuedHandler(writer, waits=False)
    handler.setFormatter(TextFormatter())
    assert writer.lost(2).endswith("Z WARNING stderr: 2 lines of the log could not be written\n")
    assert writer.lost(1).endswith(" 1 line of the log could not be written\n")
    stream.close()


def test_a_command_that_waits_has_its_line_written_before_it_goes_on(pipe):
    reader, stream = pipe
    handler = QueuedHandler(LogWriter(stream), waits=True)
    handler.emit(logging.makeLogRecord({"msg": "said"}))
    os.set_blocking(reader, False)
    assert os.read(reader, 100) == b"said\n"
    stream.close()
