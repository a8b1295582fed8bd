"""Changes to what is registered, and how each shows in a rendered file."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from bench.agent import NODES, Agent, address_of, service_name
from bench.figures import number as printed

INSTANCES = 3
LATELY = 30  # services of which a further change is measured soon after one


@dataclass(frozen=True)
class Size:
    """What is registered: services of three instances each, spread over nodes."""

    services: int
    nodes: int = NODES

    def __str__(self) -> str:
        """Show the size as the head of a column."""
        services = f"{printed(self.services)} × {INSTANCES}"  # noqa: RUF001 - a multiplication sign is what it is
        return services if self.nodes == NODES else f"{services}, {printed(self.nodes)} node{'s' * (self.nodes > 1)}"

    def fill(self, agent: Agent) -> None:
        """Register it all."""
        agent.fill(self.services, INSTANCES, self.nodes)


class Kind(Enum):
    """What happens to an instance."""

    TURN = "check turns critical"
    TURN_BACK = "check turns back to passing, service changed lately"
    REGISTER = "instance registered"
    DEREGISTER = "instance removed"
    MOVE = "instance moves to another port"
    REGISTER_AGAIN = "instance registered, service changed lately"
    DEREGISTER_AGAIN = "instance removed, service changed lately"
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
        return self.kind not in {Kind.TURN, Kind.DEREGISTER, Kind.DEREGISTER_AGAIN}

    def carry_out(self, agent: Agent) -> None:
        """Tell the agent."""
        match self.kind:
            case Kind.TURN | Kind.TURN_BACK:
                agent.turn(self.number, self.instance, "critical" if self.kind is Kind.TURN else "passing")
            case Kind.REGISTER | Kind.REGISTER_AGAIN:
                agent.register(self.number, self.instance, self.port)
            case Kind.DEREGISTER | Kind.DEREGISTER_AGAIN:
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
    """Yield lists of changes of one kind each; each kind has an instance of its own, and each service is met once."""
    numbers = watched(services)
    count = min(count, services // 2)
    turning = [Change(Kind.TURN, next(numbers), 0, port_of(0)) for _ in range(count)]
    yield turning
    yield [Change(Kind.TURN_BACK, change.number, 0, port_of(0)) for change in turning[-LATELY:]]
    yield [Change(Kind.REGISTER, next(numbers), 3, port_of(3)) for _ in range(count)]
    yield [Change(Kind.DEREGISTER, next(numbers), 2, port_of(2)) for _ in range(count)]
    moving = [Change(Kind.MOVE, next(numbers), 1, 9001) for _ in range(count)]
    yield moving
    lately = [change.number for change in moving[-LATELY:]]
    yield [Change(Kind.REGISTER_AGAIN, number, 4, port_of(4)) for number in lately]
    yield [Change(Kind.DEREGISTER_AGAIN, number, 4, port_of(4)) for number in lately]
    yield [Change(Kind.MOVE_AGAIN, number, 1, 9002) for number in lately]


def mixed_changes(services: int, count: int) -> list[Change]:
    """Return checks that turn, instances that come, go and move, in turn.

    Each is in another service until all had one; then those that came go again, and so on.
    """
    numbers, watched_services = watched(services), (services + 1) // 2
    changes = []
    for step in range(count):
        lap, place = divmod(step, watched_services)
        is_back = lap % 2 == 1
        number = next(numbers)
        change = (
            Change(Kind.TURN_BACK if is_back else Kind.TURN, number, 0, port_of(0)),
            Change(Kind.DEREGISTER if is_back else Kind.REGISTER, number, 3, port_of(3)),
            Change(Kind.REGISTER if is_back else Kind.DEREGISTER, number, 2, port_of(2)),
            Change(Kind.MOVE, number, 1, 9001 + lap),
        )[place % 4]
        changes.append(change)
    return changes
