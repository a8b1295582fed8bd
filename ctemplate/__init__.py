"""Generate nginx configuration from Consul, and reload nginx safely."""

__version__ = "0.1.0"
