import asyncio
import contextlib
import dataclasses
import fnmatch
import logging
import os
import stat

import pytest
from model_program import BlindCheck, BrokenCommand, Killer, ReadsAll, Site

from ctemplate.apply import OnEdit, Step, apply
from ctemplate.core.errors import CheckRefused, CommandFailed, ReloadLost, ReloadRejected, ReloadTimedOut, SwapFailed
from ctemplate.core.model import Outcome
from ctemplate.system.files import candidate_path


def fingerprint(path):
    status = path.stat()
    return path.read_bytes(), status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_mode


async def test_new_output_goes_through_every_step(site):
    steps = []
    assert await site.apply(b"one", observe=steps.append) is Outcome.APPLIED
    assert steps == [
        Step.SURVEYED,
        Step.STAGED,
        Step.CHECKED,
        Step.JOURNALED,
        Step.SWAPPING,
        Step.SWAPPED,
        Step.RELOADED,
        Step.RECORDED,
    ]
    assert site.live == (b"one",)
    assert site.program.running == {site.path: b"one"}
    assert site.tree == ["n.conf"]


async def test_one_file_without_reload_needs_no_journal(site):
    steps = []
    await site.apply(b"one", reload=None, check=None, observe=steps.append)
    assert Step.JOURNALED not in steps
    assert site.live == (b"one",)


async def test_unchanged_output_touches_nothing_and_runs_nothing(site):
    await site.apply(b"one")
    before, ledger = fingerprint(site.path), fingerprint(next(site.folder.glob("state/*/ledger.json")))
    checks, reloads = len(site.program.checks), site.program.reloads
    assert await site.apply(b"one") is Outcome.UNCHANGED
    assert fingerprint(site.path) == before
    assert fingerprint(next(site.folder.glob("state/*/ledger.json"))) == ledger
    assert (len(site.program.checks), site.program.reloads) == (checks, reloads)


async def test_a_file_that_is_right_at_the_first_start_is_adopted_without_a_command(site):
    site.path.write_bytes(b"one")
    before = fingerprint(site.path)
    assert await site.apply(b"one") is Outcome.UNCHANGED
    assert fingerprint(site.path) == before
    assert (site.program.checks, site.program.reloads) == ([], 0)


async def test_live_content_that_the_program_never_got_from_us_is_reloaded(site):
    await site.apply(b"one")
    site.path.write_bytes(b"two")
    before = fingerprint(site.path)
    assert await site.apply(b"two") is Outcome.APPLIED
    assert fingerprint(site.path) == before
    assert site.program.running == {site.path: b"two"}


async def test_empty_output_is_written(site):
    assert await site.apply(b"", reload=None) is Outcome.APPLIED
    assert site.live == (b"",)


async def test_a_refused_candidate_leaves_the_live_file_untouched_and_is_kept(site):
    await site.apply(b"one")
    before = fingerprint(site.path)
    with pytest.raises(CheckRefused) as caught:
        await site.apply(b"syntax error")
    assert str(caught.value) == (
        f"{site.path}: model -t: exit status 1; the live file is untouched\n    bad {candidate_path(site.path)}:1"
    )
    assert fingerprint(site.path) == before
    assert site.tree == ["n.conf"]
    assert site.kept("refused") == [b"syntax error"]
    assert not site.owes_reload


async def test_the_same_refused_candidate_is_kept_once_and_generations_are_bounded(site):
    for content in (b"syntax 1", b"syntax 1", b"syntax 2", b"syntax 3", b"syntax 4"):
        with pytest.raises(CheckRefused):
            await site.apply(content)
    assert site.kept("refused") == [b"syntax 2", b"syntax 3", b"syntax 4"]


async def test_good_data_after_a_refusal_is_applied(site):
    with pytest.raises(CheckRefused):
        await site.apply(b"syntax error")
    assert await site.apply(b"good") is Outcome.APPLIED
    assert site.live == (b"good",)


async def test_what_a_dead_process_left_is_removed_at_the_start_and_after_a_failure_alone(site):
    """Between two changes that went well nothing unfinished can be there, so nothing is looked for."""
    left = site.path.with_name(f".{site.path.name}.ctemplate-0badcafe")
    with site.hold() as state:

        async def is_left(content):
            left.write_bytes(b"half")
            with contextlib.suppress(CheckRefused):
                await apply(site.outputs(content), state=state, check=site.program, reload=site.program)
            return left.exists()

        contents = (b"one", b"two", b"syntax error", b"three", b"four")
        assert [await is_left(content) for content in contents] == [False, True, True, False, True]


