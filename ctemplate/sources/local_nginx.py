"""This host's nginx as an answer: asked when a template wants its version or modules, and again when it is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from ctemplate.catalog import Catalog
from ctemplate.core.errors import CommandFailed
from ctemplate.core.model import Answer, Query
from ctemplate.core.values import dataclass
from ctemplate.nginx.command import ask_build
from ctemplate.nginx.modules import Modules
from ctemplate.queries import NginxBuild
from ctemplate.system.file_watch import Signature, file_edits, signatures

USUAL_FOLDER = Path("/usr/sbin")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBuild:
    """The answer to a question for a build, and the files that it depends on, as they were before."""

    value: tuple[NginxBuild, ...]
    files: Mapping[Path, Signature | None]


async def nginx_build(query: Query) -> FoundBuild:
    """Ask a program for its version and modules; no build if it cannot be run or says no version."""
    name = str(query.argument)
    program = Path(shutil.which(name) or USUAL_FOLDER / name)
    known = signatures([program])
    try:
        completed = await ask_build(name)
    except CommandFailed as exc:
        logger.debug("%s; templates do not know its version", exc)
        return FoundBuild(value=(), files=known)
    modules = Modules.from_output("\n".join(completed.output))
    known |= signatures(modules.files.values())
    if completed.status or not modules.version:
        logger.debug("%s -V: exit status %s; templates do not know its version", name, completed.status)
        return FoundBuild(value=(), files=known)
    present = await asyncio.to_thread(modules.present)
    build = NginxBuild(version=modules.version, modules=present, without=modules.removed)
    return FoundBuild(value=(build,), files=known)


async def follow_nginx(catalog: Catalog, query: Query) -> None:
    """Answer a question for a build, again whenever the program or a file of a module is replaced, until cancelled.

    A program that can no longer be run, as in the middle of an upgrade, leaves the last answer in use.
    """
    while True:
        found = await nginx_build(query)
        if found.value or catalog.get(query) is None:
            catalog.put(Answer(query=query, value=found.value, seen_at=time.time()))
        async with contextlib.aclosing(file_edits(found.files, known=found.files)) as edits:
            await anext(edits)
