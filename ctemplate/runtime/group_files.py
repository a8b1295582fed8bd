"""The lock, state, check and reload of one group's files, and the gates that may delay a reload.

Knows nothing of templates and answers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ctemplate import apply
from ctemplate.apply import CommandCheck, CommandReload, GroupState, OnEdit, StateFolder
from ctemplate.config.command_env import environment_of
from ctemplate.config.groups import GroupPlan
from ctemplate.config.schema import GroupSection
from ctemplate.core.errors import ApplyError
from ctemplate.core.event_stream import emit
from ctemplate.core.file_events import RecoveryFailed
from ctemplate.core.model import Target
from ctemplate.nginx.check import NginxCheck
from ctemplate.nginx.groups import is_proven
from ctemplate.nginx.lookup import Lookup
from ctemplate.nginx.reload import NginxReload
from ctemplate.sinks.live import DrainGate, LiveSink
from ctemplate.sinks.plan import FileReview, SavedPlanSink
from ctemplate.sinks.replacement import Announcing
from ctemplate.sinks.restorable import RestorableSink
from ctemplate.sinks.sink import Sink


def group_targets(plan: GroupPlan) -> tuple[Target, ...]:
    """Return the group's files, each with its mode and owner."""
    return tuple(
        Target(
            destination=one.destination,
            mode=one.mode,
            user=one.user,
            group=one.owner_group,
            each=one.each,
            has_backup=one.has_backup,
            makes_folder=one.makes_folder,
        )
        for one in plan.templates
    )


def restorable_sink(
    plan: GroupPlan,
    targets: tuple[Target, ...],
    states: StateFolder,
    held: contextlib.ExitStack,
    *,
    nginx: Lookup | None,
    templates: str,
    planned: Mapping[str, FileReview] | None = None,
) -> RestorableSink:
    """Lock a group's files and return their sink; with ``planned`` it applies nothing else. Raises StateError."""
    live = _live_files(plan, targets, states, held, nginx)
    announcing = _announcing(live, nginx, targets)
    if planned is None:
        return RestorableSink(sink=announcing, live=live, templates=templates)
    sink = SavedPlanSink(sink=announcing, planned=planned, records=lambda: live.state.ledger.page.files)
    return RestorableSink(sink=sink, live=live, templates=templates)


def _live_files(
    plan: GroupPlan,
    targets: tuple[Target, ...],
    states: StateFolder,
    held: contextlib.ExitStack,
    nginx: Lookup | None,
) -> LiveSink:
    settings = plan.settings
    has_proof = is_proven(settings)
    group = apply.Group(
        name=settings.name,
        targets=targets,
        rollback=has_proof or settings.rollback,
        on_edit=OnEdit(settings.on_edit),
        backups=settings.backups,
    )
    state = held.enter_context(states.hold(group))
    _recover(state)
    check, environ = group_check(settings, nginx), environment_of(settings.env, os.environ)
    if nginx is None or not has_proof:
        reload = (
            CommandReload(
                command=settings.reload, timeout=settings.timeout, environ=environ, has_proof=settings.rollback
            )
            if settings.reload
            else None
        )
        return LiveSink(state=state, check_with=check, reload=reload)
    program = NginxReload(nginx=nginx, command_timeout=settings.timeout, environ=environ)
    gate = DrainGate(program=program, limit=settings.max_draining, max_delay=settings.max_delay)
    return LiveSink(state=state, check_with=check, reload=program, program=program, nginx=program, gates=(gate,))


def _recover(state: GroupState) -> None:
    """Repair what a killed process left, before any answer arrives: another program may start nginx meanwhile."""
    try:
        apply.recover(state)
    except ApplyError as exc:
        emit(RecoveryFailed(group=state.group.name, subject=state.group.subject, reason=str(exc)))


def _announcing(live: LiveSink, nginx: Lookup | None, targets: tuple[Target, ...]) -> Sink:
    """Return the live files, those of nginx that ctemplate did not write being announced before they are replaced."""
    paths = (target.destination.absolute() for target in targets)
    known = {Path(destination).absolute() for destination in live.state.ledger.page.files}
    foreign = frozenset(path for path in paths if path not in known and path.exists())
    return Announcing(sink=live, nginx=nginx, foreign=foreign) if nginx is not None and foreign else live


def group_check(
    settings: GroupSection, nginx: Lookup | None, around: Callable[[], Mapping[Path, bytes]] = dict
) -> apply.CandidateCheck | None:
    """Return the group's check: the operator's own command, else nginx's where the reload is nginx.

    For nginx's check the texts that ``around`` returns stand in the place of other groups' files.
    """
    if settings.check:
        environ = environment_of(settings.env, os.environ)
        return CommandCheck(command=settings.check, timeout=settings.timeout, environ=environ)
    return NginxCheck(nginx=nginx, warnings_refuse=settings.refuse_warnings, around=around) if nginx else None
