"""Measures ctemplate against a real Consul: `python -m bench --help`."""
