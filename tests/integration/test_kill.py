"""SIGKILL at every step and at random moments, with a real nginx: the next start converges, whatever the moment was."""

import hashlib
import itertools
import os
import random
import time

import pytest
from harness import Ctemplate, free_port, wait_for
from harness.nursery import LAST, Nursery
from harness.site import Site, instances

RANDOM_KILLS = int(os.environ.get("CTEMPLATE_KILLS", "200"))
REAL_KILLS = 20
WINDOW = 0.25  # seconds after a change in which the kill falls; a whole transaction takes about as long


class Judge:
    """Knows what may stand on disk: whole renderings of generations that were published."""

    def __init__(self, site: Site):
        self.site = site
        self.model = site.contents()

    def rendering(self, generation: str) -> tuple[bytes, ...]:
        main, fragment = self.model
        return (
            main.replace(b'return 200 "1"', b'return 200 "%b"' % generation.encode()),
            fragment.replace(b"generation 1", b"generation %b" % generation.encode()),
        )

    def whole(self) -> None:
        """Every file is one whole rendering; which one may differ between two files of a transaction cut in two."""
        site = self.site
        for number, content in enumerate(site.contents()):
            generation = content.partition(b'return 200 "')[2] if number == 0 else content.partition(b"generation ")[2]
            generation = generation.split(b'"' if number == 0 else b"\n")[0].decode()
            assert content == self.rendering(generation)[number], "a torn file"

    def settled(self, generation: str, log) -> None:
        """The generation stands on disk, passes the test, runs, and the ledger says so."""
        site = self.site
        site.wait_running(generation, LAST, log=log)
        wait_for(lambda: self._is_accepted(generation), LAST, f"generation {generation} in the ledger", log=log)
        assert site.contents() == self.rendering(generation)
        assert site.nginx.check().returncode == 0
        site.wait_clean(log)

    def _is_accepted(self, generation: str) -> bool:
        """Whether the ledger holds this generation and no debt; nginx serves it a moment before."""
        ledger = self.site.ledger()
        accepted = [ledger["files"][str(path)]["sha256"] for path in self.site.files]
        expected = [hashlib.sha256(content).hexdigest() for content in self.rendering(generation)]
        return accepted == expected and not ledger["owes_reload"]


@pytest.fixture
def site(tmp_path, nginx, ctemplate):
    """A site whose nginx runs generation 1, as the ledger knows."""
    site = Site(tmp_path, nginx, min_interval="1ms", backups=0)
    assert ctemplate(*site.args, "-once", name="first").wait(LAST) == 0
    nginx.start()
    assert ctemplate(*site.args, "-once", name="second").wait(LAST) == 0
    assert (site.running(), site.ledger()["owes_reload"]) == ("1", False)
    return site


@pytest.fixture
def nursery(site, tmp_path, programs):
    nursery = Nursery(site, tmp_path)
    programs.callback(nursery.close)
    return nursery


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        pytest.param("surveyed", ("1", 0), id="surveyed"),
        pytest.param("staged", ("1", 0), id="staged"),
        pytest.param("checked", ("1", 0), id="checked"),
        pytest.param("journaled", ("1", 0), id="journaled"),
        pytest.param("swapping", (None, 1), id="first file swapped"),
        pytest.param("swapped", ("2", 1), id="swapped"),
        pytest.param("reloaded", ("2", 1), id="reloaded"),
        pytest.param("recorded", ("2", 1), id="recorded"),
    ],
)
def test_a_kill_at_a_step_then_the_old_data_then_the_new(site, nursery, ctemplate, step, expected):
    """`expected`: the generation on disk after the kill, None for one of each, and the reloads that old data cost."""
    files, reloads = expected
    judge = Judge(site)
    nursery.bear(step)
    if step != "surveyed":
        wait_for(lambda: "started" in nursery.log.read_text(), LAST, "started daemon")
    site.publish("2")
    nursery.wait_dead()
    judge.whole()
    assert site.nginx.check().returncode == 0
    if files:
        assert site.contents() == judge.rendering(files)
    site.publish("1")
    before = site.nginx.reloads()
    once = ctemplate(*site.args, "-once")
    assert once.wait(LAST) == 0
    judge.settled("1", once.log)
    assert site.nginx.reloads() == before + reloads, "a reload that was owed, no other"
    site.publish("3")
    assert ctemplate(*site.args, "-once").wait(LAST) == 0
    judge.settled("3", once.log)


