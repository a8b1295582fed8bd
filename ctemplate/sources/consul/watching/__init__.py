"""What to long-poll, what to read and when: planner, scopes, sentinels, sweep, watches."""
