"""No order of answers, wanted queries, renders, edits and failures loses a wake-up: ``wake_model`` with a scheduler."""

import random

import pytest
from budget import examples
from hypothesis import given, settings, strategies as st
from quick_loop import QuickLoop
from wake_model import POISON, Scene


def run(scenario):
    """Run a scenario on a loop whose time passes at once, the same in every run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "random", lambda: 0.5)
        return _run(scenario)


def _run(scenario):
    loop = QuickLoop()
    try:
        return loop.run_until_complete(scenario)
    finally:
        loop.close()


async def interleaving(make_scene, extra, choices):
    """Take steps as chosen, the first possible one where no choice is left; return the faults and the widths met."""
    widths = []
    async with make_scene() as scene:
        left = list(extra)
        while steps := scene.possible() + left[:1]:
            number = choices[len(widths)] if len(widths) < len(choices) else 0
            widths.append(len(steps))
            step = steps[number]
            if step in left[:1]:
                left.pop(0)
            scene.take(step)
            await scene.calm()
        await scene.end()
        return scene.faults(), widths


def every_interleaving(make_scene, extra):
    """Yield the faults of each order in which the possible steps can be taken."""
    choices = []
    while True:
        faults, widths = run(interleaving(make_scene, extra, choices))
        yield choices, faults
        choices += [0] * (len(widths) - len(choices))
        while choices and choices[-1] + 1 >= widths[len(choices) - 1]:
            choices.pop()
        if not choices:
            return
        choices[-1] += 1


SMALL = {
    "two groups over one service": ({"a": "web", "b": "web"}, ("places", "render"), []),
    "a change meanwhile": ({"a": "web", "b": "web"}, ("rendered",), [("set", "web", 2)]),
    "what nobody can print": ({"a": "web"}, ("rendered",), [("set", "web", POISON), ("set", "web", 2)]),
    "what only others asked for": ({"a": "all", "b": "web"}, ("a rendered",), [("set", "web", 2)], POISON),
    "a failed render": ({"a": "web", "b": "web"}, ("rendered",), [("fail", "a", "render"), ("set", "web", 2)]),
    "a failed apply": ({"a": "web", "b": "web"}, ("apply",), [("fail", "a", "apply"), ("set", "web", 2)]),
    "an edit drops a wish": ({"a": "web", "b": "web"}, ("b rendered",), [("edit", "a", "db"), ("set", "web", 2)]),
    "a new service": ({"a": "all", "b": "web"}, ("rendered",), [("set", "new", 1)]),
}


@pytest.mark.parametrize("name", SMALL)
def test_every_interleaving_of_a_small_case_comes_true(name):
    groups, steps, extra, *number = SMALL[name]
    world = {"web": number[0] if number else 1}
    for choices, faults in every_interleaving(lambda: Scene(groups, world=world, steps=steps), extra):
        assert not faults, f"{choices}: {faults}"


NAMES = st.sampled_from(["web", "db", "new"])
GROUPS = {"a": "all", "b": "web", "c": "web", "d": "db"}
EVENTS = st.one_of(
    st.integers(0, 20),  # one of the steps that are possible then
    st.tuples(st.just("set"), NAMES, st.sampled_from([None, 1, 2, 3, POISON])),
    st.tuples(st.just("fail"), st.sampled_from(sorted(GROUPS)), st.sampled_from(["render", "apply"])),
    st.tuples(st.just("edit"), st.sampled_from(sorted(GROUPS)), st.sampled_from(["all", "web", "db", "new"])),
)


async def history(events):
    """Take a long random way; where ``is_calm`` is False the next step comes before anybody noticed the last one."""
    async with Scene(GROUPS, world={"web": 1}, steps=("places", "render", "rendered", "apply")) as scene:
        for event, is_calm in events:
            steps = scene.possible()
            if not isinstance(event, int):
                scene.take(event)
            elif steps:
                scene.take(steps[event % len(steps)])
            if is_calm:
                await scene.calm()
        await scene.end()
        return scene.faults()


@settings(max_examples=examples(60))
@given(st.lists(st.tuples(EVENTS, st.booleans()), min_size=20, max_size=150))
def test_every_long_history_comes_true(events):
    assert run(history(events)) == []
