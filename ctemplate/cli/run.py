"""The daemon, ``-once`` and ``-dry``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ctemplate.assembly import Assembler, Assembly
from ctemplate.cli.logs import configure
from ctemplate.cli.options import flags_layer
from ctemplate.daemon import Daemon
from ctemplate.errors import ConfigError
from ctemplate.pipeline import Collected


def run(given: Mapping[str, Any]) -> int:
    """Run as the options say; return the exit status."""
    assembler = Assembler(
        paths=tuple(Path(path) for path in given["config"]),
        flags=flags_layer(given),
        environ=os.environ,
        is_dry=given["dry"],
    )
    config = assembler.config()
    configure(config.log_level, config.log_format)
    assembly = assembler.assemble()
    with assembly:
        daemon = Daemon(assembler=assembler, assembly=assembly)
        if given["dry"] or given["once"]:
            asyncio.run(daemon.once(timeout=config.timeout))
            if given["dry"]:
                _print(assembly)
            return 1 if any(worker.error for worker in daemon.workers) else 0
        with _pid_file(config.pid_file):
            asyncio.run(daemon.run())
    return 0


def _print(assembly: Assembly) -> None:
    """Print what the groups would have written: ``> DESTINATION`` where there is one, then the bytes."""
    for pipeline in assembly.pipelines:
        if isinstance(pipeline.sink, Collected):
            for output in pipeline.sink.outputs:
                if output.target.destination is not None:
                    sys.stdout.buffer.write(f"> {output.target.destination}\n".encode())
                sys.stdout.buffer.write(output.content)
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _pid_file(path: str | None) -> Iterator[None]:
    """Keep the process id in the file while the daemon runs."""
    if path is None:
        yield
        return
    try:
        Path(path).write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as exc:
        raise ConfigError("-pid-file", f"{path} cannot be written: {exc.strerror}") from exc
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            Path(path).unlink()
