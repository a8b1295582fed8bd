"""Where rendered outputs go: live files, a dry run, a plan, a saved plan."""
