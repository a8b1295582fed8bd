"""Notifications to a service manager, over sockets of our own; integration/test_service_unit runs the daemon."""

import asyncio
import os
import re
import secrets
import socket
from dataclasses import dataclass

import pytest

from ctemplate.core.defects import PAUSE
from ctemplate.core.errors import CheckRefused
from ctemplate.core.event_stream import EventStream
from ctemplate.core.events import ConfigurationReloading, Started, Stopping
from ctemplate.core.model import Outcome
from ctemplate.runtime.service_notices import status_line, telling_of
from ctemplate.status.health import STUCK_AFTER
from ctemplate.system.service_manager import ServiceManager


@dataclass
class Result:
    outcome: Outcome


@dataclass
class Working:
    """As much of a worker as is looked at."""

    stuck_for: float = 0.0
    error: Exception | None = None
    result: Result | None = None
    missing: frozenset = frozenset()


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """Listen as systemd does, and yield the address and what has come."""
    name = f"ctemplate-{secrets.token_hex(8)}"
    address = str(tmp_path / "notify") if request.param == "path" else f"@{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(address if request.param == "path" else f"\0{name}")
        line.setblocking(False)
        yield address, lambda: told(line)


def told(line):
    found = []
    while True:
        try:
            found.append(line.recv(65536).decode())
        except BlockingIOError:
            return found


def test_events_become_messages_in_their_order(manager):
    address, heard = manager

    async def life():
        events = EventStream()
        async with telling_of(ServiceManager(address=address), events, tuple):
            events.publish(Started(summary="one group"))
            events.publish(ConfigurationReloading())
            events.publish(ConfigurationReloading(is_over=True))
            events.publish(Stopping())

    asyncio.run(life())
    messages = heard()
    assert messages[0] == "READY=1\nSTATUS=started"
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", messages[1])
    assert messages[2:] == ["READY=1", "STOPPING=1\nSTATUS=stopping"]


def follow(address, workers, watchdog):
    async def life():
        manager = ServiceManager(address=address, watchdog=watchdog)
        async with telling_of(manager, EventStream(), lambda: workers):
            await asyncio.sleep(0)  # the first look
            await asyncio.sleep(0)

    asyncio.run(life())


@pytest.mark.parametrize(
    ("workers", "watchdog", "is_fed"),
    [
        ([Working()], 30.0, True),
        ([], 30.0, True),
        ([Working()], None, False),
        ([Working(), Working(stuck_for=STUCK_AFTER + 1)], 30.0, False),
    ],
    ids=["works", "no groups", "no watchdog", "one group stands still"],
)
def test_the_watchdog_is_fed_while_every_group_makes_progress(manager, workers, watchdog, is_fed):
    address, heard = manager
    follow(address, workers, watchdog)
    assert ("WATCHDOG=1" in heard()) is is_fed


@pytest.mark.parametrize(
    ("workers", "line"),
    [
        ([], ""),
        ([Working(result=Result(Outcome.APPLIED))], "1 group: 1 applied"),
        ([Working(missing=frozenset({1})), Working()], "2 groups: 1 starting, 1 waiting"),
        (
            [Working(error=CheckRefused("/etc/n", "nginx -t: exit status 1", output=("a\nb",)))],
            "1 group: 1 failed; /etc/n: nginx -t: exit status 1",
        ),
    ],
)
def test_the_status_is_one_line(workers, line):
    assert status_line(workers).startswith(line)
    assert "\n" not in status_line(workers)


def test_who_is_to_be_told_is_taken_out_of_the_environment():
    environ = {"NOTIFY_SOCKET": "@a", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/root"}
    assert ServiceManager.taken_from(environ) == ServiceManager(address="@a", watchdog=30.0)
    assert environ == {"HOME": "/root"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "5000000"}, None),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, None),
        ({"NOTIFY_SOCKET": "/run/n"}, ServiceManager(address="/run/n")),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "0"}, ServiceManager(address="/run/n")),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "x"}, ServiceManager(address="/run/n")),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}, ServiceManager(address="/run/n")),
    ],
)
def test_the_environment_says_whom_to_tell_and_how_often(environ, expected):
    assert ServiceManager.taken_from(dict(environ)) == expected


def test_a_defect_costs_the_watchdog_one_turn(manager, leap, caplog):
    address, heard = manager

    async def life():
        first, second = asyncio.Event(), asyncio.Event()

        def workers():
            if not first.is_set():
                first.set()
                raise KeyError("defect")
            second.set()
            return [Working()]

        async with telling_of(ServiceManager(address=address, watchdog=30.0), EventStream(), workers):
            await first.wait()
            leap(PAUSE.ceiling)
            await asyncio.wait_for(second.wait(), 60)

    asyncio.run(life())
    assert "WATCHDOG=1" in heard()
    assert "service manager: a defect of ctemplate's own, please report it: KeyError: 'defect'" in caplog.text


def test_a_manager_that_is_gone_changes_nothing(tmp_path, caplog):
    ServiceManager(address=str(tmp_path / "none")).tell(READY=1)
    assert "the service manager cannot be notified: No such file or directory" in caplog.text
