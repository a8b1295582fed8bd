"""The tables of docs/reliability.md, made by running their tests: `python -m bench.promises`, or `make promises`.

Each row is a test on real Consul and nginx: kills, starts with two groups, agents restarted and cut off, upgrades and
foreign masters. Prints Markdown as it goes, and exits with 1 if anything does not hold. `--quick` makes a few kills and
starts; without it there are a thousand and two hundred (or `--kills` and `--starts`), and it takes about half an hour
on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "tests/integration"
KILLS, STARTS = 1000, 200
FEW_KILLS, FEW_STARTS = 20, 5


@dataclass(frozen=True, slots=True)
class Campaign:
    """One table: its heading and the files of tests whose rows it holds."""

    name: str
    heading: str
    files: tuple[str, ...]


CAMPAIGNS = (
    Campaign("kills", "Kills", ("test_kill.py",)),
    Campaign("starts", "Starts with two groups", ("test_wake.py",)),
    Campaign("agents", "Agents restarted and cut off", ("test_guard_agents.py",)),
    Campaign("masters", "Upgrades and foreign masters", ("test_masters.py",)),
)


def rows(campaign: Campaign, numbers: dict[str, str]) -> Iterator[tuple[str, str, float]]:
    """Run a campaign; yield what was tried, how it ended, and in how many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        files = [f"{FOLDER}/{file}" for file in campaign.files]
        command = [sys.executable, "-m", "pytest", "-q", "--timeout", "0", f"--junitxml={report}", *files]
        subprocess.run(command, cwd=ROOT, env=os.environ | numbers, stdout=subprocess.DEVNULL, check=False)
        if not report.exists():
            yield "the tests", "did not run", 0.0
            return
        for case in ET.parse(report).iter("testcase"):  # noqa: S314  # written by our own run
            ended = [kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None]
            tried = case.get("name", "").removeprefix("test_").replace("_", " ")
            yield tried, ended[0] if ended else "held", float(case.get("time", "0"))


def main() -> int:
    """Print the tables asked for; return 1 where a promise did not hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.promises", description=__doc__)
    known = [one.name for one in CAMPAIGNS]
    parser.add_argument("campaign", nargs="*", metavar="CAMPAIGN", help=f"{', '.join(known)}; all of them by default")
    parser.add_argument("--quick", action="store_true", help="make a few kills and starts only")
    parser.add_argument("--kills", type=int, help=f"kills at random moments; {KILLS} by default")
    parser.add_argument("--starts", type=int, help=f"starts with two groups; {STARTS} by default")
    options = parser.parse_args()
    if unknown := set(options.campaign).difference(known):
        parser.error(f"no such campaign: {', '.join(sorted(unknown))}")
    kills = options.kills or (FEW_KILLS if options.quick else KILLS)
    starts = options.starts or (FEW_STARTS if options.quick else STARTS)
    numbers, is_kept = {"CTEMPLATE_KILLS": str(kills), "CTEMPLATE_STARTS": str(starts)}, True
    for campaign in CAMPAIGNS:
        if options.campaign and campaign.name not in options.campaign:
            continue
        print(f"\n### {campaign.heading}\n\n| tried | result | seconds |\n|---|---|---|", flush=True)
        for tried, result, seconds in rows(campaign, numbers):
            is_kept = is_kept and result == "held"
            print(f"| {tried} | {result} | {seconds:.1f} |", flush=True)
    print(f"\nWith {kills} kills at random moments and {starts} starts.", flush=True)
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
