import asyncio
import contextlib
import socket

import pytest

from ctemplate.catalog import Catalog
from ctemplate.control import Reply, Request, ask, serve
from ctemplate.guard import Policies
from ctemplate.model import Answer, Instance, ServiceQuery

WEB = ServiceQuery(name="web")


def holding():
    """A catalog that holds the one instance of a service."""
    catalog = Catalog(Policies())
    catalog.want("g", frozenset({WEB}))
    instance = Instance(id="w", name="web", node="n", address="10.0.0.1", port=80)
    catalog.put(Answer(query=WEB, value=(instance,), index=10))
    catalog.put(Answer(query=WEB, value=(), index=5))
    return catalog


@contextlib.asynccontextmanager
async def serving(folder, catalog):
    task = asyncio.create_task(serve(folder, catalog))
    try:
        async with asyncio.timeout(10):
            while not list(folder.glob("*.sock")) and not task.done():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("service", ["web", None])
async def test_a_hold_is_released(tmp_path, service):
    folder, catalog = tmp_path / ("long" * 30) / "control", holding()
    async with serving(folder, catalog):
        assert await asyncio.to_thread(ask, folder, Request(release="other")) == [Reply()]
        assert await asyncio.to_thread(ask, folder, Request(release=service)) == [Reply(released=("service(web): 1",))]
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.iterdir()) == []
    catalog.review()
    assert catalog.get(WEB).value == ()


@pytest.mark.parametrize("sent", [b"", b"{", b"[]\n", b'{"open": 1}\n', b"x" * 200_000], ids=range(5))
async def test_nonsense_is_not_answered_and_does_no_harm(tmp_path, sent):
    folder = tmp_path / "control"
    async with serving(folder, holding()):
        (path,) = folder.glob("*.sock")
        reader, writer = await asyncio.open_unix_connection(path)
        with contextlib.suppress(OSError):
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == b""
        writer.close()
        assert await asyncio.to_thread(ask, folder, Request(release="other")) == [Reply()]


def test_a_socket_left_behind_is_removed(tmp_path):
    path = tmp_path / "1.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert (ask(tmp_path, Request()), path.exists()) == ([], False)


async def test_without_a_place_for_the_socket_everything_else_goes_on(tmp_path, caplog):
    tmp_path.joinpath("file").touch()
    await serve(tmp_path / "file" / "control", Catalog())
    (message,) = caplog.messages
    assert message.endswith("no socket can be made: not a directory; 'ctemplate release' will not work")
