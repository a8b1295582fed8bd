from dataclasses import replace
from pathlib import Path

import pytest

from ctemplate.apply import CommandCheck, CommandReload, LiveChange
from ctemplate.apply.commands import substituted
from ctemplate.core.errors import CheckRefused, CommandFailed, ReloadRejected
from ctemplate.core.model import Outcome, StagedFile


@pytest.fixture
def staged(tmp_path):
    """Two candidates; the second is bad."""
    for name, content in (("a", "good"), ("b", "bad")):
        (tmp_path / f".{name}.ctemplate").write_text(content)
    return tuple(StagedFile(candidate=tmp_path / f".{name}.ctemplate", live=tmp_path / name) for name in ("a", "b"))


FILE = StagedFile(candidate=Path("/etc/.n.ctemplate"), live=Path("/etc/n"))
ODD = StagedFile(candidate=Path("/etc/.it's $odd.ctemplate"), live=Path("/etc/it's $odd"))


@pytest.mark.parametrize(
    ("command", "file", "expected"),
    [
        pytest.param("t -c {candidate}", FILE, "t -c /etc/.n.ctemplate", id="string"),
        pytest.param("t {candidate} {live}", FILE, "t /etc/.n.ctemplate /etc/n", id="both"),
        pytest.param("t -c {candidate}", ODD, "t -c '/etc/.it'\"'\"'s $odd.ctemplate'", id="string is quoted"),
        pytest.param(["t", "-c={candidate}"], ODD, ("t", "-c=/etc/.it's $odd.ctemplate"), id="list is not"),
        pytest.param("awk '{print}' {candidate}", FILE, "awk '{print}' /etc/.n.ctemplate", id="other braces"),
        pytest.param("t", FILE, "t", id="none"),
    ],
)
def test_paths_are_put_into_a_command(command, file, expected):
    assert substituted(command, file) == expected


async def test_a_check_that_names_the_candidate_judges_every_file(staged):
    check = CommandCheck(command="grep -q good {candidate}")
    assert await check.check(staged[:1]) == ()
    with pytest.raises(CheckRefused) as caught:
        await check.check(staged)
    bad = staged[1]
    assert str(caught.value) == f"{bad.live}: grep -q good {bad.candidate}: exit status 1"


async def test_words_about_the_candidate_are_told_of_the_live_file(staged):
    bad = staged[1]
    with pytest.raises(CheckRefused) as caught:
        await CommandCheck(command="echo [{candidate}:7] no; exit 1").check(staged[1:])
    assert caught.value.output == (f"[{bad.live}:7] no",)


async def test_a_check_that_names_the_candidate_skips_a_file_to_be_removed(staged, tmp_path):
    removed = replace(staged[1], is_removed=True)
    check = CommandCheck(command=f"echo {{live}} >> {tmp_path}/log; grep -q good {{candidate}}")
    assert await check.check((staged[0], removed)) == ()
    assert await check.check((removed,)) == ()
    assert (tmp_path / "log").read_text() == f"{staged[0].live}\n"
    await CommandCheck(command=f"echo whole >> {tmp_path}/log").check((removed,))
    assert (tmp_path / "log").read_text() == f"{staged[0].live}\nwhole\n"


async def test_a_refusal_carries_the_commands_output(staged):
    with pytest.raises(CheckRefused) as caught:
        await CommandCheck(command="echo no; echo never >&2; kill -9 $$").check(staged[:1])
    assert caught.value.what.endswith(": killed by SIGKILL")
    assert caught.value.output == ("no", "never")


async def test_a_check_that_names_no_candidate_runs_once(staged, tmp_path):
    await CommandCheck(command=f"echo ran >> {tmp_path}/log").check(staged)
    assert (tmp_path / "log").read_text() == "ran\n"


async def test_a_check_for_one_destination_judges_that_file_alone(staged):
    assert await CommandCheck(command="grep -q good {candidate}", destination=staged[0].live).check(staged) == ()
    with pytest.raises(CheckRefused):
        await CommandCheck(command="grep -q good {candidate}", destination=staged[1].live).check(staged)
    assert await CommandCheck(command="false", destination=staged[1].live).check(staged[:1]) == ()


async def test_a_check_that_hangs_or_cannot_start_has_failed(staged):
    with pytest.raises(CommandFailed, match=r"sleep 600: still running after 0\.2s; its process group was killed"):
        await CommandCheck(command="sleep 600", timeout=0.2).check(staged)
    with pytest.raises(CommandFailed, match="no-such-check: cannot be started"):
        await CommandCheck(command="no-such-check").check(staged)


async def test_a_reload_runs_its_command_once_and_logs_what_it_said(tmp_path, caplog):
    caplog.set_level("INFO")
    reload = CommandReload(command=f"echo hello; echo ran >> {tmp_path}/log")
    assert await reload.reload(LiveChange(files=(Path("/a"), Path("/b")))) is Outcome.APPLIED
    assert (tmp_path / "log").read_text() == "ran\n"
    [message] = caplog.messages
    assert message.startswith("echo hello; echo ran")
    assert message.endswith("s\n    hello")


async def test_a_reload_that_fails_raises_and_logs_nothing(caplog):
    with pytest.raises(CommandFailed) as caught:
        await CommandReload(command="echo broken; exit 7").reload(LiveChange(files=()))
    assert str(caught.value) == "echo broken; exit 7: exit status 7\n    broken"
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("command", "has_proof", "failure"),
    [
        pytest.param("exit 1", True, ReloadRejected, id="proof that the old files run"),
        pytest.param("exit 1", False, CommandFailed, id="no proof"),
        pytest.param("exit 2", True, CommandFailed, id="another status"),
        pytest.param("kill $$", True, CommandFailed, id="killed"),
    ],
)
async def test_only_status_1_of_a_command_with_proof_says_that_the_old_files_run(command, has_proof, failure):
    with pytest.raises((CommandFailed, ReloadRejected)) as caught:
        await CommandReload(command=command, has_proof=has_proof).reload(LiveChange(files=()))
    assert type(caught.value) is failure
