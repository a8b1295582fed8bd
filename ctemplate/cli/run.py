"""Run the daemon, and the commands ``-once`` and ``-dry``."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import click

from ctemplate.cli.flags import flags_layer
from ctemplate.cli.log_writer import log_writer
from ctemplate.cli.logs import configure
from ctemplate.cli.progress import run_with_progress
from ctemplate.config.groups import STDOUT
from ctemplate.config.show import shown_config
from ctemplate.core.early_signals import ENDING, let_signals_interrupt, noted_signals
from ctemplate.core.event_stream import emit
from ctemplate.core.host_events import ExecReplaced, GroupUnchanged, RunEnded
from ctemplate.core.model import Outcome
from ctemplate.runtime.assembly import Assembler, RunMode
from ctemplate.runtime.daemon import Daemon
from ctemplate.runtime.exec_mode import exec_command
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.runtime.service_notices import telling_of
from ctemplate.sinks.dry_run import DryRunSink
from ctemplate.sinks.plan import FileReview
from ctemplate.system.child_program import ChildCommand
from ctemplate.system.service_manager import ServiceManager

THREADS = 4  # for blocking work; each further thread may hold the memory of one more rendering


def assembler(
    given: Mapping[str, Any],
    mode: RunMode = RunMode.LIVE,
    planned: Mapping[str, FileReview] | None = None,
    *,
    is_daemon: bool = False,
) -> Assembler:
    """Return the assembler of a run with these options; raises ConfigError for a malformed option."""
    return Assembler(
        paths=tuple(Path(path) for path in given["config"]),
        flags=flags_layer(given),
        environ=os.environ,
        mode=mode,
        is_daemon=is_daemon,
        planned=planned,
    )


def prepared(given: Mapping[str, Any], mode: RunMode, planned: Mapping[str, FileReview] | None = None) -> Daemon:
    """Return a daemon that is ready to run with these options, and set up logging; raises ConfigError.

    With ``planned`` the daemon applies that plan and nothing else.
    """
    is_daemon = mode is RunMode.LIVE and planned is None and not given.get("once")
    made = assembler(given, mode, planned, is_daemon=is_daemon)
    config = made.config()
    configure(config, is_daemon=is_daemon)
    return Daemon(assembler=made, assembly=made.assemble())


def run_once(given: Mapping[str, Any], daemon: Daemon) -> None:
    """Let the daemon settle every group once, with progress at a terminal."""
    work = daemon.once(timeout=daemon.assembly.config.timeout)
    run_with_progress(daemon, work, is_quiet=given["quiet"])


def run(given: Mapping[str, Any]) -> int:
    """Run with these options; return the exit status, 0 for a daemon that a signal stopped before it had begun."""
    is_daemon = not (given["show_config"] or given["dry"] or given["once"])
    try:
        let_signals_interrupt()
        return _run(given)
    except KeyboardInterrupt:
        if is_daemon and not set(ENDING).isdisjoint(noted_signals()):
            return 0
        raise


def _run(given: Mapping[str, Any]) -> int:
    if given["show_config"]:
        click.echo("\n".join(shown_config(assembler(given).layers())))
        return 0
    daemon = prepared(given, RunMode.DRY if given["dry"] else RunMode.LIVE)
    if given["dry"] or given["once"]:
        run_once(given, daemon)
        if given["dry"]:
            _print_collected(daemon.workers)
        else:
            _report_end(daemon.workers)
        if any(worker.error for worker in daemon.workers):
            return 1
        if daemon.assembly.config.exec.command and not given["dry"]:
            _become(exec_command(daemon.assembly.config.exec, os.environ))
        return 0
    manager = ServiceManager.taken_from(os.environ)
    run_with_progress(daemon, _with_threads(_told(daemon, manager)), is_quiet=given["quiet"])
    return daemon.exit_status


def _become(program: ChildCommand) -> NoReturn:
    """Replace this process by the program of ``-exec``, after every file is up to date."""
    program.check()
    emit(ExecReplaced(command=str(program)))
    logging.shutdown()
    log_writer(sys.stderr).flush()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these signals
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(program.argv[0], program.argv, dict(program.environ))  # noqa: S606 - the operator's own program


async def _told(daemon: Daemon, manager: ServiceManager | None) -> None:
    """Run the daemon, and report its state to the service manager that started it."""
    async with telling_of(manager, daemon.events, lambda: daemon.workers):
        await daemon.run()


async def _with_threads(work: Coroutine[Any, Any, None]) -> None:
    """Run the work with threads for blocking calls; all threads start first, so that their number never grows."""
    pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="blocking")
    all_started = threading.Barrier(THREADS + 1)
    for _ in range(THREADS):
        pool.submit(all_started.wait)
    all_started.wait()
    asyncio.get_running_loop().set_default_executor(pool)
    await work


def _report_end(workers: tuple[GroupWorker, ...]) -> None:
    """Report the groups for which there was nothing to do, then the overall outcome."""
    ends: Counter[Outcome | None] = Counter()
    for worker in workers:
        outcome = worker.result.outcome if worker.error is None and worker.result is not None else None
        ends[outcome] += 1
        if outcome is Outcome.UNCHANGED:
            emit(GroupUnchanged(group=worker.pipeline.name, subject=worker.pipeline.subject))
    owed, unchanged, changed = (ends[each] for each in (Outcome.PENDING_START, Outcome.UNCHANGED, Outcome.APPLIED))
    emit(RunEnded(changed=changed, unchanged=unchanged, failed=ends[None], owed=owed))


def _print_collected(workers: tuple[GroupWorker, ...]) -> None:
    """Print what a dry run would have written: ``> DESTINATION`` where there is one, then the bytes."""
    for worker in workers:
        if isinstance(worker.pipeline.sink, DryRunSink):
            for output in worker.pipeline.sink.outputs:
                if output.target.destination != STDOUT:
                    sys.stdout.buffer.write(f"> {output.target.destination}\n".encode())
                sys.stdout.buffer.write(output.content or b"")
    sys.stdout.buffer.flush()
