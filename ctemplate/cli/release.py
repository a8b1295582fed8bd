"""``ctemplate release``: end what the guard of a running ctemplate holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import msgspec

from ctemplate.cli.run import assembler
from ctemplate.control import CONTROL, Request, ask
from ctemplate.errors import CtemplateError, printable


def release(given: Mapping[str, Any], service: str | None) -> int:
    """Ask every ctemplate with this state folder to release a service, or all; raises CtemplateError if none runs."""
    made = assembler(given)
    folder = made.state_dir(made.config()) / CONTROL
    try:
        replies = ask(folder, Request(release=service))
    except (OSError, msgspec.MsgspecError) as exc:
        raise CtemplateError(str(folder), f"no answer from ctemplate: {exc}") from exc
    if not replies:
        raise CtemplateError(str(folder.parent), "no running ctemplate has its state here; see -state-dir")
    released = [line for reply in replies for line in reply.released]
    for line in released:
        click.echo(f"released {printable(line)}")
    if not released:
        click.echo("nothing is held" + (f" of service {printable(repr(service))}" if service else ""))
    return 0
