import asyncio

import pytest

from ctemplate.sources.consul.watching.poll_start import FILES_PATIENCE, PollStart

pytestmark = pytest.mark.looptime


def now():
    return asyncio.get_running_loop().time()


async def after(delay, act):
    await asyncio.sleep(delay)
    act()


async def moment_of(waiting, *events):
    """Return when the waiting ends, with things that happen meanwhile, each after a delay."""
    async with asyncio.TaskGroup() as tasks:
        for delay, act in events:
            tasks.create_task(after(delay, act))
        await waiting
        return now()


async def test_long_polls_wait_until_first_answers_have_stopped_coming():
    start = PollStart(delay=1.0)
    start.note_first_answer()
    assert await moment_of(start.wait(), (0.5, start.note_first_answer)) == pytest.approx(1.5)


async def test_long_polls_of_nodes_begin_when_the_first_files_are_written():
    start, written = PollStart(), asyncio.Event()
    start.note_first_answer()
    assert await moment_of(start.wait_for_files(written), (2.0, written.set)) == pytest.approx(2.0)
    assert await moment_of(start.wait_for_files(written)) == pytest.approx(2.0)


async def test_long_polls_of_nodes_do_not_wait_for_files_that_lack_an_answer_for_ever():
    start, written = PollStart(), asyncio.Event()
    start.note_first_answer()
    assert await moment_of(start.wait_for_files(written), (3.0, start.note_first_answer)) == 3.0 + FILES_PATIENCE
    assert await moment_of(start.wait_for_files(written)) == 3.0 + FILES_PATIENCE


async def test_long_polls_of_nodes_wait_like_others_after_the_first_files():
    start, written = PollStart(delay=10.0), asyncio.Event()
    start.note_first_answer()
    assert await moment_of(start.wait_for_files(written), (2.0, written.set)) == pytest.approx(10.0)
