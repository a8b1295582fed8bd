"""The process that runs the files decides whether a reload is owed."""

import json
import os
import time

import pytest

from ctemplate.core.errors import CommandFailed
from ctemplate.core.model import Outcome
from ctemplate.system.uptime import Moment, RunningProcess, at_wall_clock, boot_id, now


class Master:
    """The process of a program: which one runs now, and since when it can have read files."""

    def __init__(self):
        self.process = process(10)
        self.reads_since = now().earlier(3600)
        self.proven = None
        self.fault = None

    async def running(self):
        if self.fault:
            raise self.fault
        return None if self.process is None else (self.process, self.reads_since)


def process(pid):
    return RunningProcess(pid=pid, started=Moment(boot=boot_id(), ticks=pid))


class Reload:
    """The site's program, of which the master is the process."""

    def __init__(self, program, master):
        self.program, self.master = program, master

    async def reload(self, change):
        outcome = await self.program.reload(change)
        self.master.proven = self.master.process
        return outcome


@pytest.fixture
def master():
    return Master()


@pytest.fixture
def apply(site, master):
    async def apply(content):
        return await site.apply(content, reload=Reload(site.program, master), program=master)

    return apply


def page(site):
    (file,) = (site.folder / "state").glob("*/ledger.json")
    return json.loads(file.read_bytes())


def proven(site):
    return [entry["pid"] for entry in page(site)["proven"]]


async def test_the_process_that_took_the_files_owes_nothing(site, master, apply):
    assert await apply(b"one") is Outcome.APPLIED
    assert await apply(b"one") is Outcome.UNCHANGED
    assert (proven(site), site.program.reloads) == ([10], 1)
    master.process = None
    assert await apply(b"one") is Outcome.UNCHANGED


async def test_another_process_gets_its_reload_once(site, master, apply):
    await apply(b"one")
    master.process = process(11)
    assert await apply(b"one") is Outcome.APPLIED
    assert await apply(b"one") is Outcome.UNCHANGED
    assert (site.program.reloads, proven(site)) == (2, [11])


async def test_an_upgrade_that_is_taken_back_without_a_change_costs_no_reload(site, master, apply):
    await apply(b"one")
    master.process, master.reads_since = process(11), now().earlier(-1)
    await apply(b"one")
    master.process, master.reads_since = process(10), now().earlier(3600)
    assert await apply(b"one") is Outcome.UNCHANGED
    assert (site.program.reloads, proven(site)) == (1, [10, 11])


async def test_new_files_belong_only_to_the_program_that_took_them(site, master, apply):
    await apply(b"one")
    master.process = process(11)
    await apply(b"two")
    assert proven(site) == [11]
    master.process = process(10)
    assert await apply(b"two") is Outcome.APPLIED
    assert site.program.reloads == 3


async def test_a_process_that_started_after_the_files_were_written_runs_them(site, master, apply):
    await apply(b"one")
    master.process, master.reads_since = process(11), now().earlier(-1)
    assert await apply(b"one") is Outcome.UNCHANGED
    assert (proven(site), site.program.reloads) == ([10, 11], 1)


async def test_a_start_after_writing_pays_what_is_owed(site, master, apply):
    site.program.is_up, master.process = False, None
    assert await apply(b"one") is Outcome.PENDING_START
    site.program.start()
    master.process, master.reads_since = process(11), now().earlier(-1)
    assert await apply(b"one") is Outcome.APPLIED
    assert (proven(site), site.owes_reload, site.program.reloads) == ([11], False, 1)


async def test_a_file_that_was_touched_since_is_not_known_to_be_what_the_process_read(site, master, apply):
    await apply(b"one")
    master.process, master.reads_since = process(11), now().earlier(-1)
    os.utime(site.path)
    master.reads_since = at_wall_clock(site.path.stat().st_ctime).earlier(0.02)
    assert await apply(b"one") is Outcome.APPLIED
    assert site.program.reloads == 2


async def test_a_first_start_beside_equal_files_is_owed_a_reload_by_an_old_process(site, apply):
    site.path.write_bytes(b"one")
    assert await apply(b"one") is Outcome.APPLIED
    assert site.program.reloads == 1


async def test_a_rejected_change_leaves_the_process_with_what_it_runs(site, apply):
    await apply(b"one")
    with pytest.raises(Exception, match="kept its old"):
        await apply(b"port")
    assert await apply(b"one") is Outcome.UNCHANGED
    assert (proven(site), site.program.reloads) == ([10], 2)


async def test_new_attributes_alone_change_nothing_of_who_runs_the_files(site, apply):
    await apply(b"one")
    site.path.chmod(0o600)
    before = page(site)
    await apply(b"one")
    assert (page(site)["proven"], page(site)["placed"]) == (before["proven"], before["placed"])
    assert site.program.reloads == 1


async def test_where_the_state_is_unknown_no_reload_is_owed(master, apply):
    await apply(b"one")
    master.fault = CommandFailed("nginx", "cannot be verified")
    assert await apply(b"one") is Outcome.UNCHANGED


async def test_a_refused_change_does_not_put_off_the_reload_of_another_process(site, master, apply):
    await apply(b"one")
    master.process = process(11)
    with pytest.raises(Exception, match="exit status 1"):
        await apply(b"syntax")
    assert (proven(site), site.owes_reload, site.program.reloads) == ([11], False, 2)


def test_moments_of_another_boot_are_earlier_ones():
    recorded = Moment(boot="before", ticks=10**12)
    assert now().is_after(recorded)
    assert not now().is_after(now().earlier(-1))
    assert now().is_after(now().earlier(1))
    assert abs(at_wall_clock(time.time() - 50).ticks - now().earlier(50).ticks) < 100


async def test_no_process_is_said_to_run_a_file_that_does_not_exist(apply, caplog):
    caplog.set_level("INFO")
    with pytest.raises(Exception, match="exit status 1"):
        await apply(b"syntax")
    assert "runs it" not in caplog.text
