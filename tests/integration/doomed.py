"""A daemon that kills itself at a step of its transaction; without a step, one that tests kill.

python -m doomed CONFIG CATALOG STEP
"""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctemplate import apply
from ctemplate.apply import Observe, Step
from ctemplate.cli.logs import configure
from ctemplate.config.layers import Layer
from ctemplate.config.schema import Config
from ctemplate.core.model import Outcome, Output
from ctemplate.runtime.assembly import Assembler
from ctemplate.runtime.daemon import Daemon
from ctemplate.sinks.live import LiveSink


@dataclass
class Watched:
    """A group's live files, with somebody who sees every step of their transactions."""

    live: LiveSink
    observe: Observe

    async def apply(self, outputs: tuple[Output, ...]) -> Outcome:
        live = self.live
        return await apply.apply(
            outputs,
            state=live.state,
            check=live.check_with,
            reload=live.reload,
            program=live.program,
            observe=self.observe,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.live, name)


class DoomedDaemon(Daemon):
    """A daemon that kills itself at a step."""

    step: Step

    def _hold_workers(self) -> None:
        super()._hold_workers()
        for worker in self.workers:
            worker.pipeline.sink.sink = Watched(worker.pipeline.sink.live, self._observe)

    def _observe(self, step: Step) -> None:
        if step is self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def live(config: Path, catalog: Path, step: str) -> None:
    assembler = Assembler(
        paths=(config,), flags=Layer(where="doomed", values={"catalog": str(catalog)}), environ=os.environ
    )
    configure(Config())
    assembly = assembler.assemble()
    if step:
        daemon: Daemon = DoomedDaemon(assembler=assembler, assembly=assembly, step=Step(step))
    else:
        daemon = Daemon(assembler=assembler, assembly=assembly)
    asyncio.run(daemon.run())


if __name__ == "__main__":
    live(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
