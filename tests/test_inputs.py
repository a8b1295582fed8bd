import os
import sys
import threading
import time
from pathlib import Path

import pytest

from ctemplate.system import inputs
from ctemplate.system.inputs import MIB, NotUtf8Error, read_input, read_plain_file, real_path, text_in

LIMIT = MIB


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(inputs, "PIPE_SECONDS", 0.3)
    monkeypatch.setattr(inputs, "NAMED_PIPE_SECONDS", 0.3)


def test_a_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * LIMIT)
    assert read_input(path, limit_bytes=LIMIT) == b"x" * LIMIT
    path.write_bytes(b"x" * (LIMIT + 1))
    with pytest.raises(OSError, match="has more than 1 MiB"):
        read_input(path, limit_bytes=LIMIT)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        pytest.param("/dev/zero", "is a device, not a file", id="endless device"),
        pytest.param("/", "Is a directory", id="folder"),
        pytest.param("/proc/self/fd/nothing", "No such file or directory", id="nothing"),
    ],
)
def test_what_is_no_file_is_an_error(path, what):
    with pytest.raises(OSError, match=what) as caught:
        read_input(Path(path), limit_bytes=LIMIT)
    assert str(caught.value.filename) == path


def test_files_without_a_size_are_read():
    assert b"Linux" in read_input(Path("/proc/version"), limit_bytes=LIMIT)
    assert read_input(Path("/dev/null"), limit_bytes=LIMIT) == b""


def test_a_file_that_would_be_waited_for_is_an_error(tmp_path):
    """As `/proc/kmsg`, which seems to be a regular file; a test that read it would take its lines from the system."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    unread = pytest.raises(OSError, match="gives nothing without waiting")
    with os.fdopen(reader, "rb") as file, os.fdopen(writer, "wb"), unread:
        inputs._chunk(file, tmp_path, 10)


def test_a_plain_file_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is a pipe, not a file"):
        read_plain_file(tmp_path / "pipe", limit_bytes=LIMIT)
    (tmp_path / "file").write_bytes(b"text")
    assert read_plain_file(tmp_path / "file", limit_bytes=sys.maxsize) == b"text"


def writing(descriptor, *chunks, closes=True):
    def write():
        for chunk in chunks:
            os.write(descriptor, chunk)
            time.sleep(0.01)
        if closes:
            os.close(descriptor)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_a_pipe_is_read_to_its_end():
    reader, writer = os.pipe()
    thread = writing(writer, b"a" * 100_000, b"b" * 100_000)
    path = Path(f"/dev/fd/{reader}")
    assert read_input(path, limit_bytes=LIMIT) == b"a" * 100_000 + b"b" * 100_000
    thread.join()
    with pytest.raises(OSError, match="is a pipe in which nothing is left to read"):
        read_input(path, limit_bytes=LIMIT)
    os.close(reader)


@pytest.mark.usefixtures("short")
def test_a_pipe_without_an_end_is_an_error():
    reader, writer = os.pipe()
    path = Path(f"/dev/fd/{reader}")
    with pytest.raises(OSError, match=r"is a pipe that gave nothing within 0\.3s"):
        read_input(path, limit_bytes=LIMIT)
    os.write(writer, b"half")
    with pytest.raises(OSError, match=r"is a pipe that gave 4 bytes, and no end within 0\.3s"):
        read_input(path, limit_bytes=LIMIT)
    os.close(reader)
    os.close(writer)


def test_a_pipe_that_says_too_much_is_an_error():
    reader, writer = os.pipe()
    thread = writing(writer, b"a" * 40_000)
    with pytest.raises(OSError, match="has more than 0 MiB"):
        read_input(Path(f"/dev/fd/{reader}"), limit_bytes=10_000)
    thread.join()
    os.close(reader)


@pytest.mark.usefixtures("short")
def test_a_pipe_with_a_name_and_without_a_writer_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match=r"is a pipe that gave nothing within 0\.3s"):
        read_input(tmp_path / "fifo", limit_bytes=LIMIT)


def test_links_that_lead_to_each_other_have_a_real_path(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("file")
    assert real_path(tmp_path / "loop" / "x") == tmp_path / "loop" / "x"
    assert real_path(tmp_path / "link") == tmp_path / "file"


@pytest.mark.parametrize(("content", "text"), [(b"", ""), (b"\xef\xbb\xbfa\xc3\xa9", "aé"), (b"a\r\n", "a\r\n")])
def test_a_text_is_read_without_the_mark_of_an_editor(content, text):
    assert text_in(content) == text


@pytest.mark.parametrize(
    ("content", "place"),
    [(b"\xff\xfea\0", (1, 1)), (b"a\nb\xe9", (2, 2)), (b"\xef\xbb\xbf\xe9", (1, 1)), (b"a\n\n\xc3", (3, 1))],
)
def test_what_is_no_text_is_reported_with_its_place(content, place):
    with pytest.raises(NotUtf8Error, match=r"is not UTF-8: byte 0x..; save the file as UTF-8") as error:
        text_in(content)
    assert (error.value.line, error.value.column) == place
