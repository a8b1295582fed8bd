import contextlib

import pytest
from model_program import Killer

from ctemplate.apply import Step
from ctemplate.core.errors import ApplyError
from ctemplate.core.model import Outcome

OLD, NEW = (b"a1", b"b1"), (b"a2", b"b2")


@pytest.mark.parametrize(
    ("content", "step", "expected"),
    [
        pytest.param(b"b2", Step.SURVEYED, (OLD, False), id="surveyed"),
        pytest.param(b"b2", Step.STAGED, (OLD, False), id="staged"),
        pytest.param(b"b2", Step.CHECKED, (OLD, False), id="checked"),
        pytest.param(b"b2", Step.JOURNALED, (OLD, False), id="journaled"),
        pytest.param(b"b2", Step.SWAPPING, (OLD, True), id="half swapped"),
        pytest.param(b"b2", Step.SWAPPED, (OLD, True), id="swapped"),
        pytest.param(b"b2", Step.RELOADED, (OLD, True), id="reloaded"),
        pytest.param(b"b2", Step.RECORDED, (NEW, False), id="recorded"),
        pytest.param(b"port", Step.SWAPPED, (OLD, True), id="rejected, swapped"),
        pytest.param(b"port", Step.RESTORING, (OLD, True), id="rejected, half restored"),
        pytest.param(b"port", Step.RESTORED, (OLD, False), id="rejected, restored"),
        pytest.param(b"slow", Step.RESTORING, (OLD, True), id="unproven, half restored"),
        pytest.param(b"slow", Step.RESTORED, (OLD, True), id="unproven, restored"),
    ],
)
async def test_a_start_after_a_kill(pair, content, step, expected):
    await pair.apply(*OLD)
    killer = Killer(pair, step)
    with contextlib.suppress(ApplyError):
        await pair.apply(b"a2", content, observe=killer)
    assert killer.step is step
    killer.strike()
    pair.recover()
    live, owes_reload = expected
    assert (pair.live, pair.owes_reload) == (live, owes_reload)
    assert pair.tree == ["a.conf", "b.conf"]
    assert await pair.apply(*live) is (Outcome.APPLIED if owes_reload else Outcome.UNCHANGED)
    assert tuple(pair.program.running.values()) == pair.live
    assert await pair.apply(*NEW) is (Outcome.UNCHANGED if live == NEW else Outcome.APPLIED)


@pytest.mark.parametrize("step", [step for step in Step if step not in {Step.RESTORING, Step.RESTORED}])
async def test_a_start_after_a_kill_without_a_program(pair, step):
    await pair.apply(*OLD, reload=None, check=None)
    killer = Killer(pair, step)
    await pair.apply(*NEW, reload=None, check=None, observe=killer)
    assert killer.step is step
    killer.strike()
    pair.recover()
    live = NEW if step is Step.RECORDED else OLD
    assert (pair.live, pair.tree) == (live, ["a.conf", "b.conf"])
    await pair.apply(*live, reload=None, check=None)
    again = await pair.apply(*NEW, reload=None, check=None)
    assert (again, pair.live) == (Outcome.UNCHANGED if live == NEW else Outcome.APPLIED, NEW)


@pytest.mark.parametrize("step", [Step.RESTORING, Step.RESTORED])
async def test_a_kill_during_recovery_forgets_nothing(pair, step):
    await pair.apply(*OLD)
    killer = Killer(pair, Step.RELOADED)
    await pair.apply(*NEW, observe=killer)
    killer.strike()
    killer = Killer(pair, step)
    pair.recover(killer)
    killer.strike()
    pair.recover()
    assert (pair.live, pair.owes_reload) == (OLD, True)


async def test_the_first_apply_of_all_is_taken_back_as_well(site):
    killer = Killer(site, Step.RELOADED)
    await site.apply(b"one", observe=killer)
    killer.strike()
    site.recover()
    assert (site.live, site.owes_reload) == ((None,), True)
    assert await site.apply(b"one") is Outcome.APPLIED
