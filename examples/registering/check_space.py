#!/usr/bin/env python3
"""A script check: `check_space.py FOLDER PERCENT` asks whether a file system has so much space left.

Consul takes exit status 0 for passing, 1 for warning and any other for critical; what is printed is the check's output.
"""

import shutil
import sys

PASSING, WARNING, CRITICAL = 0, 1, 2


def main() -> int:
    """Return the state of the file system; less than half of what is wanted is critical."""
    folder, wanted = sys.argv[1], float(sys.argv[2])
    usage = shutil.disk_usage(folder)
    left = 100 * usage.free / usage.total
    print(f"{folder}: {left:.1f} % free")
    if left >= wanted:
        return PASSING
    return WARNING if left >= wanted / 2 else CRITICAL


if __name__ == "__main__":
    sys.exit(main())