async def test_one_refused_file_keeps_the_whole_group_as_it_was(pair):
    await pair.apply(b"a1", b"b1")
    before = [fingerprint(path) for path in pair.paths]
    with pytest.raises(CheckRefused, match="; every live file is untouched\n"):
        await pair.apply(b"a2", b"syntax error")
    assert [fingerprint(path) for path in pair.paths] == before
    assert pair.tree == ["a.conf", "b.conf"]


async def test_only_changed_files_are_staged_and_swapped(pair):
    await pair.apply(b"a1", b"b1")
    before = fingerprint(pair.paths[0])
    assert await pair.apply(b"a1", b"b2") is Outcome.APPLIED
    assert [file.live for file in pair.program.checks[-1]] == [pair.paths[1]]
    assert fingerprint(pair.paths[0]) == before
    assert pair.program.running == {pair.paths[0]: b"a1", pair.paths[1]: b"b2"}


async def test_a_rejected_reload_puts_back_bytes_mode_owner_and_times(site):
    await site.apply(b"one")
    site.path.chmod(0o640)
    os.utime(site.path, ns=(1_000_000_000, 2_000_000_000))
    before = site.path.stat()
    with pytest.raises(ReloadRejected) as caught:
        await site.apply(b"port in use")
    assert str(caught.value) == "model: kept its old configuration; the live file is rolled back\n    bind() failed"
    after = site.path.stat()
    assert site.live == (b"one",)
    assert (after.st_mode, after.st_uid, after.st_gid, after.st_mtime_ns) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
        2_000_000_000,
    )
    assert site.program.running == {site.path: b"one"}
    assert not site.owes_reload
    assert site.kept("refused") == [b"port in use"]
    assert site.tree == ["n.conf"]


async def test_roll_back_removes_a_file_that_was_not_there(pair):
    pair.paths[0].write_bytes(b"a0")
    with pytest.raises(ReloadRejected):
        await pair.apply(b"a1", b"port in use")
    assert pair.live == (b"a0", None)


async def test_a_reload_without_proof_is_rolled_back_and_owed(site):
    await site.apply(b"one")
    with pytest.raises(ReloadTimedOut) as caught:
        await site.apply(b"slow")
    assert str(caught.value) == "model: not proven within 1s; the live file is rolled back, its reload is pending"
    assert site.live == (b"one",)
    assert site.program.running == {site.path: b"slow"}
    assert site.owes_reload
    assert await site.apply(b"one") is Outcome.APPLIED
    assert site.program.running == {site.path: b"one"}
    assert not site.owes_reload


async def test_a_plain_commands_failure_keeps_the_file_and_owes_the_reload(tmp_path):
    site, command = Site(tmp_path, rollback=False), BrokenCommand()
    with pytest.raises(CommandFailed, match="reload-it: exit status 1; the new content stays live, its"):
        await site.apply(b"one", reload=command)
    assert site.live == (b"one",)
    with pytest.raises(CommandFailed, match="reload-it: exit status 1; its reload stays owed"):
        await site.apply(b"one", reload=command)
    command.is_broken = False
    assert await site.apply(b"one", reload=command) is Outcome.APPLIED
    assert await site.apply(b"one", reload=command) is Outcome.UNCHANGED
    assert command.runs == 3
    assert len(site.program.checks) == 1


async def test_a_program_that_is_not_running_is_owed_its_reload_until_it_is(site):
    site.program.stop()
    assert await site.apply(b"one") is Outcome.PENDING_START
    assert site.live == (b"one",)
    before = fingerprint(site.path)
    assert await site.apply(b"one") is Outcome.PENDING_START
    site.program.start()
    assert await site.apply(b"one") is Outcome.APPLIED
    assert await site.apply(b"one") is Outcome.UNCHANGED
    assert site.program.reloads == 3
    assert len(site.program.checks) == 1
    assert fingerprint(site.path) == before


async def test_waiting_for_a_start_does_not_write_again_and_again(site):
    site.program.stop()
    await site.apply(b"one")
    ledger = fingerprint(next(site.folder.glob("state/*/ledger.json")))
    await site.apply(b"one")
    assert fingerprint(next(site.folder.glob("state/*/ledger.json"))) == ledger


async def test_a_reload_owed_is_paid_although_new_output_is_refused(site):
    site.program.stop()
    await site.apply(b"one")
    site.program.start()
    with pytest.raises(CheckRefused):
        await site.apply(b"syntax error")
    assert site.program.reloads == 2
    assert not site.owes_reload


async def test_a_rejection_while_a_reload_was_owed_still_owes_it(site):
    await site.apply(b"one")
    with pytest.raises(ReloadTimedOut):
        await site.apply(b"slow")
    with pytest.raises(ReloadRejected):
        await site.apply(b"port in use")
    assert site.live == (b"one",)
    assert site.owes_reload


