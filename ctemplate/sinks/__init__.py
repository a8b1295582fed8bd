"""The destinations of rendered outputs: live files, a dry run, a plan, a saved plan."""
