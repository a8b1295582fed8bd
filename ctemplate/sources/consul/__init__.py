"""Consul as a source: blocking queries over kept connections, retried for ever."""

from ctemplate.sources.consul.endpoints.settings import ConsulSettings, DataLimits, Pacing
from ctemplate.sources.consul.source import ConsulSource

__all__ = ["ConsulSettings", "ConsulSource", "DataLimits", "Pacing"]