@pytest.mark.parametrize("before", [b"one", None])
async def test_a_file_that_was_put_back_is_no_edit_of_others(site, before):
    with site.hold() as state:
        if before is not None:
            await apply(site.outputs(before), state=state, check=site.program, reload=site.program)
        with pytest.raises(ReloadRejected):
            await apply(site.outputs(b"port in use"), state=state, check=site.program, reload=site.program)
        assert site.live == (before,)
        assert state.wrote(site.path)
        site.path.write_bytes(b"by hand")
        assert not state.wrote(site.path)


async def test_a_reload_that_ends_the_program_has_the_old_files_loaded_again_at_once(site):
    await site.apply(b"one")
    with pytest.raises(ReloadRejected) as caught:
        await site.apply(b"fatal")
    assert str(caught.value) == "model: nothing runs; the live file is rolled back and loaded again\n    worker exited"
    assert (site.live, list(site.program.running.values())) == ((b"one",), [b"one"])
    assert not site.owes_reload


async def test_a_reload_that_ends_the_program_stays_owed_where_the_old_files_are_not_taken_either(site):
    await site.apply(b"one")
    site.path.write_bytes(b"fatal by hand")
    with pytest.raises(ReloadLost):
        await site.apply(b"fatal")
    assert site.live == (b"fatal by hand",)
    assert site.owes_reload


async def test_what_ctemplate_did_not_write_is_kept_for_ever(pair, caplog):
    caplog.set_level("INFO")
    first, second = pair.paths
    first.write_bytes(b"of the operator")
    for number in range(6):
        await pair.apply(b"%d" % number, b"two")
    second.write_bytes(b"edited by hand")
    await pair.apply(b"5", b"two")
    originals = [path for path in (pair.folder / "state").glob("*/original/**/*") if path.is_file()]
    assert [path.read_bytes() for path in originals] == [b"of the operator"]
    assert originals[0].stat().st_mode & 0o777 == 0o600
    said = f"{first}: the original, which ctemplate did not write, is saved in {originals[0]}"
    assert caplog.text.count(said) == 1


async def test_replaced_content_is_kept_outside_the_tree(site):
    for number in range(6):
        await site.apply(b"%d" % number)
    assert site.kept("backups") == [b"2", b"3", b"4"]
    assert site.tree == ["n.conf"]


async def test_candidates_are_hidden_from_include_patterns_and_have_their_final_mode(site):
    seen = []

    class Look(ReadsAll):
        async def check(self, files):
            seen.extend(name for name in site.tree if fnmatch.fnmatch(name, "*.conf") or not name.startswith("."))
            seen.append(stat.S_IMODE(files[0].candidate.stat().st_mode))
            return ()

    site.group = dataclasses.replace(site.group, targets=(dataclasses.replace(site.group.targets[0], mode=0o600),))
    await site.apply(b"secret", check=Look())
    assert seen == [0o600]
    assert stat.S_IMODE(site.path.stat().st_mode) == 0o600


async def test_warnings_of_the_check_are_logged(site, caplog):
    class Warns(ReadsAll):
        async def check(self, files):
            del files
            return ("[warn] duplicate\x1b name",)

    await site.apply(b"one", check=Warns())
    assert [record.getMessage() for record in caplog.records] == ["site: [warn] duplicate\\x1b name"]


@pytest.mark.parametrize(
    ("on_edit", "expected"),
    [
        pytest.param(OnEdit.REPAIR, (Outcome.APPLIED, b"one", "overwritten with the rendered file"), id="repair"),
        pytest.param(OnEdit.REPORT, (Outcome.UNCHANGED, b"edited", "left as it is"), id="report"),
    ],
)
async def test_an_edited_live_file(tmp_path, caplog, on_edit, expected):
    outcome, live, then = expected
    site = Site(tmp_path, on_edit=on_edit)
    await site.apply(b"one")
    site.path.write_bytes(b"edited")
    with site.hold() as state:
        for turn in (outcome, Outcome.UNCHANGED):
            assert await apply(site.outputs(b"one"), state=state, check=site.program, reload=site.program) is turn
        warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert warned == [f"{site.path}: was changed by another program; {then}"]
    assert site.live == (live,)
    assert await site.apply(b"two") is Outcome.APPLIED
    assert site.live == (b"two",)


async def test_a_removed_live_file_is_put_back(site, caplog):
    await site.apply(b"one")
    site.path.unlink()
    assert await site.apply(b"one") is Outcome.APPLIED
    assert site.live == (b"one",)
    assert f"{site.path}: was removed by another program; overwritten with the rendered file" in caplog.messages


