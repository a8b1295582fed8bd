"""``ctemplate test``: render captures and compare with the expected files beside them; needs no Consul and no nginx.

A case is a folder with a ``catalog.yaml`` (or ``.json``) and, for each target, a file named like the end of its
destination: ``nginx.conf``, or ``sites/a.conf`` where two targets end alike.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from ctemplate.cli.run import prepared, run_once
from ctemplate.core.errors import ConfigError, CtemplateError, printable
from ctemplate.core.model import Output
from ctemplate.runtime.assembly import RunMode
from ctemplate.sinks.dry_run import DryRunSink

CATALOGS = ("catalog.yaml", "catalog.yml", "catalog.json")


def golden(given: Mapping[str, Any]) -> int:
    """Run every case below the folders; return 1 when one differs, 0 when all agree."""
    cases = [case for folder in given["folders"] for case in found_cases(Path(folder))]
    if not cases:
        where = ", ".join(given["folders"])
        raise ConfigError(where, f"no case found; a case is a folder with a {CATALOGS[0]}")
    failed = sum(not _passes(case, given) for case in cases)
    click.echo(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


def found_cases(folder: Path) -> list[Path]:
    """Return the catalog files of all cases in and below the folder, in order."""
    return sorted(path for name in CATALOGS for path in folder.rglob(name))


def _passes(catalog: Path, given: Mapping[str, Any]) -> bool:
    case = catalog.parent
    try:
        outputs = _outputs(catalog, given)
    except CtemplateError as exc:
        click.echo(f"{case}: {exc}")
        return False
    expected = {case / name: output.content or b"" for name, output in case_name(outputs).items()}
    if given["update"]:
        for path, content in expected.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        click.echo(f"{case}: {len(expected)} written")
        return True
    lines = [line for path, content in expected.items() for line in _difference(path, content)]
    click.echo("\n".join([f"{case}: {'differs' if lines else 'ok'}", *lines]))
    return not lines


def _outputs(catalog: Path, given: Mapping[str, Any]) -> tuple[Output, ...]:
    daemon = prepared({**given, "catalog": str(catalog)}, RunMode.DRY)
    run_once(given, daemon)
    for worker in daemon.workers:
        if worker.error is not None:
            raise worker.error
    sinks = [worker.pipeline.sink for worker in daemon.workers]
    return tuple(output for sink in sinks if isinstance(sink, DryRunSink) for output in sink.outputs)


def case_name(outputs: tuple[Output, ...]) -> dict[str, Output]:
    """Name each output by as many trailing parts of its destination as are needed to make the names unique."""
    for count in range(1, 100):
        names = ["/".join(output.target.destination.parts[-count:]).lstrip("/") for output in outputs]
        if len(set(names)) == len(names):
            return dict(zip(names, outputs, strict=True))
    raise ConfigError("-template", "targets without a destination cannot be told apart")


def _difference(path: Path, content: bytes) -> Iterator[str]:
    try:
        before = path.read_bytes()
    except OSError:
        yield f"    {path}: is missing; -update writes it"
        return
    if before != content:
        pair = (before.decode(errors="replace").splitlines(), content.decode(errors="replace").splitlines())
        lines = difflib.unified_diff(*pair, f"{path} (expected)", f"{path} (rendered)", lineterm="")
        yield from (f"    {printable(line.expandtabs())}" for line in lines)
