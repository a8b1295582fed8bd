"""Services: wanted ones run, unwanted ones end, unchanged ones are left alone."""

import asyncio
import contextlib
import logging

import pytest

from ctemplate.core.errors import ConfigError
from ctemplate.core.timing import Backoff
from ctemplate.runtime.services import DaemonService, DaemonServices


class Part:
    """Runs for ever, and notes its starts and ends; one with ``lasting`` ends only when it is told to finish."""

    def __init__(self, log, name, *, error=None, is_stuck=False):
        self.log, self.name, self.error, self.is_stuck = log, name, error, is_stuck
        self.asked = asyncio.Event()

    async def run(self):
        self.log.append(f"{self.name} starts")
        try:
            if self.error is not None:
                error, self.error = self.error, None
                raise error
            await self.asked.wait()
        finally:
            self.log.append(f"{self.name} ends")

    def stop(self):
        self.log.append(f"{self.name} is asked")
        if not self.is_stuck:
            self.asked.set()

    def service(self, *, key=None, is_patient=False):
        return DaemonService(key=key or self.name, name=self.name, run=self.run, stop=self.stop if is_patient else None)


@contextlib.asynccontextmanager
async def services():
    async with asyncio.TaskGroup() as tasks:
        made = DaemonServices(tasks)
        yield made
        await made.reconcile(())


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_wanted_runs_until_it_is_not_and_the_rest_is_left_alone():
    log = []
    a, b, c = (Part(log, name) for name in "abc")
    async with services() as them:
        await them.reconcile([a.service(), b.service()])
        await turn()
        assert log == ["a starts", "b starts"]
        await them.reconcile([a.service(), b.service()])
        await turn()
        assert log == ["a starts", "b starts"]
        await them.reconcile([b.service(), c.service()])
        await turn()
        assert log[2:] == ["a ends", "c starts"]
    assert sorted(log[4:]) == ["b ends", "c ends"]


async def test_another_key_is_another_service_and_the_old_one_ends_first():
    log = []
    old, new = Part(log, "old"), Part(log, "new")
    async with services() as them:
        await them.reconcile([old.service(key=("group", 1))])
        await turn()
        await them.reconcile([new.service(key=("group", 2))])
        await turn()
        assert log == ["old starts", "old ends", "new starts"]


async def test_a_service_that_can_stop_ends_after_its_work():
    log = []
    part = Part(log, "group")
    async with services() as them:
        await them.reconcile([part.service(is_patient=True)])
        await turn()
        await them.reconcile(())
        assert log == ["group starts", "group is asked", "group ends"]


@pytest.mark.looptime
async def test_one_that_does_not_stop_in_time_is_cut_off_and_said(caplog):
    log = []
    part = Part(log, "group", is_stuck=True)
    clock = asyncio.get_running_loop().time
    async with services() as them:
        await them.reconcile([part.service(is_patient=True)])
        await turn()
        began = clock()
        await them.reconcile(())
        assert clock() - began == pytest.approx(20.0)
    assert caplog.messages == ["group: cancelled after 20s"]
    assert log[-1] == "group ends"


async def test_one_that_a_defect_ended_is_begun_again(monkeypatch, caplog):
    monkeypatch.setattr("ctemplate.core.defects.PAUSE", Backoff(first=0.01, ceiling=0.01))
    log = []
    part = Part(log, "a", error=KeyError("defect"))
    async with services() as them:
        await them.reconcile([part.service()])
        async with asyncio.timeout(60):
            while log.count("a starts") < 2:  # noqa: ASYNC110 - the pause sets no event of ours
                await asyncio.sleep(0.01)
    assert [each.levelno for each in caplog.records] == [logging.ERROR]


async def test_what_the_operator_is_to_mend_ends_all():
    part, other = Part([], "a", error=ConfigError("token", "is wrong")), Part([], "b")

    async def run():
        async with services() as them:
            await them.reconcile([part.service(), other.service()])
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup, match="unhandled") as raised:
        await run()
    assert raised.group_contains(ConfigError, match="token")
