"""Settings for every test."""

import asyncio

from hypothesis import HealthCheck, settings

# One profile for all properties: a slow or busy machine never fails a test.
settings.register_profile("ctemplate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ctemplate")

LOOP = asyncio.new_event_loop()


def pytest_configure():
    """Give pytest-asyncio a loop to put back after each test; it would make one and leave it open."""
    asyncio.set_event_loop(LOOP)


def pytest_unconfigure():
    LOOP.close()
