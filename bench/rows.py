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
    CHANGE_CPU = "CPU per instance registered, removed or moved"
    MIXED_CPU = "CPU for 500 mixed changes in 10 s, `-wait 100ms:2s`"
    MIXED = "500 mixed changes in 10 s → file, `-wait 100ms:2s`"
    IDLE = "idle CPU"
    AGENT_IDLE = "idle CPU of the agent"


TARGETS: Mapping[Row, Mapping[int, str]] = {
    Row.START: {1000: "0.6 s", 5000: "2.5 s"},
    Row.MEMORY: {1000: "60 MB", 5000: "150 MB"},
    Row.MEMORY_AFTER: {1000: "60 MB", 5000: "150 MB"},
    Row.CONNECTIONS: {1000: "64", 5000: "64"},
    Row.TURN: {1000: "10 / 30 ms", 5000: "30 / 80 ms"},
    Row.TURN_BACK: {1000: "10 / 30 ms", 5000: "30 / 80 ms"},
    Row.REGISTER: {60: "3 ms", 1000: "p95 300 ms", 5000: "p95 1,500 ms"},
    Row.DEREGISTER: {1000: "p95 300 ms", 5000: "p95 1,500 ms"},
    Row.MOVE: {1000: "p95 300 ms", 5000: "p95 1,500 ms"},
    Row.REGISTER_AGAIN: {1000: "10 ms", 5000: "20 ms"},
    Row.DEREGISTER_AGAIN: {1000: "10 ms", 5000: "20 ms"},
    Row.MOVE_AGAIN: {1000: "10 ms", 5000: "20 ms"},
    Row.TURN_CPU: {1000: "5 ms", 5000: "20 ms"},
    Row.MIXED_CPU: {1000: "2.5 s", 5000: "6 s"},
    Row.IDLE: {1000: "0.5 %", 5000: "1 %"},
}
