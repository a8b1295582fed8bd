"""Notice an agent that accepts and never answers, long before its long polls time out.

A quiet long poll and one to a hung agent look alike. While requests wait and no bytes arrive, the agent's front page is
requested: a few bytes that need no leader, no other server and no rights. Any byte from the agent, on any connection,
is a sign of life; so is a part of a long answer.
"""

from __future__ import annotations

import asyncio
import math

from ctemplate.sources.consul.http.client import Client
from ctemplate.sources.consul.http.outages import OutageLog

SILENCE = 10.0  # seconds without a byte from the agent until it is probed, and between two probes
LIMIT = 5.0  # seconds for an answer that takes a millisecond


def ask_at(now: float, *, contact_at: float, is_waiting: bool) -> float:
    """Return when to probe the agent, if no bytes arrive before.

    An agent that owes no answer is checked again later.
    """
    return contact_at + SILENCE if is_waiting else now + SILENCE


def is_hung(*, lives: bool | None, contact_at: float, asked_at: float) -> bool:
    """Return whether a probe that ended like this proves that the agent hangs: no byte arrived since it was sent."""
    return lives is False and contact_at < asked_at


async def listen(client: Client, outages: OutageLog) -> None:
    """Abandon the current address as soon as it hangs, until cancelled; keeps one connection.

    An abandoned agent without a substitute is probed further: when it answers again, all waiting retries start at once.
    """
    clock = asyncio.get_running_loop().time
    connection, hangs = client.connect(), False
    await asyncio.sleep(SILENCE)
    try:
        while True:
            if connection.address != client.address:
                connection.close()
                connection, hangs = client.connect(), False
            pause = ask_at(clock(), contact_at=client.contact_at, is_waiting=client.is_waiting) - clock()
            if pause > 0 and not hangs:
                await asyncio.sleep(pause)
                continue
            asked_at = clock()
            lives = await client.ping(connection, limit=client.settings.read_timeout if hangs else LIMIT)
            if lives:
                if hangs:
                    outages.revived()
                hangs = False
                continue
            connection.close()
            if is_hung(lives=lives, contact_at=client.contact_at, asked_at=asked_at):
                client.give_up(connection.address, _said(clock(), client.contact_at, asked_at))
                hangs = True
            await asyncio.sleep(max(0.0, asked_at + SILENCE - clock()))
    finally:
        connection.close()


def _said(now: float, contact_at: float, asked_at: float) -> str:
    return f"hangs: nothing came from it for {now - (contact_at if math.isfinite(contact_at) else asked_at):.1f}s"
