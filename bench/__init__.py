"""Measures ctemplate against a real Consul and a real nginx: `python -m bench --help`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # their harness starts the programs