@pytest.mark.parametrize("step", ["restoring", "restored"])
def test_a_kill_while_a_rejected_change_is_taken_back(site, nursery, ctemplate, step):
    judge, port = Judge(site), free_port()
    nursery.bear(step)
    wait_for(lambda: "started" in nursery.log.read_text(), LAST, "started daemon")
    site.publish("2", edge=instances(port), stream_edge=instances(port))
    nursery.wait_dead()
    assert site.running() == "1"
    site.publish("1")
    once = ctemplate(*site.args, "-once")
    assert once.wait(LAST) == 0
    judge.settled("1", once.log)


@pytest.mark.parametrize("step", ["swapping", "swapped", "reloaded"])
def test_a_start_puts_the_old_files_back_before_any_answer_comes(site, nursery, ctemplate, step):
    judge = Judge(site)
    nursery.bear(step)
    site.publish("2")
    nursery.wait_dead()
    assert site.contents() != judge.rendering("1")
    silent = ["-config", str(site.config), "-consul-addr", f"127.0.0.1:{free_port()}"]
    daemon = ctemplate(*silent)
    daemon.wait_for_log("started")
    assert daemon.log().count("an interrupted change was rolled back; its reload is pending") == (
        1 if step == "swapping" else 2
    )
    assert (site.contents(), site.leftovers()) == (judge.rendering("1"), [])
    assert site.nginx.check().returncode == 0
    assert site.ledger()["owes_reload"]


def test_kills_at_random_moments_under_change(site, nursery):
    judge, seed = Judge(site), random.randrange(10**6)  # noqa: S311 - a moment, not a secret
    draw = random.Random(seed)  # noqa: S311 - a moment, not a secret
    generations = (str(number) for number in itertools.count(2))
    generation = "1"
    for turn in range(RANDOM_KILLS):
        nursery.bear()
        if turn % 2:  # half of the kills hit a daemon that starts and recovers, half one that is at work
            judge.settled(generation, nursery.log.read_text)
        generation = _change_until(site, generations, draw.uniform(0, WINDOW))
        nursery.kill()
        judge.whole()
        if turn % 10 == 0:
            assert site.nginx.check().returncode == 0, f"seed {seed}, turn {turn}"
    nursery.bear()
    judge.settled(generation, nursery.log.read_text)


def _change_until(site, generations, window):
    """Publish a few generations over so many seconds; return the last one."""
    end = time.monotonic() + window
    while True:
        generation = next(generations)
        site.publish(generation)
        left = end - time.monotonic()
        time.sleep(max(0.0, min(left, 0.08)))  # the moment of the kill is meant to be anywhere
        if left <= 0:
            return generation


@pytest.mark.by_exec
def test_kills_of_the_real_program_under_change(site, tmp_path, programs):
    judge, draw = Judge(site), random.Random()  # noqa: S311 - a moment, not a secret
    generations, generation = (str(number) for number in itertools.count(2)), "1"
    daemon = Ctemplate(tmp_path, *site.args, env={"TMPDIR": str(tmp_path)})
    programs.callback(daemon.kill)
    for _ in range(REAL_KILLS):
        daemon.start()
        judge.settled(generation, daemon.log)
        generation = _change_until(site, generations, draw.uniform(0, WINDOW))
        daemon.kill()
        judge.whole()
    daemon.start()
    judge.settled(generation, daemon.log)
