"""Build what runs from the configuration: a source, pipelines and workers.

The one place that knows every part; it runs, prints and owns nothing. The one exception: what a killed process left
of a group's files is repaired as soon as their locks are held.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import logging
import os
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctemplate import apply
from ctemplate.apply import StateFolder
from ctemplate.apply.restored import read_restoration
from ctemplate.catalog import Catalog
from ctemplate.config.folders import state_folder
from ctemplate.config.groups import GroupPlan, command_name, group_plans
from ctemplate.config.layers import (
    Layer,
    build,
    configuration_files,
    environment_layer,
    local_layers,
    read_layers,
)
from ctemplate.config.schema import Config, GuardSection, ServiceGuardSection
from ctemplate.core.errors import ConfigError, CtemplateError, TemplateError
from ctemplate.core.group_events import TemplatesRefused
from ctemplate.core.model import Target
from ctemplate.core.section import Section
from ctemplate.core.settings import GuardPolicy
from ctemplate.core.values import dataclass
from ctemplate.guard import Policies
from ctemplate.nginx.groups import unproven_files
from ctemplate.nginx.lookup import Lookup
from ctemplate.queries import ServiceQuery
from ctemplate.runtime.answer_store import memory_path, writer_name
from ctemplate.runtime.control_socket import CONTROL_FOLDER
from ctemplate.runtime.exec_mode import check_exec
from ctemplate.runtime.group_files import group_check, group_targets, restorable_sink
from ctemplate.runtime.group_nginx import group_nginx, group_surroundings
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.runtime.last_good import LastRendered
from ctemplate.runtime.pipeline import Pipeline
from ctemplate.runtime.template_loading import earlier_templates, earliest_signatures, group_templates
from ctemplate.runtime.tracing_service import check_tracing
from ctemplate.sinks.dry_run import DryRunSink
from ctemplate.sinks.plan import FileReview, PlanSink
from ctemplate.sinks.planned_files import PlannedFiles
from ctemplate.sinks.sink import Sink
from ctemplate.sources.catalog_file import CatalogFile
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.source import ConsulSource
from ctemplate.sources.source import Source
from ctemplate.status.address import StatusAddress, parse_status_address
from ctemplate.system.file_watch import Signature, signatures
from ctemplate.system.inputs import real_path
from ctemplate.template import Template, template_digest

if TYPE_CHECKING:
    from ctemplate.config.hcl_reading import Notice

logger = logging.getLogger(__name__)
STATUS_SERVICES = "ctemplate.runtime.status_service:status_services"  # imported by name: few processes serve status
METRICS = "ctemplate.status.metrics:Metrics"
POLL_DELAY = 1.0  # seconds after the first answers until a run that is no daemon begins to wait for changes


class RunMode(enum.Enum):
    """What happens to a group's outputs: they become live files, are only checked, or are shown as a plan."""

    LIVE = "live"
    DRY = "dry"
    PLAN = "plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """What the daemon runs: one source, and a plan with its loaded templates for each group.

    ``signatures`` identify every file that a template was made from, as it was when it was read. A daemon whose new
    templates are unusable continues with the ones that were live last. ``configuration`` names the configuration files;
    it is empty where there are none.
    """

    config: Config
    source: Source
    source_name: str
    plans: tuple[GroupPlan, ...]
    templates: tuple[tuple[Template, ...], ...]
    signatures: Mapping[Path, Signature | None]
    state_dir: Path
    mode: RunMode
    environ: Mapping[str, str] = field(repr=False)
    configuration: str = ""
    configuration_files: tuple[Path, ...] = ()
    is_daemon: bool = False
    planned: Mapping[str, FileReview] | None = None
    notices: tuple[Notice, ...] = ()
    refused: tuple[TemplatesRefused, ...] = ()  # at the start

    @property
    def policies(self) -> Policies | None:
        """The policies that guard the answers; None for a catalog file, which is the operator's own data."""
        return None if self.config.catalog is not None else self._configured_policies

    @property
    def _configured_policies(self) -> Policies:
        """The policies of the configuration, whatever the source."""
        section = self.config.guard
        return Policies(
            default=_guard_policy(section, section),
            is_scoped=bool(self.config.consul.namespace or self.config.consul.partition),
            services={name: _guard_policy(own, section) for name, own in section.service.items()},
        )

    @property
    def files(self) -> Mapping[Path, Signature | None]:
        """Return the files with their signatures, and those that a template named only when it was rendered."""
        late = (template.files.copy() for group in self.templates for template in group)
        return {**earliest_signatures(*late), **self.signatures}

    @property
    def keeps_answers(self) -> bool:
        """Whether the last good answers are stored for a later process: they are guarded, and files are written."""
        return self.mode is RunMode.LIVE and self.policies is not None

    @property
    def memory_path(self) -> Path:
        """Where the last good answers are stored."""
        return memory_path(self.state_dir, _destinations(self.plans))

    @property
    def control_path(self) -> Path:
        """The control socket of the process that writes these destinations."""
        return _control_path(self.state_dir, self.plans)

    @property
    def status_address(self) -> StatusAddress | None:
        """The address at which status is served, None for none; raises ConfigError."""
        text = self.config.status.address
        return parse_status_address(text) if text else None

    @property
    def summary(self) -> str:
        """A short description of what runs."""
        count = sum(len(plan.templates) for plan in self.plans)
        groups = f"{len(self.plans)} group{'s' if len(self.plans) > 1 else ''}"
        return f"{count} template{'s' if count > 1 else ''} in {groups} from {self.source_name}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the groups that are written, one sentence each."""
        sentences = [(plan, unproven_files(plan)) for plan in self.plans] if self.mode is RunMode.LIVE else []
        return tuple(f"{plan.templates[0].destination}: {sentence}" for plan, sentence in sentences if sentence)

    @contextlib.contextmanager
    def workers(self, catalog: Catalog, previous: Iterable[GroupWorker] = ()) -> Iterator[tuple[GroupWorker, ...]]:
        """Lock the groups' destinations and yield a new worker for each group; raises StateError.

        A worker takes over the state of the previous worker for the same files.
        """
        before = {worker.pipeline.destinations: worker.pipeline for worker in previous}
        states = StateFolder(self.state_dir, self.configuration) if self.mode is RunMode.LIVE else None
        planned = PlannedFiles(held=self._restored if states is None else frozenset())
        with contextlib.ExitStack() as held:
            yield tuple(
                GroupWorker(
                    pipeline=self._pipeline(plan, templates, states, held, before, planned=planned),
                    catalog=catalog,
                    wait=plan.settings.wait or self.config.wait,
                    min_interval=plan.settings.min_interval if plan.settings.reload else 0.0,
                )
                for plan, templates in zip(self.plans, self.templates, strict=True)
            )

    @property
    def _restored(self) -> frozenset[str]:
        """The names of the groups whose files stay as they were restored."""
        held = set()
        for plan, templates in zip(self.plans, self.templates, strict=True):
            found = read_restoration(apply.group_folder(self.state_dir, _destinations((plan,))))
            if found is not None and found.holds(template_digest(templates)):
                held.add(plan.settings.name)
        return frozenset(held)

    def _pipeline(
        self,
        plan: GroupPlan,
        templates: tuple[Template, ...],
        states: StateFolder | None,
        held: contextlib.ExitStack,
        before: Mapping[tuple[Path, ...], Pipeline],
        *,
        planned: PlannedFiles,
    ) -> Pipeline:
        targets = group_targets(plan)
        destinations = tuple(target.destination for target in targets)
        known = before[destinations].nginx if destinations in before else None
        nginx = group_nginx(plan, self.state_dir, is_written=states is not None, before=known)
        if states is None:
            sink = self._spared(plan, targets, planned, nginx)
        else:
            digest, sealed = template_digest(templates), self.planned
            sink = restorable_sink(plan, targets, states, held, nginx=nginx, templates=digest, planned=sealed)
        last_rendered = self._last_rendered(destinations)
        around = functools.partial(planned.around, plan.settings.name)
        return Pipeline(
            name=plan.settings.name,
            templates=templates,
            targets=targets,
            sink=sink,
            nginx=nginx,
            surroundings=group_surroundings(plan, templates, nginx, self._neighbours(plan), around),
            last_rendered=last_rendered,
            before=before.get(destinations),
            earlier=() if destinations in before else self._earlier(plan, last_rendered),
            hold=self._hold,
            reserved=frozenset(map(real_path, _destinations(other for other in self.plans if other is not plan))),
        )

    def _neighbours(self, plan: GroupPlan) -> tuple[Path, ...]:
        """Return the files of the other groups for which nginx's rule for values applies."""
        return tuple(
            template.destination
            for other, loaded in zip(self.plans, self.templates, strict=True)
            for template, one in zip(other.templates, loaded, strict=True)
            if other is not plan and template.each is None and one.is_for_nginx
        )

    def _last_rendered(self, destinations: tuple[Path, ...]) -> LastRendered:
        folder = apply.group_folder(self.state_dir, destinations)
        return LastRendered(folder=folder, is_written=self.mode is RunMode.LIVE, stands_still=self.is_daemon)

    def _earlier(self, plan: GroupPlan, last: LastRendered) -> tuple[Template, ...]:
        """Return the templates that were live last, for a daemon to continue with; none where they are unavailable."""
        if not self.is_daemon:
            return ()
        try:
            return earlier_templates(plan, last, self.config, self.environ)
        except TemplateError as exc:
            logger.debug("%s: the templates that were live last cannot be used", exc)
            return ()

    def _hold(self, service: str) -> float:
        """Return how long the last good data of a service stay in use, whatever the source."""
        return self._configured_policies.of(ServiceQuery(name=service)).hold

    def _spared(
        self, plan: GroupPlan, targets: tuple[Target, ...], planned: PlannedFiles, nginx: Lookup | None
    ) -> Sink:
        """Return a sink that changes no live file; the files of all groups are in ``planned``."""
        items = apply.item_records(self.state_dir, apply.Group(name=plan.settings.name, targets=targets))
        if self.mode is RunMode.DRY:
            return DryRunSink(plan.settings.name, planned, frozenset(items))
        return _considered(plan, self.state_dir, items, planned, nginx)


