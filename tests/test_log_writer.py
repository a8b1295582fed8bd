import fcntl
import io
import logging
import os
import threading

import pytest

from ctemplate.cli import log_writer
from ctemplate.cli.log_writer import LogWriter
from ctemplate.cli.logs import QueuedHandler, TextFormatter

SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ
LINE = "x" * 99 + "\n"


@pytest.fixture
def pipe():
    """Return the reading descriptor of a small pipe and the stream that writes into it."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, SET_PIPE_SIZE, 4096)
    stream = os.fdopen(writer, "w")
    yield reader, stream
    os.close(reader)
    stream.close()


@pytest.fixture
def started():
    """Return a function that starts a writer, which is closed at the end."""
    writers = []

    def start(*args):
        writers.append(LogWriter(*args))
        return writers[-1]

    yield start
    for writer in writers:
        writer.close()


def read_to_end(reader):
    with os.fdopen(os.dup(reader)) as file:
        return file.read()


def test_lines_are_written_in_order(pipe, started):
    reader, stream = pipe
    writer = started(stream)
    for number in range(20):
        writer.put(f"{number}\n")
    writer.flush()
    stream.close()
    assert read_to_end(reader) == "".join(f"{number}\n" for number in range(20))


def test_a_stream_that_is_no_file_is_written_too(started):
    stream = io.StringIO()
    writer = started(stream)
    writer.put("line\n")
    writer.flush()
    assert stream.getvalue() == "line\n"


def test_a_reader_that_stops_delays_no_writer_and_gets_a_count_of_lost_lines(pipe, started, monkeypatch):
    monkeypatch.setattr(log_writer, "LIMIT_CHARACTERS", 10_000)
    reader, stream = pipe
    writer = started(stream, lambda count: f"{count} lost\n")
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


def test_a_reader_that_is_gone_is_not_waited_for(started, monkeypatch):
    monkeypatch.setattr(log_writer, "AGAIN_SECONDS", 0.01)
    reader, descriptor = os.pipe()
    os.close(reader)
    with os.fdopen(descriptor, "w") as stream:
        writer = started(stream)
        writer.put(LINE)
        writer.flush(60)
        writer.put(LINE)
        writer.flush(60)


def test_a_stream_that_others_made_non_blocking_is_waited_for(pipe, started):
    reader, stream = pipe
    os.set_blocking(stream.fileno(), False)
    writer = started(stream)
    for _ in range(100):
        writer.put(LINE)
    assert os.read(reader, 5) == b"xxxxx"
    text = "xxxxx"
    while len(text) < 100 * len(LINE):
        text += os.read(reader, 4096).decode()
    assert text == LINE * 100
    writer.flush()
    stream.close()


def test_the_loss_is_a_log_line(pipe, started):
    _, stream = pipe
    writer = started(stream)
    handler = QueuedHandler(writer, waits=False)
    handler.setFormatter(TextFormatter())
    assert writer.lost(2).endswith("Z WARNING stderr: 2 lines of the log could not be written\n")
    assert writer.lost(1).endswith(" 1 line of the log could not be written\n")
    stream.close()


def test_a_command_that_waits_has_its_line_written_before_it_goes_on(pipe, started):
    reader, stream = pipe
    handler = QueuedHandler(started(stream), waits=True)
    handler.emit(logging.makeLogRecord({"msg": "said"}))
    os.set_blocking(reader, False)
    assert os.read(reader, 100) == b"said\n"
    stream.close()


def test_a_closed_writer_ends_although_no_reader_takes_anything(pipe):
    _, stream = pipe
    before = threading.active_count()
    writer = LogWriter(stream)
    for _ in range(1000):
        writer.put(LINE)
    writer.close()  # returns, and its thread is gone
    assert threading.active_count() == before
    writer.put(LINE)
    writer.flush(60)
    writer.close()


def test_a_closed_writer_has_written_what_found_room(pipe):
    reader, stream = pipe
    writer = LogWriter(stream)
    writer.put(LINE)
    writer.put(LINE)
    writer.close()
    os.set_blocking(reader, False)
    assert os.read(reader, 1000).decode() == LINE * 2


def test_the_writer_of_the_stream_before_is_closed():
    before = threading.active_count()
    first, second = io.StringIO(), io.StringIO()
    writer = log_writer.log_writer(first)
    assert log_writer.log_writer(first) is writer
    log_writer.log_writer(second).close()
    log_writer.log_writer(io.StringIO()).close()
    assert threading.active_count() <= before
    writer.put("late")
    assert first.getvalue() == ""
