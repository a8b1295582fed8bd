"""Check outputs without touching the live files: the candidates lie in a temporary private folder.

What follows from the verdict is decided elsewhere.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from ctemplate.apply.group import CandidateCheck
from ctemplate.core.errors import CannotJudge
from ctemplate.core.model import Output, StagedFile
from ctemplate.system.inputs import read_plain_file


async def judged(outputs: tuple[Output, ...], check: CandidateCheck) -> tuple[str, ...]:
    """Return the check's warnings about the outputs that differ from what is live; raises its refusal.

    Where none differs, the check runs on what is live: another program may have made that invalid.
    """
    changed = tuple(output for output in outputs if read_live_bytes(output) != output.content)
    changed = changed or tuple(output for output in outputs if output.content is not None)
    if not changed:
        return ()
    with _private_folder() as folder:
        try:
            staged = tuple(_staged(output, Path(folder) / str(number)) for number, output in enumerate(changed))
        except OSError as exc:
            raise _without_room(folder, exc) from exc
        return await check.check(staged)


def _private_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a new folder; raises CannotJudge where none can be made."""
    try:
        return tempfile.TemporaryDirectory(prefix="ctemplate-judged-", ignore_cleanup_errors=True)
    except OSError as exc:
        raise _without_room(os.environ.get("TMPDIR", "/tmp"), exc) from exc  # noqa: S108


def _without_room(folder: str, exc: OSError) -> CannotJudge:
    return CannotJudge(folder, f"has no room for the candidates: {(exc.strerror or str(exc)).lower()}")


def read_live_bytes(output: Output) -> bytes | None:
    """Return the bytes at the output's destination, or None when there is no regular file that can be read."""
    try:
        return read_plain_file(output.target.destination, limit_bytes=sys.maxsize)
    except OSError:
        return None


def _staged(output: Output, candidate: Path) -> StagedFile:
    candidate.write_bytes(output.content or b"")
    live = output.target.destination.absolute()
    return StagedFile(candidate=candidate, live=live, is_removed=output.content is None)