def _guard_policy(own: GuardSection | ServiceGuardSection, common: GuardSection) -> GuardPolicy:
    given = {name: getattr(own, name) for name in ServiceGuardSection.__struct_fields__}
    return GuardPolicy(**{name: getattr(common, name) if value is None else value for name, value in given.items()})


def _considered(
    plan: GroupPlan,
    state_dir: Path,
    items: Mapping[Path, apply.Accepted],
    planned: PlannedFiles,
    nginx: Lookup | None,
) -> PlanSink:
    settings = plan.settings
    commands = (command_name(settings.reload),) if settings.reload else ()
    written = apply.written_before(state_dir)
    check = group_check(settings, nginx, functools.partial(planned.around, settings.name))
    return PlanSink(
        name=settings.name,
        planned=planned,
        check_with=check,
        commands=commands,
        nginx=nginx,
        written=written,
        items=items,
    )


def import_what_serves(*, is_daemon: bool) -> None:
    """Import what a daemon with a status address needs: if that fails after an edit, the edit is refused."""
    for name in (STATUS_SERVICES, METRICS) if is_daemon else ():
        pkgutil.resolve_name(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembler:
    """Reads the configuration and turns it into an assembly."""

    paths: tuple[Path, ...]
    flags: Layer
    environ: Mapping[str, str] = field(repr=False)
    mode: RunMode = RunMode.LIVE
    is_daemon: bool = False
    planned: Mapping[str, FileReview] | None = None

    @property
    def configuration(self) -> str:
        """The name of the configuration files; empty without any, or with `-template`: others may share the file."""
        return "" if self.flags.values.get("template") else ", ".join(str(real_path(path)) for path in self.paths)

    def config(self) -> Config:
        """Read the configuration: environment, files in order, options; raises ConfigError."""
        return build(self.layers())

    def layers(self) -> list[Layer]:
        """Read the layers of the configuration, the lowest first; raises ConfigError."""
        files = [layer for path in self.paths for layer in read_layers(path)]
        return [environment_layer(self.environ), *files, *local_layers(self.environ), self.flags]

    def state_dir(self, config: Config) -> Path:
        """Return the configured state folder, or the default one."""
        home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
        return Path(config.state_dir or state_folder(self.environ, is_root=os.geteuid() == 0, home=home))

    def control_path(self, config: Config) -> Path:
        """Return the control socket of the process that runs with this configuration; raises ConfigError."""
        return _control_path(self.state_dir(config), group_plans(config))

    def assemble(self, previous: Assembly | None = None) -> Assembly:
        """Return an assembly of the current files; it reuses the previous one's source and templates where equal.

        Raises ConfigError, or TemplateError for a template that cannot be loaded; the error knows all ``inputs``.
        """
        known = () if previous is None else (*previous.signatures, *previous.configuration_files)
        inputs = signatures((*known, *self._configuration_files()))
        try:
            return self._assembled(previous, inputs)
        except CtemplateError as exc:
            exc.inputs = {**exc.inputs, **inputs}
            raise

    def _configuration_files(self) -> tuple[Path, ...]:
        """Return the configuration files that are there; of a folder, those in it."""
        with contextlib.suppress(OSError, ConfigError):
            return tuple(
                file for path in self.paths for file in (configuration_files(path) if path.is_dir() else [path])
            )
        return self.paths

    def _assembled(self, previous: Assembly | None, inputs: dict[Path, Signature | None]) -> Assembly:
        """Return an assembly; what it reads besides configuration and templates is added to ``inputs`` before."""
        files = self._configuration_files()
        layers = self.layers()
        config = build(layers)
        if config.catalog is not None:
            inputs |= signatures([Path(config.catalog)])
        if config.status.address:
            parse_status_address(config.status.address)
            import_what_serves(is_daemon=self.is_daemon)
        if config.tracing and self.is_daemon:
            check_tracing()
        if config.exec.command and self.mode is RunMode.LIVE:
            check_exec(config.exec, self.environ)
        plans, state_dir = group_plans(config, is_dry=self.mode is RunMode.DRY, inputs=files), self.state_dir(config)
        spare = [template for group in previous.templates for template in group] if previous is not None else []
        refused: dict[TemplatesRefused, TemplateError] | None = {} if self.is_daemon and previous is None else None
        templates = tuple(
            group_templates(group, config, spare, refused, state_dir=state_dir, environ=self.environ) for group in plans
        )
        is_same = previous is not None and _source_part(previous.config) == _source_part(config)
        return Assembly(
            config=config,
            source=previous.source if previous is not None and is_same else _source(config, is_daemon=self.is_daemon),
            source_name=config.catalog or "Consul at " + ", ".join(config.consul.addresses),
            plans=plans,
            templates=templates,
            signatures=earliest_signatures(
                *(template.files.copy() for group in templates for template in group),
                *(error.inputs for error in (refused or {}).values()),
            ),
            configuration_files=files,
            state_dir=state_dir,
            mode=self.mode,
            environ=self.environ,
            configuration=self.configuration,
            is_daemon=self.is_daemon,
            planned=self.planned,
            notices=tuple(notice for layer in layers for notice in layer.notices),
            refused=tuple(refused or ()),
        )


def _destinations(plans: Iterable[GroupPlan]) -> Iterator[Path]:
    return (template.destination for plan in plans for template in plan.templates)


def _control_path(state_dir: Path, plans: Iterable[GroupPlan]) -> Path:
    return state_dir / CONTROL_FOLDER / f"{writer_name(_destinations(plans))}.sock"


def _source_part(config: Config) -> tuple[object, ...]:
    return (config.catalog, config.consul, config.data)


def _source(config: Config, *, is_daemon: bool) -> Source:
    if config.catalog is not None:
        return CatalogFile(
            Path(config.catalog),
            allow_hostnames=config.data.allow_hostnames,
            file_folders=config.data.file_folders,
        )
    return ConsulSource(consul_settings(config), poll_delay=0.0 if is_daemon else POLL_DELAY)


def consul_settings(config: Config) -> ConsulSettings:
    """Return the settings of the Consul source."""
    return ConsulSettings(**_fields(config.consul), limits=config.data)


def _fields(section: Section) -> dict[str, Any]:
    return {name: getattr(section, name) for name in section.__struct_fields__}
