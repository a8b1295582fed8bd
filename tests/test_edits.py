"""Edits of files, as operators, editors and Kubernetes make them."""

import asyncio

from ctemplate.edits import edits, signatures


async def first(paths, **options):
    async with asyncio.timeout(20):
        return await anext(edits(paths, **options))


async def test_what_was_edited_since_it_was_read_comes_first(tmp_path):
    edited, same, gone = tmp_path / "edited", tmp_path / "same", tmp_path / "gone"
    for path in (edited, same, gone):
        path.write_text("read")
    known = signatures([edited, same, gone])
    edited.write_text("edited since")
    gone.unlink()
    assert await first(known, known=known) == {edited, gone}


async def test_file_that_comes_into_being_is_an_edit(tmp_path):
    path = tmp_path / "late"
    waiting = asyncio.create_task(first([path]))
    async with asyncio.timeout(20):
        while not waiting.done():
            await asyncio.sleep(0.02)
            (tmp_path / "other").write_text("of no interest")
            path.write_text("here")
    assert waiting.result() == {path}
