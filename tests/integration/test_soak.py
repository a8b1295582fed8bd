"""Two minutes of random changes and faults, with every byte compared. Long form: `make soak`."""

import pytest

from bench.soak import soaked

SECONDS = 120.0


@pytest.mark.timeout(900)
def test_random_changes_and_faults_leave_no_byte_wrong_no_reload_missing_and_nothing_growing(tmp_path):
    result = soaked(tmp_path, seconds=SECONDS, seed=1)
    assert result.faults == []
