"""The environment that a table of the configuration gives a command. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ctemplate.config.schema import EnvSection
from ctemplate.system.child_program import exec_environment


def environment_of(section: EnvSection, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of our environment ``environ`` that a command gets, with the table's own variables."""
    return exec_environment(environ, **msgspec.structs.asdict(section))
