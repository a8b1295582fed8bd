"""Writes a man page for ctemplate and one for each verb, from the options that click knows: `man_pages.py FOLDER`."""

import sys
from pathlib import Path

from click_man.core import write_man_pages

from ctemplate import __version__
from ctemplate.cli.program import cli


def main() -> None:
    """Write the pages."""
    folder = Path(sys.argv[1])
    write_man_pages("ctemplate", cli, version=__version__, target_dir=str(folder))


if __name__ == "__main__":
    main()
