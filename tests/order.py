"""In which order tests run side by side: what takes long begins first, so that no process waits for another in the end.

pytest-xdist gives each process a share of the list, one after the other, and whoever has nothing left takes the end of
the longest rest. So each share begins with modules that take minutes, goes on with other integration tests, whole
modules, and ends with unit tests, which are short.
"""

import os
from itertools import chain, groupby, islice
from pathlib import Path

INTEGRATION = Path(__file__).parent / "integration"

# Modules that take a minute or more, the longest first
LONG = (
    "test_packages.py",
    "test_soak.py",
    "test_guard.py",
    "test_kill.py",
    "test_cluster.py",
    "test_masters.py",
    "test_guard_agents.py",
    "test_hostile_files.py",
    "test_culprits.py",
    "test_trouble.py",
)


def in_shares(items: list, processes: int) -> list:
    """Return the tests in the order for so many processes."""
    modules = [list(group) for _, group in groupby(items, key=lambda item: item.path)]
    heavy = sorted((module for module in modules if INTEGRATION in module[0].path.parents), key=_rank)
    light = iter([item for module in modules if INTEGRATION not in module[0].path.parents for item in module])
    shares: list[list] = [[] for _ in range(processes)]
    for at, module in enumerate(heavy):
        is_long = module[0].path.name in LONG
        (shares[at % processes] if is_long else min(shares, key=len)).extend(module)
    for share, size in zip(shares, sizes(len(items), processes), strict=True):
        share.extend(islice(light, max(0, size - len(share))))
    return [*chain.from_iterable(shares), *light]


def sizes(count: int, processes: int) -> list[int]:
    """Return how many tests each process gets at first, as pytest-xdist divides them."""
    found = []
    for left in range(processes, 0, -1):
        found.append(count // left)
        count -= found[-1]
    return found


def processes() -> int:
    """Return how many processes run these tests."""
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def _rank(module: list) -> int:
    name = module[0].path.name
    return LONG.index(name) if name in LONG else len(LONG)
