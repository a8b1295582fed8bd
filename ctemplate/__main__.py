"""``python -m ctemplate``."""

from ctemplate.cli import main

main()
