"""What answers queries: Consul, or a catalog file."""