async def test_an_edited_file_is_left_while_its_neighbour_changes(tmp_path):
    pair = Site(tmp_path, "a.conf", "b.conf", on_edit=OnEdit.REPORT)
    await pair.apply(b"a1", b"b1")
    pair.paths[0].write_bytes(b"edited")
    assert await pair.apply(b"a1", b"b2") is Outcome.APPLIED
    assert pair.live == (b"edited", b"b2")


@pytest.mark.parametrize("moment", ["check", "reload"])
async def test_a_cancelled_apply_leaves_the_old_files(site, moment):
    await site.apply(b"one")
    reached = asyncio.Event()

    class Stuck(ReadsAll):
        async def check(self, files):
            del files
            reached.set()
            await asyncio.Event().wait()

        async def reload(self, change):
            await self.check(change)

    task = asyncio.create_task(site.apply(b"two", **{moment: Stuck()}))
    async with asyncio.timeout(60):
        await reached.wait()
        assert site.live == ((b"two",) if moment == "reload" else (b"one",))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert site.live == (b"one",)
    assert site.tree == ["n.conf"]
    assert site.owes_reload is (moment == "reload")


async def test_a_cancellation_while_files_are_staged_leaves_nothing_behind(site):
    tasks = []

    def cancel(step):
        if step is Step.SURVEYED:
            tasks[0].cancel()

    tasks.append(asyncio.create_task(site.apply(b"one", observe=cancel)))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert site.tree == []


async def test_a_cancellation_without_a_program_leaves_nothing_half_done(site):
    tasks, loop = [], asyncio.get_running_loop()

    def cancel(step):
        if step is Step.SURVEYED:
            loop.call_soon_threadsafe(tasks[0].cancel)

    tasks.append(asyncio.create_task(site.apply(b"one", reload=None, check=None, observe=cancel)))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert (site.live, site.tree) == ((b"one",), ["n.conf"])
    assert await site.apply(b"one", reload=None, check=None) is Outcome.UNCHANGED


@pytest.mark.parametrize("programs", [{}, {"reload": None, "check": None}], ids=["program", "no program"])
async def test_a_failed_swap_puts_back_what_was_swapped(pair, programs):
    await pair.apply(b"a1", b"b1", **programs)

    def obstruct(step):
        if step is Step.JOURNALED:
            candidate_path(pair.paths[1]).unlink()

    with pytest.raises(SwapFailed) as caught:
        await pair.apply(b"a2", b"b2", observe=obstruct, **programs)
    expected = f"{pair.paths[1]}: cannot be written: No such file or directory; every live file is rolled back"
    assert str(caught.value) == expected
    assert pair.live == (b"a1", b"b1")
    assert not pair.owes_reload
    assert pair.program.reloads == (0 if programs else 1)


BLIND = "site.conf: too strange to copy; swapped in to be checked live; a refusal restores the old file at once"


async def test_what_cannot_be_judged_before_is_judged_once_it_is_live(pair, caplog):
    await pair.apply(b"a1", b"b1")
    steps = []
    assert await pair.apply(b"a1", b"b2", check=BlindCheck(pair.program), observe=steps.append) is Outcome.APPLIED
    assert (pair.live, pair.program.running[pair.paths[1]]) == ((b"a1", b"b2"), b"b2")
    assert [(file.candidate, file.live) for file in pair.program.checks[-1]] == [(pair.paths[1], pair.paths[1])]
    assert BLIND in caplog.messages


async def test_what_is_refused_once_it_is_live_is_put_back_without_a_reload(site):
    await site.apply(b"one")
    before, reloads = site.path.stat().st_mtime_ns, site.program.reloads
    with pytest.raises(CheckRefused) as raised:
        await site.apply(b"syntax", check=BlindCheck(site.program))
    assert str(raised.value).startswith(f"{site.path}: model -t: exit status 1; the live file is rolled back\n")
    assert (site.live, site.path.stat().st_mtime_ns, site.program.reloads) == ((b"one",), before, reloads)
    assert not site.owes_reload
    assert site.kept("refused") == [b"syntax"]


async def test_a_kill_while_the_live_file_is_judged_is_put_right_even_without_a_reload(site):
    await site.apply(b"one", reload=None)
    killer = Killer(site, Step.SWAPPED)
    with contextlib.suppress(CheckRefused):
        await site.apply(b"syntax", check=BlindCheck(site.program), reload=None, observe=killer)
    killer.strike()
    assert site.live == (b"syntax",)
    site.recover()
    assert site.live == (b"one",)
