"""This host's nginx as an answer: asked once, and again when the program or a module is replaced."""

import asyncio
import contextlib

import pytest

from ctemplate.catalog import Catalog
from ctemplate.queries import NginxBuildQuery
from ctemplate.sources.local_files import LocalFiles
from ctemplate.sources.local_nginx import nginx_build

LIMIT = 60


def install(program, version, modules="/none"):
    """Put a program in place that answers -V like that nginx, as a package does: by renaming."""
    new = program.with_name("new")
    new.write_text(
        f"#!/bin/sh\necho asked >> {program}.asked\necho nginx version: nginx/{version}\n"
        f"echo configure arguments: --modules-path={modules} --with-stream=dynamic --with-http_v2_module\n"
    )
    new.chmod(0o755)
    new.rename(program)


@contextlib.asynccontextmanager
async def following(query):
    """Answer a query from this host; yield a function that waits until the answer is as wanted."""
    catalog, files = Catalog(), LocalFiles(())
    rest = files.take(frozenset({query}))
    assert rest == frozenset()
    catalog.want("group", {query})
    task = asyncio.create_task(files.run(catalog))

    async def until(wanted):
        async with asyncio.timeout(LIMIT):
            while (found := catalog.get(query)) is None or not wanted(found.value):  # noqa: ASYNC110  # a limit
                await asyncio.sleep(0.02)
        return found.value

    try:
        yield until
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_is_asked_again_when_it_or_a_module_is_replaced(tmp_path):
    program, modules = tmp_path / "nginx", tmp_path / "modules"
    modules.mkdir()
    install(program, "1.22.1", modules)
    async with following(NginxBuildQuery(path=str(program))) as until:
        assert [build.modules for build in await until(bool)] == [("http_v2",)]
        (modules / "ngx_stream_module.so").touch()
        await until(lambda value: value[0].has_module("stream"))
        install(program, "1.26.3", modules)
        await until(lambda value: value[0].version == "1.26.3")
        program.unlink()  # as in the middle of an upgrade: the last answer stays
        install(program, "1.28.0", modules)
        assert await until(lambda value: value == () or value[0].version == "1.28.0") != ()


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho hello\n", "no program"])
async def test_a_program_that_does_not_say_its_version_is_unknown(tmp_path, text):
    (tmp_path / "nginx").write_text(text)
    (tmp_path / "nginx").chmod(0o755)
    assert (await nginx_build(NginxBuildQuery(path=f"{tmp_path}/nginx"))).value == ()


async def test_a_program_that_is_installed_later_is_asked_then(tmp_path):
    program = tmp_path / "nginx"
    async with following(NginxBuildQuery(path=str(program))) as until:
        assert await until(lambda _: True) == ()
        install(program, "1.26.3")
        assert [build.version for build in await until(bool)] == ["1.26.3"]
