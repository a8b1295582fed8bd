from pathlib import Path

import pytest

from ctemplate.nginx.errorlog import READ_BYTES, log_tails, read_on
from ctemplate.nginx.verdict import NginxMessage

HEAD = "2026/01/02 03:04:05"
OLD = f"{HEAD} [emerg] 7#7: old\n"
NEW = f"{HEAD} [emerg] 7#7: new\n"
FOUND = (NginxMessage(level="emerg", text="new"),)


@pytest.fixture
def log(tmp_path):
    file = tmp_path / "error.log"
    file.write_text(OLD)
    return file


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(NEW, FOUND, id="refusal"),
        pytest.param(f"{HEAD} [crit] 7#7: new\n", (NginxMessage(level="crit", text="new"),), id="crit"),
        pytest.param(f"{HEAD} [alert] 7#7: new\n", (NginxMessage(level="alert", text="new"),), id="alert"),
        pytest.param(f"{HEAD} [notice] 7#7: reconfiguring\n", (), id="notice"),
        pytest.param(f"{HEAD} [emerg] 8#8: new\n", (), id="another process"),
        pytest.param(f'{HEAD} [error] 8#8: *1 "GET /[emerg] 7#7: x"\n', (), id="imitation in a request"),
        pytest.param(NEW + NEW, FOUND, id="said twice"),
        pytest.param(
            f'{HEAD} [emerg] 7#7: unknown directive "a\nb" in /n.conf:2\n{HEAD} [emerg] 8#8: c\n',
            (NginxMessage(level="emerg", text='unknown directive "a\nb"', file=Path("/n.conf"), line=2),),
            id="line feed",
        ),
    ],
)
def test_refusals_of_one_process_after_the_mark_are_found(log, line, expected):
    tails = log_tails([log], 7)
    with log.open("a") as file:
        file.write(line)
    assert read_on(tails) == (expected, True)


def test_a_rotated_log_is_read_from_its_start(log):
    tails = log_tails([log], 7)
    log.rename(log.with_suffix(".1"))
    log.write_text(NEW)
    assert read_on(tails) == (FOUND, True)


def test_a_truncated_log_is_read_from_its_start(log):
    log.write_text(OLD * 3)
    tails = log_tails([log], 7)
    log.write_text(NEW)
    assert read_on(tails) == (FOUND, True)


def test_a_log_that_did_not_exist_is_read_from_its_start(log):
    log.unlink()
    tails = log_tails([log], 7)
    assert read_on(tails) == ((), True)
    log.write_text(NEW)
    assert read_on(tails) == (FOUND, True)


def test_what_is_no_file_is_left_alone(tmp_path):
    assert log_tails([tmp_path], 7) == ()


def test_a_log_that_grows_fast_is_read_to_its_end_and_each_part_of_it_once(log):
    tails = log_tails([log], 7)
    other = f"{HEAD} [info] 8#8: *1 client closed keepalive connection\n"
    with log.open("a") as file:
        file.write(other * (READ_BYTES // len(other) + 1) + NEW + f"{HEAD} [emerg] 7#7: not wri")
    assert read_on(tails) == ((), False)
    assert read_on(tails) == (FOUND, True)
    log.write_text("x" * log.stat().st_size)  # read again, it would not be there any more
    assert read_on(tails) == (FOUND, True)


def test_a_line_without_an_end_that_exceeds_a_read_is_passed(log):
    tails = log_tails([log], 7)
    with log.open("a") as file:
        file.write("x" * READ_BYTES + "\n" + NEW)
    assert read_on(tails) == ((), False)
    assert read_on(tails) == (FOUND, True)
