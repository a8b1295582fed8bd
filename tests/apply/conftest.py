"""A site for tests of the apply step."""

import pytest
from model_program import Site


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def pair(tmp_path):
    return Site(tmp_path, "a.conf", "b.conf")
