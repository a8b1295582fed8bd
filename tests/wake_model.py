"""Groups with a simulated source, whose every step waits for a scheduler: real catalog and workers, no time.

The world is one number for each service. In the end a group's live text must show the world's numbers, whatever the
order in which answers arrive, renders proceed, groups are edited and renders or applies fail.
"""

import asyncio
from types import SimpleNamespace

from ctemplate.catalog import Catalog
from ctemplate.core.errors import InternalError, SwapFailed, TemplateError
from ctemplate.core.model import Answer, Outcome, Service
from ctemplate.core.timing import Wait
from ctemplate.queries import ServiceQuery, ServicesQuery
from ctemplate.runtime.group_worker import GroupWorker, distribute
from ctemplate.runtime.pipeline import Result
from ctemplate.template import Rendering

LIST = ServicesQuery()
POISON = 13  # no template can print it
AGES = 300.0  # seconds in which everything that is tried again was tried again
MANY_ROUNDS = 200


def queries_of(reads, names):
    """The queries of a group that reads one service, all services of the list, or the one that another names."""
    if reads == "all":
        return {LIST} | {ServiceQuery(name=name) for name in names}
    return {ServiceQuery(name=reads)}


class Pipeline:
    """Reads what it is to read; waits at each step, and fails when it is told to."""

    def __init__(self, scene, name, reads):
        self.scene, self.name, self.subject, self.reads = scene, name, name, reads
        self.sink = SimpleNamespace(wrote=lambda _: False, replaced=lambda: None)
        self.targets = ()

    def due_at(self):
        return None

    async def places(self):
        await self.scene.pause(self.name, "places")
        return ()

    async def render(self, snapshot, _places):
        await self.scene.pause(self.name, "render")
        listed = snapshot.get(LIST) if self.reads == "all" else None
        used = queries_of(self.reads, [service.name for service in listed.value] if listed else [])
        found = {query: snapshot.get(query) for query in used}
        numbers = sorted((str(q), a.value) for q, a in found.items() if a is not None and q != LIST)
        await self.scene.pause(self.name, "rendered")
        self.scene.break_if_told(self.name, "render")
        if any(POISON in value for _, value in numbers):
            raise TemplateError(self.name, f"cannot print {numbers}")
        missing = frozenset(query for query, answer in found.items() if answer is None)
        return Rendering(texts=(str(numbers),), used=frozenset(used), missing=missing, quarantined=())

    async def run(self, rendering):
        if rendering.missing:
            return Result(outcome=Outcome.WAITING, rendering=rendering)
        await self.scene.pause(self.name, "apply")
        self.scene.break_if_told(self.name, "apply")
        self.scene.live[self.name] = rendering.texts[0]
        return Result(outcome=Outcome.APPLIED, rendering=rendering)


class Scene:
    """The world, the catalog, the groups, and the steps that can be taken now."""

    def __init__(self, groups, *, world, steps=("render",)):
        self.world = dict(world)
        self.catalog = Catalog()
        self.live = {}
        self.steps = steps  # at which a group waits for the scheduler: "render" for all, "a render" for group a
        self.gates = {}
        self.told_to_break = {}
        self.workers = {}
        self._running = {}
        self.tasks = set()
        self.reads = dict(groups)
        self.is_over = False

    async def __aenter__(self):
        for name in self.reads:
            self._work(name)
        self._spawn(distribute(self.catalog, lambda: tuple(self.workers.values())))
        await self.calm()
        return self

    async def __aexit__(self, *_):
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)

    def _spawn(self, work):
        task = asyncio.create_task(work)
        self.tasks.add(task)
        return task

    def _work(self, name):
        pipeline = Pipeline(self, name, self.reads[name])
        worker = self.workers[name] = GroupWorker(pipeline=pipeline, catalog=self.catalog, wait=Wait(min=0.0, max=0.0))
        self._running[name] = self._spawn(worker.run())

    # What happens at the seams

    async def pause(self, name, step):
        if not self.is_over and (step in self.steps or f"{name} {step}" in self.steps):
            gate = self.gates[name] = asyncio.get_running_loop().create_future()
            try:
                await gate
            finally:
                if self.gates.get(name) is gate:
                    del self.gates[name]

    def break_if_told(self, name, step):
        error = self.told_to_break.pop((name, step), None)
        if error is not None:
            raise error

    # What the scheduler can do

    def possible(self):
        """The steps that can be taken now, besides changes of the world: going on, and answering."""
        going = [("go", name) for name, gate in sorted(self.gates.items()) if not gate.done()]
        return going + [("answer", query) for query in sorted(self._outdated(), key=str)]

    def take(self, step):
        what, *which = step
        getattr(self, f"_{what}")(*which)

    def _go(self, name):
        self.gates[name].set_result(None)

    def _outdated(self):
        return {q for q in self.catalog.wanted if (a := self.catalog.get(q)) is None or a.value != self._value(q)}

    def _value(self, query):
        if query == LIST:
            return tuple(Service(name=name) for name in sorted(self.world))
        return (self.world.get(query.name),)

    def _answer(self, query):
        self.catalog.put(Answer(query=query, value=self._value(query)))

    def _set(self, name, number):
        if number is None:
            self.world.pop(name, None)
        else:
            self.world[name] = number

    def _fail(self, name, step):
        kinds = {"render": KeyError("a defect"), "apply": SwapFailed(name, "no space left")}
        self.told_to_break[name, step] = kinds[step]

    def _edit(self, name, reads):
        """Put another worker in a group's place, once the one that works has ended."""
        old, old_run = self.workers[name], self._running[name]
        self.reads[name] = reads
        old.stop()

        async def replace():
            await asyncio.wait([old_run])
            if self.workers[name] is old:
                self._work(name)

        self._spawn(replace())

    async def calm(self):
        """Let everything go on that can without time or a scheduler."""
        loop = asyncio.get_running_loop()
        for _ in range(12):
            await asyncio.sleep(0)
            if loop.is_idle():
                break

    async def end(self):
        """Let everything go on, and answer whatever is wanted, until nothing changes any more."""
        self.is_over = True
        for _ in range(MANY_ROUNDS):
            for gate in list(self.gates.values()):
                if not gate.done():
                    gate.set_result(None)
            await self.calm()
            outdated = self._outdated()
            for query in outdated:
                self._answer(query)
            if not outdated and not self.gates:
                break
        await asyncio.sleep(AGES)

    def faults(self):
        """What is wrong in the end: groups whose live text is not the world's, or whose last step met a defect."""
        errors = {name: worker.error for name, worker in self.workers.items()}
        found = [str(error) for error in errors.values() if isinstance(error, InternalError)]
        for name, reads in self.reads.items():
            names = queries_of(reads, self.world) - {LIST}
            numbers = sorted((str(query), self._value(query)) for query in names)
            is_poisoned = any(POISON in value for _, value in numbers)
            if not is_poisoned and self.live.get(name) != str(numbers):
                missing = sorted(map(str, self.workers[name].missing))
                found.append(f"{name}: {self.live.get(name)} instead of {numbers}, waiting for {missing}")
            if is_poisoned and self.workers[name].error is None:
                found.append(f"{name}: does not know that it cannot print {numbers}")
        return found
