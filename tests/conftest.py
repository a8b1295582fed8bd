"""Settings for every test."""

import asyncio

LOOP = asyncio.new_event_loop()


def pytest_configure():
    """Give pytest-asyncio a loop to put back after each test; it would make one and leave it open."""
    asyncio.set_event_loop(LOOP)


def pytest_unconfigure():
    LOOP.close()
