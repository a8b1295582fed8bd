"""Put together what runs: from the configuration to a source, pipelines and workers.

The one place that knows every part; nothing here runs yet, prints or owns a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ctemplate.catalog import Catalog
from ctemplate.config.groups import GroupPlan
from ctemplate.config.layers import Layer, build, environment_layer, read
from ctemplate.config.schema import Config
from ctemplate.pipeline import Pipeline
from ctemplate.sources import Source
from ctemplate.timing import Wait
from ctemplate.worker import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """What the daemon runs: one source and a pipeline for each group. Entering it locks the groups' destinations."""

    config: Config
    source: Source
    source_name: str
    plans: tuple[GroupPlan, ...]
    pipelines: tuple[Pipeline, ...]
    files: frozenset[Path]

    @property
    def summary(self) -> str:
        """What runs, in a few words."""
        templates = sum(len(plan.templates) for plan in self.plans)
        count = f"{templates} template{'s' if templates > 1 else ''}"
        return f"{count} in {len(self.plans)} group{'s' if len(self.plans) > 1 else ''} from {self.source_name}"

    def workers(self, catalog: Catalog) -> tuple[Worker, ...]:
        """Return a new worker for each group."""
        wait = Wait(min=self.config.wait.min, max=self.config.wait.max)
        return tuple(
            Worker(
                pipeline=pipeline,
                catalog=catalog,
                wait=wait,
                min_interval=plan.settings.min_interval if plan.settings.reload else 0.0,
            )
            for plan, pipeline in zip(self.plans, self.pipelines, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembler:
    """Where the configuration comes from, and how it becomes an assembly."""

    paths: tuple[Path, ...]
    flags: Layer
    environ: Mapping[str, str]
    is_dry: bool = False

    def config(self) -> Config:
        """Read the configuration: environment, files in order, options; raises ConfigError."""
        files = [layer for path in self.paths for layer in read(path)]
        return build([environment_layer(self.environ), *files, self.flags])
