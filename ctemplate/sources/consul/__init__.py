"""Consul as a source: blocking queries over kept connections, retried for ever."""

from ctemplate.sources.consul.settings import ConsulSettings, Limits, Pacing
from ctemplate.sources.consul.source import ConsulSource

__all__ = ["ConsulSettings", "ConsulSource", "Limits", "Pacing"]
