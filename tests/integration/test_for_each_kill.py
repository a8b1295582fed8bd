"""SIGKILL at random moments while files of items come and go: the next start knows which files are its own."""

import contextlib
import json
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import wait_for
from harness.nursery import LAST, Nursery

KILLS = int(os.environ.get("CTEMPLATE_KILLS", "10"))
LINES = 200
LOCK = ".ctemplate-lock"
WINDOW = 0.25  # seconds after a change in which the kill falls
CONFIG = """\
[[template]]
source = "site.j2"
for_each = "tree('sites')"
destination = "{folder}/out/{{{{ item.key }}}}.txt"
escape = "none"
command = "true"
wait = {{ min = "1ms", max = "10ms" }}
"""


@dataclass
class ItemSite:
    """What a nursery needs of a site, and the items in its catalog."""

    folder: Path

    def __post_init__(self) -> None:
        self.config, self.catalog_file = self.folder / "c.toml", self.folder / "catalog.json"
        self.state, self.out = self.folder / "state", self.folder / "out"
        self.state.mkdir()
        self.out.mkdir()
        (self.folder / "site.j2").write_text("{{ item.key }} {{ item.value }}\n" * LINES)
        self.config.write_text(CONFIG.format(folder=self.folder))
        (self.out / "own.txt").write_text("by hand\n")

    def publish(self, items: dict[str, str]) -> None:
        fresh = self.folder / "fresh"
        fresh.write_text(json.dumps({"kv": {f"sites/{name}": value for name, value in items.items()}, "services": {}}))
        fresh.rename(self.catalog_file)

    @property
    def files(self) -> dict[str, str]:
        """Every file but the locks, by name; none where one goes in between."""
        with contextlib.suppress(FileNotFoundError):
            return {path.name: path.read_text() for path in self.out.iterdir() if not path.name.endswith(LOCK)}
        return {}

    def expected(self, items: dict[str, str]) -> dict[str, str]:
        files = {f"{name}.txt": f"{name} {value}\n" * LINES for name, value in items.items()}
        return files | {"own.txt": "by hand\n"}

    def is_whole(self, name: str, text: str) -> bool:
        """Whether a file is one whole rendering of some value."""
        lines = text.splitlines(keepends=True)
        return name == "own.txt" or (len(lines) == LINES and len(set(lines)) == 1)


@pytest.fixture
def site(tmp_path):
    return ItemSite(tmp_path)


@pytest.fixture
def nursery(site, tmp_path, programs):
    site.publish({"first": "0"})
    nursery = Nursery(site, tmp_path)
    programs.callback(nursery.close)
    return nursery


def test_after_kills_at_random_moments_the_files_are_those_of_the_items(site, nursery):
    seed = random.randrange(10**6)  # noqa: S311 - a moment, not a secret
    draw = random.Random(seed)  # noqa: S311 - a moment, not a secret
    items = {"first": "0"}

    def settled() -> None:
        says = f"the files of the items, seed {seed}"
        wait_for(lambda: site.files == site.expected(items), LAST, says, log=nursery.log.read_text)

    for turn in range(KILLS):
        nursery.bear()
        if turn % 2:  # half of the kills hit a daemon that starts and recovers
            settled()
        for number in range(draw.randrange(1, 4)):
            names = draw.sample([f"site{each}" for each in range(8)], draw.randrange(1, 7))
            items = dict.fromkeys(names, f"{turn}.{number}")
            site.publish(items)
            time.sleep(draw.uniform(0, WINDOW))  # the moment of the kill is meant to be anywhere
        nursery.kill()
        torn = {name for name, text in site.files.items() if name.endswith(".txt") and not site.is_whole(name, text)}
        assert torn == set(), f"seed {seed}, turn {turn}"
    nursery.bear()
    settled()
    nursery.kill()
