"""The paths of the programs under test, found by the rule of scripts/tools.sh."""

import functools
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@functools.cache
def program(name: str) -> str:
    """Return the path of `nginx`, `consul` or `stream-module`; fail the test with what to do when it is nowhere."""
    found = subprocess.run([ROOT / "scripts/tools.sh", "which", name], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.fail(found.stderr.strip(), pytrace=False)
    return found.stdout.strip()
