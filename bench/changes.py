"""Changes to what is registered, and how each shows in a rendered file."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from bench.agent import Agent, address_of, service_name

INSTANCES = 3


class Kind(Enum):
    """What happens to an instance."""

    TURN = "check turns critical"
    TURN_BACK = "check turns back to passing, service changed lately"
    REGISTER = "instance registered"
    DEREGISTER = "instance removed"
    MOVE = "instance moves to another port"
    MOVE_AGAIN = "instance moves again, service changed lately"


@dataclass(frozen=True)
class Change:
    """Something to do to an instance of a service; ``line`` is in a rendered file afterwards, or is not."""

    kind: Kind
    number: int
    instance: int
    port: int

    @property
    def service(self) -> str:
        """The name of the service that changes."""
        return service_name(self.number)

    @property
    def line(self) -> str:
        """The instance's line in a rendered file."""
        return f"server {address_of(self.number, self.instance)}:{self.port};"

    @property
    def is_there(self) -> bool:
        """Whether the line is there afterwards."""
        return self.kind not in {Kind.TURN, Kind.DEREGISTER}

    def carry_out(self, agent: Agent) -> None:
        """Tell the agent."""
        match self.kind:
            case Kind.TURN | Kind.TURN_BACK:
                agent.turn(self.number, self.instance, "critical" if self.kind is Kind.TURN else "passing")
            case Kind.REGISTER:
                agent.register(self.number, self.instance, self.port)
            case Kind.DEREGISTER:
                agent.deregister(self.number, self.instance)
            case Kind.MOVE | Kind.MOVE_AGAIN:
                agent.move(self.number, self.instance, self.port)


def port_of(instance: int) -> int:
    """Return the port under which an instance was first registered."""
    return 8000 + instance


def watched(services: int) -> Iterator[int]:
    """Yield services tagged http in an order that is random and the same in each run, for ever."""
    numbers = list(range(0, services, 2))
    random.Random(7).shuffle(numbers)  # noqa: S311 - repeatable, not secret
    while True:
        yield from numbers


def single_changes(services: int, count: int) -> Iterator[list[Change]]:
    """Yield lists of changes of one kind each; those of the same service undo or repeat each other."""
    numbers = watched(services)
    turning = [Change(Kind.TURN, next(numbers), 0, port_of(0)) for _ in range(count)]
    yield turning
    yield [Change(Kind.TURN_BACK, change.number, 0, port_of(0)) for change in turning[-30:]]
    yield [Change(Kind.REGISTER, next(numbers), 3, port_of(3)) for _ in range(count)]
    yield [Change(Kind.DEREGISTER, next(numbers), 2, port_of(2)) for _ in range(count)]
    moving = [Change(Kind.MOVE, next(numbers), 1, 9001) for _ in range(count)]
    yield moving
    yield [Change(Kind.MOVE_AGAIN, change.number, 1, 9002) for change in moving[-30:]]


def mixed_changes(services: int, most: int) -> list[Change]:
    """Return checks that turn, instances that come, go and move, in turn, each in another service."""
    numbers = watched(services)
    changes = []
    for step in range(min(most, services // 2)):
        number = next(numbers)
        change = (
            Change(Kind.TURN, number, 0, port_of(0)),
            Change(Kind.REGISTER, number, 3, port_of(3)),
            Change(Kind.DEREGISTER, number, 2, port_of(2)),
            Change(Kind.MOVE, number, 1, 9001),
        )[step % 4]
        changes.append(change)
    return changes
