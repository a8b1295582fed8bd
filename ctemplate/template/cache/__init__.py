"""Rendered fragments that are used again while what they read stays the same."""
