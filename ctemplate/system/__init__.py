"""The operating system: files, threads, running programs, watching files."""
