"""Starts traces where the configuration asks for them; OpenTelemetry is imported then, and never else."""

from __future__ import annotations

import importlib.util
import pkgutil
from typing import Any

from ctemplate.core.errors import ConfigError
from ctemplate.core.event_stream import EventStream
from ctemplate.runtime.services import DaemonService

EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def check_tracing() -> None:
    """Raise ConfigError where the packages for traces are not installed."""
    for name in ("opentelemetry.sdk", EXPORTER):
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise ConfigError("tracing", "needs OpenTelemetry; install ctemplate[otel]")


def tracing_services(events: EventStream, *, is_on: bool) -> tuple[DaemonService, ...]:
    """Return what sends traces, where they are asked for."""
    if not is_on:
        return ()
    made: list[Any] = []

    async def run() -> None:
        exporter = pkgutil.resolve_name(f"{EXPORTER}:OTLPSpanExporter")()
        made[:] = [pkgutil.resolve_name("ctemplate.runtime.tracing:Tracing")(exporter)]
        await made[0].run(events)

    def stop() -> None:
        for each in made:
            each.stop()

    return (DaemonService(key=("tracing",), name="tracing", run=run, stop=stop),)
