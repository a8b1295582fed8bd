import pytest

from ctemplate.nginx.master import NginxWorker, Process
from ctemplate.nginx.reload import proof_time_limit
from ctemplate.nginx.signs import ReloadState, sign
from ctemplate.nginx.verdict import NginxMessage

OLD = (Process(pid=10, started=1), Process(pid=11, started=1))
NEW = Process(pid=12, started=9)
LATER = Process(pid=14, started=9)
REUSED = Process(pid=10, started=9)
FAILED = NginxMessage(level="emerg", text="bind() to 0.0.0.0:80 failed (98: Address already in use)")
GAVE_UP = NginxMessage(level="emerg", text="still could not bind()")


ASIDE = tuple(
    NginxMessage(level="alert", text=text)
    for text in (
        "the changing binary signal is ignored: you should shutdown or terminate before either old or new binary's",
        "kill(10, 15) failed (3: No such process)",
        "sendmsg() failed (32: Broken pipe)",
    )
)


def exited(pid):
    return NginxMessage(level="alert", text=f"worker process {pid} exited on signal 9")


def running(*processes):
    return tuple(NginxWorker(process=process, is_draining=False) for process in processes)


def ending(*processes):
    return tuple(NginxWorker(process=process, is_draining=True) for process in processes)


@pytest.mark.parametrize(
    ("now", "said", "expected"),
    [
        pytest.param(running(*OLD), (), ReloadState.NONE, id="nothing yet"),
        pytest.param(running(*OLD, NEW), (), ReloadState.BESIDE, id="new ones beside old ones"),
        pytest.param(running(OLD[0], NEW), (), ReloadState.NONE, id="a worker was replaced"),
        pytest.param((*ending(OLD[0]), *running(OLD[1], NEW)), (), ReloadState.BESIDE, id="one old left"),
        pytest.param(running(*OLD, NEW), (GAVE_UP,), ReloadState.BESIDE, id="a later reload was refused"),
        pytest.param((*ending(*OLD), *running(NEW)), (), ReloadState.TAKEN, id="old ones finish"),
        pytest.param(running(NEW), (), ReloadState.TAKEN, id="old ones gone"),
        pytest.param(running(REUSED), (), ReloadState.TAKEN, id="pid of an old one"),
        pytest.param(ending(*OLD), (), ReloadState.NONE, id="no new ones yet"),
        pytest.param((), (), ReloadState.NONE, id="nobody"),
        pytest.param(ending(*OLD, NEW), (), ReloadState.NONE, id="all end"),
        pytest.param(running(*OLD), (FAILED,), ReloadState.NONE, id="bind is tried again"),
        pytest.param(running(NEW), (FAILED,), ReloadState.TAKEN, id="bind worked in the end"),
        pytest.param(running(*OLD), (FAILED, GAVE_UP), ReloadState.REFUSED, id="refused"),
        pytest.param(running(OLD[0], NEW), (GAVE_UP,), ReloadState.NONE, id="refused, or a worker was replaced"),
        pytest.param(running(NEW), (exited(10),), ReloadState.TAKEN, id="an old one was killed"),
        pytest.param(running(NEW), ASIDE, ReloadState.TAKEN, id="an upgrade, and an old one that was killed"),
        pytest.param((), (exited(12),), ReloadState.BROKEN, id="a new one was killed"),
        pytest.param(ending(*OLD), (GAVE_UP,), ReloadState.BROKEN, id="failure after the change"),
        pytest.param(running(NEW), tuple(map(exited, (10, 11))), ReloadState.NONE, id="all old ones crashed"),
        pytest.param(running(NEW, LATER, REUSED), (exited(10), exited(11)), ReloadState.TAKEN, id="and more run"),
        pytest.param(running(*OLD, NEW), (exited(9),), ReloadState.NONE, id="one crashed right before"),
        pytest.param(running(*OLD, NEW), (exited(9), GAVE_UP), ReloadState.NONE, id="and the reload was refused"),
        pytest.param(running(*OLD, NEW, LATER), (exited(13),), ReloadState.BESIDE, id="one of the new ones crashed"),
    ],
)
def test_signs_of_a_reload(now, said, expected):
    assert sign(frozenset(OLD), now, said) is expected


def test_the_time_limit_leaves_nginx_its_retries_and_grows_with_size():
    assert proof_time_limit(0) == 6.0
    assert proof_time_limit(2 * 2**20) == 16.0


def test_a_new_worker_beside_old_ones_is_a_reload_once_it_is_done_and_nothing_refused():
    assert sign(frozenset(OLD), running(OLD[0], NEW), (), is_done=True) is ReloadState.BESIDE
    assert sign(frozenset(OLD), running(OLD[0], NEW), (GAVE_UP,), is_done=True) is ReloadState.REFUSED


def test_workers_in_place_of_crashed_ones_are_a_reload_once_it_is_done_and_nothing_refused():
    crashed = tuple(map(exited, (10, 11)))
    assert sign(frozenset(OLD), running(NEW, LATER), crashed, is_done=True) is ReloadState.TAKEN
    assert sign(frozenset(OLD), running(NEW, LATER), (*crashed, GAVE_UP), is_done=True) is ReloadState.BROKEN


def test_an_old_worker_that_ended_and_whose_end_was_not_noted_yet_may_have_crashed():
    assert sign(frozenset(OLD), running(NEW), (exited(10),), unreaped=[OLD[1]]) is ReloadState.NONE
    assert sign(frozenset(OLD), running(NEW), (exited(10),)) is ReloadState.TAKEN


def test_a_worker_that_was_being_started_when_the_reload_began_is_no_new_one_of_it():
    assert sign(frozenset(OLD), running(*OLD, NEW), (), forming=1) is ReloadState.NONE
    assert sign(frozenset(OLD), running(*OLD, NEW, LATER), (), forming=1) is ReloadState.BESIDE
