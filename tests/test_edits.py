"""Edits of files in the ways of operators, editors and Kubernetes."""

import asyncio
import contextlib
import os

from ctemplate.system.file_watch import file_edits, is_being_written, poll_modified, signatures


async def first(paths, **options):
    async with asyncio.timeout(60):
        return await anext(file_edits(paths, **options))


async def test_what_was_edited_since_it_was_read_comes_first(tmp_path):
    edited, same, gone = tmp_path / "edited", tmp_path / "same", tmp_path / "gone"
    for path in (edited, same, gone):
        path.write_text("read")
    known = signatures([edited, same, gone])
    edited.write_text("edited since")
    gone.unlink()
    assert await first(known, known=known) == {edited, gone}


async def test_an_edit_while_the_first_one_is_handled_is_noticed(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    async with asyncio.timeout(30), contextlib.aclosing(file_edits([path], known={path: None})) as seen:
        assert await anext(seen) == {path}
        path.write_text("edited at once")
        assert await anext(seen) == {path}


async def test_file_that_comes_into_being_is_an_edit(tmp_path):
    path = tmp_path / "late"
    waiting = asyncio.create_task(first([path]))
    async with asyncio.timeout(60):
        while not waiting.done():
            await asyncio.sleep(0.02)
            (tmp_path / "other").write_text("of no interest")
            path.write_text("here")
    assert waiting.result() == {path}


async def test_a_file_in_a_folder_that_is_created_later_is_followed(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    async with asyncio.timeout(60), contextlib.aclosing(file_edits([path])) as seen:
        coming = asyncio.create_task(anext(seen), name="first")
        await asyncio.sleep(0)
        path.parent.mkdir(parents=True)
        path.write_text("one")
        assert await coming == {path}
        coming = asyncio.create_task(anext(seen), name="second")
        await asyncio.sleep(0)
        path.write_text("another")
        assert await coming == {path}


async def test_what_anybody_writes_is_seen_at_the_next_look(tmp_path):
    changed, replaced, gone, created, same = (tmp_path / name for name in ("a", "b", "c", "d", "e"))
    for path in (changed, replaced, gone, same):
        path.write_text("known")
    async with (
        asyncio.timeout(60),
        contextlib.aclosing(poll_modified(lambda: [changed, replaced, gone, created, same], every=0.01)) as seen,
    ):
        coming = asyncio.create_task(anext(seen))
        await asyncio.sleep(0)
        changed.write_text("changed")
        (tmp_path / "new").write_text("known")
        (tmp_path / "new").replace(replaced)
        gone.unlink()
        created.write_text("here")
        assert await coming == {changed, replaced, gone, created}


def test_who_has_a_file_open_to_write_is_seen(tmp_path):
    path = tmp_path / "file"
    assert not is_being_written(path)
    with path.open("w") as file:
        file.write("half")
        assert is_being_written(path)
    assert not is_being_written(path)
    with path.open():
        assert not is_being_written(path)


def test_a_pipe_is_never_opened_to_see_who_writes(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert not is_being_written(tmp_path / "fifo")


async def test_a_file_written_in_place_is_told_once_it_is_quiet(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    clock = asyncio.get_running_loop().time
    async with asyncio.timeout(60):
        told = asyncio.create_task(anext(file_edits([path], quiet=1.0)))
        await asyncio.sleep(0.2)
        path.write_text("")
        written = clock()
        path.write_text("new")
        assert await told == {path}
    assert clock() - written >= 1.0


async def test_a_file_that_is_replaced_need_not_be_quiet(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    async with asyncio.timeout(60):
        told = asyncio.create_task(anext(file_edits([path], quiet=3600.0)))
        await asyncio.sleep(0.2)
        (tmp_path / "new").write_text("new")
        (tmp_path / "new").replace(path)
        assert await told == {path}


async def test_a_file_that_is_open_to_write_is_told_once_it_is_closed(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    found = file_edits([path])
    async with asyncio.timeout(60):
        told = asyncio.create_task(anext(found))
        await asyncio.sleep(0.2)
        with path.open("w") as file:
            file.write("half")
            file.flush()
            done, _ = await asyncio.wait([told], timeout=1.0)
            assert not done
        assert await told == {path}


async def test_a_looping_link_is_an_edit_like_any_other(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    found = file_edits([path])
    async with asyncio.timeout(60):
        told = asyncio.create_task(anext(found))
        await asyncio.sleep(0.2)
        path.unlink()
        path.symlink_to("file")
        assert await told == {path}
        path.unlink()
        path.write_text("new")
        assert await anext(found) == {path}
