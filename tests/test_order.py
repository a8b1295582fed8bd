"""The order in which tests run side by side."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from order import INTEGRATION, LONG, in_shares, sizes


@dataclass(frozen=True)
class Item:
    path: Path
    number: int


def items(**modules):
    """Return so many tests of each module; a name that begins with `i_` is an integration test's."""
    folders = {True: INTEGRATION, False: INTEGRATION.parent}
    return [
        Item(folders[name.startswith("i_")] / f"test_{name.removeprefix('i_')}.py", number)
        for name, count in modules.items()
        for number in range(count)
    ]


MANY = {"a": 40, "i_x": 10, "i_kill": 4, "i_packages": 5, "b": 50, "i_y": 9, "c": 1}


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
@pytest.mark.parametrize(
    "modules",
    [
        pytest.param(MANY, id="all"),
        pytest.param({"a": 9, "b": 3}, id="unit-tests"),
        pytest.param({"i_x": 30, "i_packages": 1}, id="integration-tests"),
        pytest.param({"a": 1}, id="one"),
        pytest.param({}, id="none"),
    ],
)
def test_every_test_runs_once(modules, processes):
    given = items(**modules)
    assert Counter(in_shares(given, processes)) == Counter(given)


def test_each_share_begins_with_what_takes_long_and_ends_with_unit_tests():
    order = in_shares(items(**MANY), 3)
    starts = [sum(sizes(len(order), 3)[:number]) for number in range(3)]
    assert [order[start].path.name for start in starts] == ["test_packages.py", "test_kill.py", "test_x.py"]
    shares = [order[start : start + size] for start, size in zip(starts, sizes(len(order), 3), strict=True)]
    assert all(INTEGRATION not in share[-1].path.parents for share in shares)


def test_modules_that_take_long_exist():
    assert [name for name in LONG if not (INTEGRATION / name).exists()] == []
