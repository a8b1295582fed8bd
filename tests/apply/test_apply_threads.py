import asyncio
import threading

import pytest

from ctemplate.system.threads import run_uncancellable


async def test_work_returns_its_result_and_raises_its_error():
    assert await run_uncancellable(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await run_uncancellable(divmod, 7, 0)


@pytest.mark.parametrize("cancellations", [1, 3])
async def test_a_cancellation_waits_for_the_work(cancellations):
    entered, may_end, done = threading.Event(), threading.Event(), []

    def work():
        entered.set()
        may_end.wait(30)
        done.append("done")

    task = asyncio.create_task(run_uncancellable(work))
    await asyncio.to_thread(entered.wait, 30)
    for _ in range(cancellations):
        task.cancel()
        await asyncio.wait({task}, timeout=0.01)
        assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["done"]


async def test_an_error_of_cancelled_work_is_not_reported_as_lost():
    entered, may_end = threading.Event(), threading.Event()

    def work():
        entered.set()
        may_end.wait(30)
        raise OSError

    task = asyncio.create_task(run_uncancellable(work))
    await asyncio.to_thread(entered.wait, 30)
    task.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
