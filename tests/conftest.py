"""Settings for every test."""

import asyncio
import fcntl
import gc
import hashlib
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from budget import examples
from hypothesis import HealthCheck, settings
from order import in_shares, processes

# One profile for all properties: neither a slow or busy machine nor the luck of a draw fails a test. Where CI is set,
# hypothesis draws the same examples in every run; elsewhere, and in a campaign, it looks for new ones.
BY_LUCK = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
settings.register_profile("ctemplate", max_examples=examples(100), deadline=None, suppress_health_check=BY_LUCK)
settings.load_profile("ctemplate")

LOOP = asyncio.new_event_loop()

# Folders of tests stand below one for each checkout: pytest closes the folder above them to other users whenever it
# starts, and with it would close those of a run for another checkout, whose tests let another user in.
ABOVE = Path(tempfile.gettempdir()) / f"ct-{os.geteuid()}-{hashlib.sha256(__file__.encode()).hexdigest()[:4]}"
ABOVE.mkdir(mode=0o755, exist_ok=True)
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(ABOVE))
os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # Debian's nginx, for an ordinary user


@pytest.fixture
def leap():
    """Put the running loop's clock ahead, `leap(3600)`: a time limit ends when the test says so, not the machine."""

    def ahead(seconds):
        loop = asyncio.get_running_loop()
        time = loop.time
        loop.time = lambda: time() + seconds

    return ahead


def pytest_runtest_setup(item):
    """Skip, before any fixture, what an ordinary user cannot do."""
    if item.get_closest_marker("needs_root") and os.geteuid() != 0:
        pytest.skip("needs root")


def pytest_configure(config):
    """Give pytest-asyncio a loop to put back after each test (it would make one and leave it open), and Ctrl-C.

    The limit of a test grows with the number of its examples.
    """
    config.option.timeout = config.option.timeout or examples(float(config.getini("timeout")))
    gc.disable()  # while thousands of tests are collected, none of which is garbage
    asyncio.set_event_loop(LOOP)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a background job; what tests start would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):  # ignored under nohup and in a background job
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # a handler is not inherited


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Let one of several processes collect before the others: it compiles the tests for all of them."""
    with (ABOVE / "collecting").open("w") as lock:
        if processes() > 1 and not sys.dont_write_bytecode:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(lock, fcntl.LOCK_SH)
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    if processes() > 1:
        items[:] = in_shares(items, processes())


def pytest_collection_finish():
    """Collect garbage from now on, without the tests themselves, and seldom: often, it takes a fifth of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def pytest_unconfigure():
    LOOP.close()
