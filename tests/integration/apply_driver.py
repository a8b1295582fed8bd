"""A small ctemplate: applies files given on the command line, and may kill itself at a named step.

    python apply_driver.py SPEC.json

SPEC: state, destinations, rounds (each a list of contents), kill (a step or null), nth (which time the step is seen),
reload and check (commands or null), user, refuse_rename (answer EBUSY to renames over a destination).
Prints `ready`, then the outcome of each round or its error.
"""

# ruff: noqa: T201 - a small program that prints

import asyncio
import errno
import json
import os
import signal
import sys
from pathlib import Path

from ctemplate.apply import CommandCheck, CommandReload, Group, StateFolder, apply, recover
from ctemplate.core.errors import ApplyError, CtemplateError
from ctemplate.core.model import Output, Target


def suicide(step, nth):
    seen = []

    def observe(now):
        if now.value == step:
            seen.append(now)
            if len(seen) == nth:
                os.kill(os.getpid(), signal.SIGKILL)

    return observe


def refuse_renames(destinations):
    replace = os.replace

    def refuse(source, target):
        if str(target) in destinations:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(source), None, str(target))
        replace(source, target)

    os.replace = refuse


async def main(spec):
    targets = tuple(Target(destination=Path(path), user=spec.get("user")) for path in spec["destinations"])
    if spec.get("refuse_rename"):
        refuse_renames(spec["destinations"])
    group = Group(name="driver", targets=targets)
    check = CommandCheck(command=spec["check"]) if spec.get("check") else None
    reload = CommandReload(command=spec["reload"]) if spec.get("reload") else None
    with StateFolder(Path(spec["state"])).hold(group) as state:
        recover(state)
        print("ready", flush=True)
        for contents in spec["rounds"]:
            outputs = tuple(
                Output(target=target, content=content.encode())
                for target, content in zip(targets, contents, strict=True)
            )
            observe = suicide(spec.get("kill"), spec.get("nth", 1))
            try:
                outcome = await apply(outputs, state=state, check=check, reload=reload, observe=observe)
            except ApplyError as error:
                print(error, flush=True)
            else:
                print(outcome.value, flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
    except CtemplateError as error:
        sys.exit(str(error))
