"""What replacing files means to nginx: its whole configuration before and after, with every include followed.

Reads the live configuration; writes nothing. If it cannot be read, each file is compared separately.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from ctemplate.core.errors import ApplyError
from ctemplate.core.event_stream import emit
from ctemplate.core.file_events import ForeignFileReplaced
from ctemplate.core.model import Outcome, Output
from ctemplate.nginx.language.includes import NGINX_FILE_LIMIT_BYTES, TreeError
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.language.parser import parse_config
from ctemplate.nginx.language.semantic_diff import Changes, changes, meaning
from ctemplate.nginx.lookup import Lookup
from ctemplate.nginx.whole import whole
from ctemplate.sinks.around import SinkAround
from ctemplate.system.inputs import read_plain_file

LOSSES_NAMED = 20  # how many vanishing things one line lists


async def main_file(nginx: Lookup | None) -> Path | None:
    """Return the main configuration file of a group's nginx, None if it cannot be determined."""
    if nginx is None:
        return None
    try:
        return (await nginx.installation()).conf
    except ApplyError:
        return None


def file_changes(main: Path | None, before: Mapping[Path, bytes], path: Path, content: bytes) -> Changes | None:
    """Return what one more file would change after ``before`` was replaced; None if the file is not nginx's language.

    The whole configuration is compared if the file is part of it, else only the file.
    """
    if main is not None and (found := _whole_changes(main, before, path, content)) is not None:
        return found
    try:
        new = meaning(parse_config(content, where=str(path)))
    except NginxSyntaxError:
        return None
    try:
        old = meaning(parse_config(read_plain_file(path, limit_bytes=NGINX_FILE_LIMIT_BYTES), where=str(path)))
    except (NginxSyntaxError, OSError):
        old = meaning(())
    return changes(old, new)


def _whole_changes(main: Path, before: Mapping[Path, bytes], path: Path, content: bytes) -> Changes | None:
    try:
        new = meaning(whole(main, {**before, path: content}))
    except (TreeError, NginxSyntaxError, OSError):
        return None
    try:
        old = meaning(whole(main, before))
    except (TreeError, NginxSyntaxError, OSError):
        old = meaning(())
    return changes(old, new)


class Announcing(SinkAround, kw_only=True, eq=False):
    """A sink that warns once about what vanishes when files that ctemplate did not write are replaced."""

    nginx: Lookup | None
    foreign: frozenset[Path]
    is_done: bool = False

    async def apply(self, outputs: tuple[Output, ...]) -> Outcome:
        """Announce, then apply."""
        if not self.is_done and self.foreign:
            await self._announce(outputs)
        self.is_done = True
        return await self.sink.apply(outputs)

    async def _announce(self, outputs: tuple[Output, ...]) -> None:
        main = await main_file(self.nginx)
        for output in outputs:
            path = output.target.destination.absolute()
            if path in self.foreign and output.content is not None:
                found = await asyncio.to_thread(file_changes, main, {}, path, output.content)
                _report(path, found.losses if found is not None else ())


def _report(path: Path, losses: tuple[str, ...]) -> None:
    """Warn of what vanishes; if nothing does, only name the file."""
    named, unnamed = losses[:LOSSES_NAMED], max(len(losses) - LOSSES_NAMED, 0)
    emit(ForeignFileReplaced(path=str(path), losses=named, unnamed=unnamed))
