"""The rows of the tables, and what was set out to be reached in each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Row(Enum):
    """What is measured; those that are called like a kind of change say how soon it shows."""

    START_LIMITED = "start to complete file, Consul's default limits"
    START = "start to complete file"
    START_CPU = "CPU of the start"
    MEMORY = "resident memory"
    MEMORY_AFTER = "resident memory after the mixed changes"
    CONNECTIONS = "connections"
    TURN = "a check turns → file"
    TURN_BACK = "a check turns, service changed lately → file"
    REGISTER = "instance registered → file"
    DEREGISTER = "instance removed → file"
    MOVE = "instance moved to another port → file"
    REGISTER_AGAIN = "instance registered, service changed lately → file"
    DEREGISTER_AGAIN = "instance removed, service changed lately → file"
    MOVE_AGAIN = "instance moved, service changed lately → file"
    TURN_CPU = "CPU per turned check"
    AGENT_TURN_CPU = "the agent's CPU per turned check"
    CHANGE_CPU = "CPU per instance registered, removed or moved"
    AGENT_CHANGE_CPU = "the agent's CPU per instance registered, removed or moved"
    MIXED_CPU = "CPU for 500 mixed changes in 10 s, `-wait 100ms:2s`"
    AGENT_MIXED_CPU = "the agent's CPU for 500 mixed changes in 10 s"
    MIXED = "500 mixed changes in 10 s → file, `-wait 100ms:2s`"
    IDLE = "idle CPU"
    AGENT_IDLE = "idle CPU of the agent"


_INSTANCE = {60: "4 / 8 ms", 1000: "10 / 20 ms", 5000: "15 / 30 ms", 10_000: "25 / 50 ms"}
_TURN = {60: "4 / 8 ms", 1000: "8 / 15 ms", 5000: "15 / 30 ms", 10_000: "25 / 50 ms"}

TARGETS: Mapping[Row, Mapping[int, str]] = {
    Row.START: {60: "0.25 s", 1000: "0.5 s", 5000: "1.2 s", 10_000: "2.5 s"},
    Row.MEMORY: {60: "36 MB", 1000: "42 MB", 5000: "60 MB", 10_000: "90 MB"},
    Row.CONNECTIONS: {60: "64", 1000: "64", 5000: "64", 10_000: "64"},
    Row.TURN: _TURN,
    Row.TURN_BACK: _TURN,
    Row.REGISTER: _INSTANCE,
    Row.DEREGISTER: _INSTANCE,
    Row.MOVE: _INSTANCE,
    Row.REGISTER_AGAIN: _INSTANCE,
    Row.DEREGISTER_AGAIN: _INSTANCE,
    Row.MOVE_AGAIN: _INSTANCE,
    Row.CHANGE_CPU: {60: "5 ms", 1000: "8 ms", 5000: "15 ms", 10_000: "25 ms"},
    Row.MIXED_CPU: {60: "0.5 s", 1000: "1.5 s", 5000: "3 s"},
    Row.IDLE: {60: "0.2 %", 5000: "0.5 %"},
}
"""By the number of services, spread over the nodes that the bench has by default."""
