"""The daemon, ``-once`` and ``-dry``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ctemplate.assembly import Assembler
from ctemplate.cli.logs import configure
from ctemplate.cli.options import flags_layer
from ctemplate.config.groups import STDOUT
from ctemplate.daemon import Daemon
from ctemplate.errors import ConfigError
from ctemplate.pipeline import Collected
from ctemplate.worker import Worker


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
    daemon = Daemon(assembler=assembler, assembly=assembler.assemble())
    if given["dry"] or given["once"]:
        asyncio.run(daemon.once(timeout=config.timeout))
        _print_collected(daemon.workers)
        return 1 if any(worker.error for worker in daemon.workers) else 0
    with _pid_file(config.pid_file):
        asyncio.run(daemon.run())
    return 0


def _print_collected(workers: tuple[Worker, ...]) -> None:
    """Print what a dry run would have written: ``> DESTINATION`` where there is one, then the bytes."""
    for worker in workers:
        if isinstance(worker.pipeline.sink, Collected):
            for output in worker.pipeline.sink.outputs:
                if output.target.destination != STDOUT:
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
