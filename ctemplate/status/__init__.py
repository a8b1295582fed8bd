"""A running ctemplate's state, health and metrics, for operators to read; read-only."""
