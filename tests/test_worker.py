"""A group's worker: what it does about errors."""

import logging
from types import SimpleNamespace

from ctemplate.catalog import Catalog
from ctemplate.errors import InternalError
from ctemplate.timing import Wait
from ctemplate.worker import Worker


class Defective:
    """A pipeline with a defect of the kind that nobody foresaw."""

    name = subject = "nginx.conf"
    sink = SimpleNamespace(wrote=lambda _: False)
    targets = ()

    async def render(self, snapshot):
        raise KeyError(len(snapshot))


async def test_a_defect_costs_one_group_a_turn_and_ends_nothing(caplog):
    worker = Worker(pipeline=Defective(), catalog=Catalog(), wait=Wait(min=0.0, max=0.0))
    with caplog.at_level(logging.INFO):
        await worker.step()
        await worker.step()
    assert isinstance(worker.error, InternalError)
    assert worker.answered.is_set()
    assert caplog.messages == ["nginx.conf: a defect of ctemplate's own, please report it: KeyError: 0"]
