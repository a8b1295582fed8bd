"""Connections to Consul: addresses, transport, client, credentials, outages."""
