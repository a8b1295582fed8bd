"""Threads for blocking calls: each call is made once, by one thread, and none is forgotten."""

import asyncio
import contextlib
import gc
import threading
import weakref
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait

import pytest

from ctemplate.system.blocking_threads import BlockingThreads

LIMIT = 60.0


@contextlib.contextmanager
def threads(count=2):
    pool = BlockingThreads(count)
    try:
        yield pool
    finally:
        pool.shutdown()


def occupied(pool, count):
    """Keep threads busy; return what lets them go on, once all of them are."""
    begun, may_end = threading.Barrier(count + 1), threading.Event()

    def work():
        begun.wait(LIMIT)
        return may_end.wait(LIMIT)

    working = [pool.submit(work) for _ in range(count)]
    begun.wait(LIMIT)
    return may_end, working


def test_a_call_gives_its_result_or_its_error():
    with threads() as pool:
        assert pool.submit(divmod, 7, 2).result(LIMIT) == (3, 1)
        assert pool.submit(int, "11", base=2).result(LIMIT) == 3
        assert isinstance(pool.submit(divmod, 7, 0).exception(LIMIT), ZeroDivisionError)
        assert isinstance(pool.submit(exec, "raise SystemExit(3)").exception(LIMIT), SystemExit)
        assert pool.submit(str, 5).result(LIMIT) == "5"


def test_calls_of_many_threads_are_each_made_once():
    made, lock = [], threading.Lock()

    def work(number):
        with lock:
            made.append(number)
        return number

    with threads(3) as pool, ThreadPoolExecutor(4) as callers:
        begun = callers.map(lambda first: [pool.submit(work, first + each) for each in range(500)], range(0, 4000, 500))
        results = [future.result(LIMIT) for futures in begun for future in futures]
    assert results == sorted(made) == list(range(4000))


def test_calls_wait_in_their_order_while_all_threads_are_busy():
    order = []
    with threads(2) as pool:
        may_end, _ = occupied(pool, 1)
        other, working = occupied(pool, 1)
        waiting = [pool.submit(order.append, number) for number in range(5)]
        assert order == []
        other.set()
        wait(waiting, LIMIT)
        may_end.set()
    assert order == [0, 1, 2, 3, 4]
    assert working[0].result(0) is True


def test_a_cancelled_call_is_not_made():
    made = []
    with threads(1) as pool:
        may_end, _ = occupied(pool, 1)
        cancelled, later = pool.submit(made.append, 1), pool.submit(made.append, 2)
        assert cancelled.cancel()
        may_end.set()
        later.result(LIMIT)
    assert made == [2]


@pytest.mark.parametrize("cancels", [False, True])
def test_a_shutdown_waits_for_the_calls(cancels):
    made, pool = [], BlockingThreads(1)
    may_end, working = occupied(pool, 1)
    waiting = pool.submit(made.append, 1)
    pool.shutdown(wait=False, cancel_futures=cancels)
    with pytest.raises(RuntimeError, match="after a shutdown"):
        pool.submit(made.append, 2)
    may_end.set()
    pool.shutdown()
    assert working[0].result(0) is True
    assert made == ([] if cancels else [1])
    if cancels:
        with pytest.raises(CancelledError):
            waiting.result(0)


def test_a_resting_thread_holds_nothing_in_memory():
    class Data:
        pass

    with threads(1) as pool:
        data = Data()
        known = weakref.ref(data)
        pool.submit(id, data).result(LIMIT)
        pool.submit(id, None).result(LIMIT)
        del data
        gc.collect()
        assert known() is None


def test_asyncio_uses_the_threads_and_ends_them():
    async def work():
        asyncio.get_running_loop().set_default_executor(pool)
        return await asyncio.gather(*(asyncio.to_thread(threading.get_ident) for _ in range(50)))

    pool = BlockingThreads(2)
    found = asyncio.run(work())
    assert 1 <= len(set(found)) <= 2
    assert threading.get_ident() not in found
    assert not {thread.name for thread in threading.enumerate()} & {"blocking_0", "blocking_1"}
