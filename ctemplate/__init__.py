"""Keep nginx's configuration true to what Consul knows."""

__version__ = "0.1.0"
