"""The template language: functions, filters, compilation, and the folders that templates load from."""
