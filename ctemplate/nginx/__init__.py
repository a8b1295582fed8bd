"""nginx: its language, its configuration tree, its master and workers."""
