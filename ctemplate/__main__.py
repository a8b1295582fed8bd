"""The way in: ``python -m ctemplate``, and the program that pip installs."""

import gc
import pkgutil


def console_main() -> None:
    """Run the command line and exit with its status.

    The collector of garbage is off until the first modules are imported: all of them stay.
    """
    gc.disable()
    pkgutil.resolve_name("ctemplate.cli:main")()


if __name__ == "__main__":
    console_main()
