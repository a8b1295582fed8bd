"""Consul as a source: blocking queries over persistent connections, retried without end."""
