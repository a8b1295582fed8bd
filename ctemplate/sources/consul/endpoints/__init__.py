"""Consul's HTTP API as values: paths, index rules, decoding, addresses. Pure."""
