"""``ctemplate doctor``: check that everything that ctemplate needs is present and permitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click
import msgspec

from ctemplate.cli.interruptible import run_interruptible
from ctemplate.cli.run import assembler
from ctemplate.doctor import Diagnosis, Severity, examination
from ctemplate.runtime.assembly import Assembly, RunMode


def doctor(given: Mapping[str, Any]) -> int:
    """Print a line for each check; return 1 when one of them is an error, else 0."""
    assembly = assembler(given, RunMode.DRY).assemble()
    is_text = given["format"] == "text"
    found = run_interruptible(_examined(assembly, shows_progress=is_text))
    if not is_text:
        made = {"version": 1, "findings": [asdict(diagnosis) for diagnosis in found]}
        click.echo(msgspec.json.format(msgspec.json.encode(made)).decode())
    return 1 if any(diagnosis.mark is Severity.ERROR for diagnosis in found) else 0


async def _examined(assembly: Assembly, *, shows_progress: bool) -> list[Diagnosis]:
    """Run all checks and print each line as it arrives, since Consul may answer slowly."""
    found = []
    async for diagnosis in examination(assembly):
        found.append(diagnosis)
        if shows_progress:
            click.echo(str(diagnosis))
    return found
