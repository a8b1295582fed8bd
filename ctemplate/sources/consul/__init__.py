"""Consul as a source: blocking queries over kept connections, retried for ever."""
