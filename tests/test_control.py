import asyncio
import contextlib
import errno
import os
import pathlib
import shutil
import socket

import pytest

from ctemplate.catalog import Catalog
from ctemplate.config.layers import Layer
from ctemplate.core.model import Answer, Instance
from ctemplate.guard import Policies
from ctemplate.queries import ServiceQuery
from ctemplate.runtime.assembly import Assembler
from ctemplate.runtime.control_socket import ControlReply, Request, answering, ask, serve
from ctemplate.runtime.daemon import Daemon

WEB = ServiceQuery(name="web")


async def no_report():
    raise AssertionError("nobody asked for a report")


def holding():
    """A catalog that holds the one instance of a service."""
    catalog = Catalog(Policies())
    catalog.want("g", frozenset({WEB}))
    instance = Instance(id="w", name="web", node="n", address="10.0.0.1", port=80)
    catalog.put(Answer(query=WEB, value=(instance,), index=10))
    catalog.put(Answer(query=WEB, value=(), index=5))
    return catalog


@contextlib.asynccontextmanager
async def serving(path, catalog):
    task = asyncio.create_task(serve(path, catalog, no_report))
    try:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(answering, path.parent):  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("service", ["web", None])
async def test_a_hold_is_released(tmp_path, service):
    path, catalog = tmp_path / ("long" * 30) / "control" / "a.sock", holding()
    async with serving(path, catalog):
        assert await asked(path, "other") == ControlReply(held=("web",))
        assert await asked(path, service) == ControlReply(released=("service(web): 1",))
        assert [each.stat().st_mode & 0o777 for each in (path.parent, path)] == [0o700, 0o600]
    assert list(path.parent.iterdir()) == []
    catalog.review()
    assert catalog.get(WEB).value == ()


async def test_a_socket_of_a_dead_process_that_cannot_be_removed_is_one_true_line(tmp_path, monkeypatch, caplog):
    def refuse(path, **_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    path = tmp_path / "control" / "a.sock"
    path.parent.mkdir(mode=0o700)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as stale:
        stale.bind(str(path))
    monkeypatch.setattr(pathlib.Path, "unlink", refuse)
    async with asyncio.timeout(60):
        task = asyncio.create_task(serve(path, holding(), no_report))
        while not caplog.messages:  # noqa: ASYNC110 - logging sets no event
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    (said,) = caplog.messages
    assert said.startswith(f"{path.parent}: no socket can be made: read-only file system; ")


async def asked(path, service):
    return await asyncio.to_thread(ask, path, Request(release=service))


async def test_an_empty_first_answer_is_released(tmp_path):
    catalog = Catalog(Policies())
    catalog.want("g", frozenset({WEB}))
    catalog.put(Answer(query=WEB, value=(), index=10, filtered=True))
    async with serving(tmp_path / "a.sock", catalog):
        assert await asked(tmp_path / "a.sock", "other") == ControlReply(held=("web",))
        assert await asked(tmp_path / "a.sock", "web") == ControlReply(
            released=("service(web): its empty first answer",)
        )


@pytest.mark.parametrize("filtered", [True, False], ids=["an empty first answer", "nothing"])
def test_a_release_by_signal_counts_as_one_by_request(tmp_path, caplog, filtered):
    values = {"state_dir": str(tmp_path), "template": [{"contents": "", "destination": str(tmp_path / "out")}]}
    assembler = Assembler(paths=(), flags=Layer(where="test", values=values), environ={})
    daemon = Daemon(assembler=assembler, assembly=assembler.assemble())
    daemon.catalog.want("g", frozenset({WEB}))
    daemon.catalog.put(Answer(query=WEB, value=(), index=10, filtered=filtered))
    daemon.catalog.confirm(Answer(query=WEB, value=(), index=10, filtered=filtered), may_read=True)
    daemon._is_loaded = True
    with daemon.events.entered(), caplog.at_level("INFO"):
        daemon._release()
    assert caplog.messages == [f"released by SIGUSR1: {int(filtered)} holds"]


@pytest.mark.parametrize("sent", [b"", b"{", b"[]\n", b'{"open": 1}\n', b"x" * 200_000], ids=range(5))
async def test_nonsense_is_not_answered_and_does_no_harm(tmp_path, sent):
    path = tmp_path / "control" / "a.sock"
    async with serving(path, holding()):
        reader, writer = await asyncio.open_unix_connection(path)
        with contextlib.suppress(OSError):
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == b""
        writer.close()
        assert await asked(path, "other") == ControlReply(held=("web",))


async def test_a_socket_left_behind_does_not_answer_and_is_replaced(tmp_path):
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert (await asked(path, None), answering(tmp_path), path.exists()) == (None, [], True)
    async with serving(path, holding()):
        assert answering(tmp_path) == [path]
        assert await asked(path, "web") == ControlReply(released=("service(web): 1",))


async def test_a_socket_deleted_with_its_folder_stands_again_once_the_state_folder_does(tmp_path):
    path = tmp_path / "state" / "control" / "a.sock"
    async with serving(path, holding()):
        await asyncio.to_thread(shutil.rmtree, path.parent.parent)
        path.parent.parent.mkdir(mode=0o700)
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(answering, path.parent):  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
        assert await asked(path, "web") == ControlReply(released=("service(web): 1",))


def test_without_a_socket_there_is_no_answer(tmp_path):
    assert (ask(tmp_path / "a.sock", Request()), answering(tmp_path / "none")) == (None, [])


async def test_without_a_place_for_the_socket_everything_else_goes_on(tmp_path, caplog):
    tmp_path.joinpath("file").touch()
    await serve(tmp_path / "file" / "control" / "a.sock", Catalog(), no_report)
    (message,) = caplog.messages
    assert message.endswith("no socket can be made: not a directory; 'ctemplate release' will not work")


async def test_a_link_in_place_of_the_sockets_folder_is_left_alone_and_said(tmp_path, caplog):
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    (tmp_path / "control").symlink_to(target)
    await serve(tmp_path / "control" / "a.sock", Catalog(Policies()), no_report)
    said = f"{tmp_path}/control: is not a folder that belongs to this user; 'ctemplate release' will not work"
    assert caplog.messages == [said]
    assert (target.stat().st_mode & 0o777, list(target.iterdir())) == (0o755, [])
