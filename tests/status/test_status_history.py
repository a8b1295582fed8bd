"""The history: bounded, newest first, stored across a restart; and services, one page at a time."""

import asyncio
import logging

import pytest

from ctemplate.core.events import AnswerChanged, InputRead, RequestEnded
from ctemplate.core.group_events import Applied, FilesReplaced, Quarantined
from ctemplate.core.model import CheckState, Instance, Status
from ctemplate.runtime.history_store import HistoryKeeper, load_history
from ctemplate.status.history import CHANGES_KEPT, DIFF_LENGTH, OTHERS_KEPT, History
from ctemplate.status.services import INSTANCES_SHOWN, SERVICES_SHOWN, services_page

WEB = {"group": "edge", "subject": "nginx.conf"}


def changed(history, line="+a"):
    history.take(FilesReplaced(**WEB, diff=(line,), causes=("why",)))
    history.take(Applied(**WEB))


def test_a_change_has_its_diff_and_causes():
    history = History()
    changed(history)
    history.take(Applied(**WEB))
    again, entry = history.entries
    assert (entry.event, entry.group, entry.text, entry.lines) == ("applied", "edge", "nginx.conf: applied", 1)
    assert (entry.diff, entry.causes) == (("+a",), ("why",))
    assert (again.diff, again.lines) == ((), 0)


def test_what_is_counted_only_is_no_entry_and_a_flood_drives_no_change_out():
    history = History()
    changed(history)
    history.take(AnswerChanged(query="service(web)", kind="service"))
    history.take(RequestEnded(result="ok"))
    for number in range(2 * OTHERS_KEPT):
        history.take(Quarantined(group="edge", service=str(number), text="bad"))
    entries = history.entries
    assert len(entries) == OTHERS_KEPT + 1
    assert (entries[0].level, entries[-1].event) == ("warning", "applied")
    for _ in range(2 * CHANGES_KEPT):
        changed(history, "+" + "x" * 2 * DIFF_LENGTH)
    assert len(history.entries) == OTHERS_KEPT + CHANGES_KEPT
    assert max(len(str(entry.diff)) for entry in history.entries) < DIFF_LENGTH + 1000


def test_requests_and_measurements_wake_no_stream():
    history = History()
    history.take(RequestEnded(result="ok"))
    assert history.version == 0
    history.take(InputRead(subject="x"))
    assert history.version == 1


async def kept(path, history):
    keeper = HistoryKeeper(history=history, path=path)
    task = asyncio.create_task(keeper.run())
    async with asyncio.timeout(60):
        while not history._has_earlier:  # noqa: ASYNC110 - the history sets no event
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])


async def test_it_is_kept_over_a_restart(tmp_path):
    path, first, second = tmp_path / "state" / "history.json", History(), History()
    changed(first)
    await kept(path, first)
    assert path.stat().st_mode & 0o777 == 0o600
    second.take(InputRead(subject="new"))
    await kept(path, second)
    assert [entry.text for entry in second.entries] == ["new: read again", "nginx.conf: applied"]
    assert [entry.id for entry in second.entries] == [2, 1]
    assert load_history(path) == second.entries


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1, "entries": [1]}', b"\xff", b"[" * 100_000])
def test_an_unfit_file_is_said_and_begun_anew(tmp_path, caplog, content):
    path = tmp_path / "history.json"
    path.write_bytes(content)
    assert load_history(path) == ()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith("; starting without the earlier history")


def test_a_file_that_others_may_write_is_not_taken(tmp_path, caplog):
    path = tmp_path / "history.json"
    path.write_bytes(b'{"version": 1, "entries": []}')
    path.chmod(0o666)
    assert load_history(path) == ()
    assert "others may write it" in caplog.text


async def test_a_folder_that_cannot_be_written_is_said_once(tmp_path, caplog):
    path, history = tmp_path / "file" / "history.json", History()
    (tmp_path / "file").write_text("")
    keeper = HistoryKeeper(history=history, path=path)
    changed(history)
    keeper.save()
    keeper.save()
    assert [each for each in caplog.messages if "forgets the history" in each] == caplog.messages
    assert len(caplog.messages) == 1


def instance(number=1, **changes):
    known = {"id": f"i{number}", "name": "web", "node": f"n{number}", "address": "10.0.0.1", "port": number}
    return Instance(**(known | changes))


def test_services_that_lack_health_stand_first():
    failing = instance(status=Status.CRITICAL, checks=(CheckState(id="tcp", status="critical"),))
    page = services_page({"service(a)": (instance(),), "service(b)": (instance(2), failing), "service(c)": ()}, {})
    assert [service.query for service in page.services] == ["service(b)", "service(c)", "service(a)"]
    first = page.services[0]
    assert (first.passing, first.critical, first.instances[0].checks) == (1, 1, ("tcp: critical",))


def test_a_thousand_services_are_a_page_at_a_time():
    many = tuple(instance(number) for number in range(200))
    services = {f"service(s{number:04})": many for number in range(1000)}
    page = services_page(services, {}, offset=990)
    assert (page.total, page.matching, len(page.services)) == (1000, 1000, 10)
    assert len(services_page(services, {}).services) == SERVICES_SHOWN
    assert len(page.services[0].instances) == INSTANCES_SHOWN
    found = services_page(services, {}, search="S0042")
    assert [service.query for service in found.services] == ["service(s0042)"]
    assert services_page(services, {}, search="n199").matching == 1000
    assert services_page(services, {}, search="nothing").services == ()


def test_held_instances_are_marked():
    page = services_page({"service(web)": (instance(1), instance(2))}, {"service(web)": frozenset({"i2"})})
    assert [(each.id, each.is_held) for each in page.services[0].instances] == [("i1", False), ("i2", True)]
    assert page.services[0].held == 1
