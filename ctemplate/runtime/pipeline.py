"""One group from a snapshot to an outcome: render, then apply. The daemon, ``-once`` and ``-dry`` share this path.

Knows nothing of tasks, signals or where answers come from.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from ctemplate.apply.candidates import read_live_bytes
from ctemplate.apply.history import PastState
from ctemplate.core.errors import (
    ApplyError,
    CannotJudge,
    CheckRefused,
    CtemplateError,
    ReloadRejected,
    TemplateError,
)
from ctemplate.core.event_stream import emit
from ctemplate.core.group_events import (
    EditRefused,
    EditRemovedServices,
    FilesRestored,
    LastGoodDataUsed,
    Quarantined,
    Readmitted,
    Rendered,
    TemplateWarned,
    TemplateWarningResolved,
)
from ctemplate.core.model import Answer, Outcome, Output, Rejection, Snapshot, Target
from ctemplate.core.values import dataclass
from ctemplate.nginx.language.neutral_servers import with_neutral_servers
from ctemplate.nginx.lookup import Lookup
from ctemplate.nginx.surroundings import ConfigPlace, Surroundings
from ctemplate.runtime.culprits import CulpritSearch
from ctemplate.runtime.last_good import LastRendered
from ctemplate.runtime.named_lines import with_origin
from ctemplate.runtime.outputs import FileSpan, GroupOutputs
from ctemplate.sinks.restorable import RestorableSink
from ctemplate.sinks.sink import Sink
from ctemplate.template import Renderer, Rendering, Template, template_digest

CHECKS = 24  # that one change may take to find whose data are refused,
NAMED_CHECKS = 24  # further ones while each check names the next culprit,
EDIT_CHECKS = 100  # in place of these for an edit, which is judged with other data, too,
MAX_RELOADS = 8  # reloads in place of each of these, where only a reload shows it
REMOVED_NAMED = 10  # services that an edit removes, in one line
TURNS = 3  # renders, at most, until the files that a text includes and the names used there are known

Places = tuple[ConfigPlace | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one run; WAITING when the rendering still lacks answers."""

    outcome: Outcome
    rendering: Rendering


class Pipeline:
    """One group's templates and the sink for their outputs."""

    def __init__(  # a group's parts
        self,
        *,
        name: str,
        templates: Sequence[Template],
        targets: Sequence[Target],
        sink: Sink,
        nginx: Lookup | None = None,
        surroundings: Surroundings | None = None,
        last_rendered: LastRendered | None = None,
        before: Pipeline | None = None,
        earlier: Sequence[Template] = (),
        hold: Callable[[str], float] = lambda _name: 0.0,
        reserved: Collection[Path] = frozenset(),
    ) -> None:
        """Take the group's parts; ``surroundings`` is set where the files are nginx's, whose structure is then proven.

        ``reserved`` are real paths that other groups write.
        ``before`` is the pipeline that these templates replace. Its templates stay in use while these are unusable;
        so do ``earlier`` templates, the last live ones of another process.
        """
        self.name = name
        self.targets = tuple(targets)
        self.sink = sink
        self.nginx = nginx
        self.templates = tuple(templates)
        self._layout = GroupOutputs(templates=self.templates, targets=self.targets, reserved=frozenset(reserved))
        self._last_rendered = last_rendered
        self._before: Renderer | None = before.fallback if before is not None else None
        baseline = last_rendered.baseline() if last_rendered is not None and before is None else None
        if earlier and baseline is not None and baseline.template != template_digest(self.templates):
            self._before = Renderer(earlier, baseline=baseline, hold=hold)
        self._edited = Renderer(
            self.templates, baseline=baseline, before=self._before, hold=hold, live_text=self._live_text
        )
        self.renderer: Renderer = self._edited
        if last_rendered is not None and before is None:
            self._each_renderer(lambda one: one.remember(last_rendered.services()))
        self._surroundings = surroundings
        self._rendered: tuple[Snapshot, Places] = (Snapshot({}), ())
        self._edit_error = ""
        self.quarantined: tuple[Rejection, ...] = before.quarantined if before is not None else ()
        self.kept: tuple[Rejection, ...] = before.kept if before is not None else ()
        self.remarks: tuple[str, ...] = before.remarks if before is not None else ()

    @property
    def destinations(self) -> tuple[Path, ...]:
        """The group's destinations, including placeholders for files that are made for items."""
        return tuple(target.destination for target in self.targets)

    @property
    def files(self) -> tuple[Path, ...]:
        """The group's files: those that it has always, and those that stand for items now."""
        named = (target.destination for target in self.targets if target.each is None)
        return (*named, *sorted(self.sink.item_files))

    def _live_text(self) -> str:
        """Return the current content of the group's files, whichever program wrote them."""
        found = (read_live_bytes(Output(target=Target(destination=path), content=None)) for path in self.files)
        return "\n".join(content.decode(errors="replace") for content in found if content is not None)

    @property
    def subject(self) -> str:
        """The group's files, for a sentence about them."""
        first, *others = map(str, self.destinations)
        return f"{first} and {len(others)} more" if others else first

    @property
    def fallback(self) -> Renderer:
        """The renderer to fall back to: that of the templates before an edit, until the edited ones are live."""
        return self._edited if self._before is None else self._before

    def _each_renderer(self, act: Callable[[Renderer], object]) -> None:
        for one in (self._edited, self._before):
            if one is not None:
                act(one)

    def remember(self, answers: Iterable[Answer]) -> None:
        """Take the newest answers of an earlier process as the last good data of what was live then."""
        known = tuple(answers)
        self._each_renderer(lambda one: one.remember_answers(known))

    def release(self, service: str | None) -> tuple[str, ...]:
        """Stop using the last good data of a service, or of all, from the next rendering on; return the names."""
        return self.renderer.release(service)

    async def restore(self, past: PastState) -> Outcome:
        """Bring the files back to a past state and hold them there; raises ApplyError, and nothing has changed."""
        if not isinstance(self.sink, RestorableSink):
            raise ApplyError(self.subject, "is not written by ctemplate here")
        outcome = await self.sink.restore(past)
        emit(FilesRestored(group=self.name, subject=self.subject, label=past.label))
        return outcome

    def unrestore(self) -> bool:
        """Go on with rendered files; return whether restored ones were held. Raises ApplyError."""
        return isinstance(self.sink, RestorableSink) and self.sink.release()

    @property
    def restored_to(self) -> str:
        """Which past state the files were restored to, and are held at; empty where they are rendered."""
        found = self.sink.restoration if isinstance(self.sink, RestorableSink) else None
        return found.label if found is not None else ""

    @property
    def services_kept(self) -> tuple[str, ...]:
        """The services and keys whose last good data are in use; ``release`` ends that."""
        return tuple(sorted({rejection.owner_name for rejection in self.kept}))

    def save(self) -> None:
        """Store the last good data in use for a later process, with their ages. Blocks on the disk."""
        if self._last_rendered is not None:
            self._last_rendered.save_services(self.renderer.known_good, with_ages=True)

    def due_at(self) -> float | None:
        """Return when the group is due without a change, on the monotonic clock: a left-out service is retried."""
        return self.renderer.due_at()

    async def render(self, snapshot: Snapshot, places: Places) -> Rendering:
        """Render the group's templates, in a thread.

        Unusable edited templates are reported; until one is live, the previous ones and their reads stay in use.
        """
        self.renderer = self._edited
        self._each_renderer(Renderer.retry_due)
        try:
            return await self._render(snapshot, places)
        except TemplateError as exc:
            return await self._render_before(exc, snapshot, places)

    async def _render_before(self, error: CtemplateError, snapshot: Snapshot, places: Places) -> Rendering:
        """Render the templates of before an edit; changes of what the edited ones read may repair those."""
        if self._before is None or self.renderer is self._before:
            raise error
        self.renderer = self._before
        try:
            rendering = await self._render(snapshot, places)
        except TemplateError:
            raise error from None
        if str(error) != self._edit_error:
            self._edit_error = str(error)
            emit(EditRefused(group=self.name, subject=self.subject, reason=str(error)))
        return replace(rendering, used=rendering.used | snapshot.read)

    async def _render(self, snapshot: Snapshot, places: Places) -> Rendering:
        """Render, and repeat that while the names in use depend on the files that the text includes.

        An error counts only once it is about the files that the new text includes, rather than those of the live one.
        """
        for _ in range(TURNS):
            rendering, error = None, None
            try:
                rendering = await self._render_at(snapshot, places)
            except TemplateError as exc:
                error = exc
            if rendering is not None and rendering.missing:
                break
            texts = self._including(self.renderer.texts)
            if not texts or (found := await self._places(texts)) == places:
                break
            places = found
        self._rendered = (snapshot, places)
        if rendering is None:
            raise error or TemplateError(self.subject, "was not rendered")
        return rendering

    async def _render_at(self, snapshot: Snapshot, places: Places) -> Rendering:
        """Render in a thread: how long a template takes is unknown before, and the event loop continues."""
        started, result = time.monotonic(), "failed"
        try:
            rendering = await asyncio.to_thread(self.renderer.render, snapshot, places)
            result = "waiting" if rendering.missing else "ok"
        finally:
            seconds = time.monotonic() - started
            emit(Rendered(group=self.name, subject=self.subject, result=result, seconds=seconds))
        if self._before is None or self.renderer is self._before:
            return rendering
        return replace(rendering, used=rendering.used | self._before.used)

    def _including(self, texts: Sequence[str]) -> dict[Path, bytes]:
        """Return the texts that include other files than the live ones do."""
        if self._surroundings is None or not texts:
            return {}
        return {
            output.target.destination: output.content or b""
            for output in self._layout.outputs(texts)
            if _includes(output.content or b"") != _includes(read_live_bytes(output) or b"")
        }

    @property
    def is_for_nginx(self) -> bool:
        """Whether the files may be nginx's, so that those of other groups matter to them."""
        return self._surroundings is not None

    async def are_surroundings_new(self) -> bool:
        """Return whether the files around the group's own have changed since the last render."""
        return self.is_for_nginx and await self.places() != self._rendered[1]

    async def places(self) -> Places:
        """Return each file's place in nginx's present configuration, None for a file that is no part of it."""
        return await self._places({})

    async def _places(self, texts: Mapping[Path, bytes]) -> Places:
        """Return each file's place in nginx's configuration, None for a file that is no part of it."""
        if self._surroundings is None:
            return ()
        places = await self._surroundings.places(texts, self.sink.item_files)
        both = zip(self.templates, places, strict=True)
        return tuple(place if template.is_for_nginx else None for template, place in both)

    async def run(self, rendering: Rendering) -> Result:
        """Apply a rendering, unless it still lacks answers. Raises ApplyError with the templates' lines added.

        If the data of a few services cause a refusal, they are left out and the rest is applied. If an edit causes it,
        the templates from before the edit are applied instead, in the same way.
        """
        if rendering.missing:
            return Result(outcome=Outcome.WAITING, rendering=rendering)
        self._log_remarks((*rendering.remarks, *self._layout.refused(rendering.texts)))
        renderer = self.renderer
        try:
            outcome = await self._applied(rendering)
        except (CheckRefused, ReloadRejected) as exc:
            rendering = await self._without_culprits(exc)
            if rendering.missing or self.renderer is not renderer:
                return await self.run(rendering)
            outcome = await self._applied(rendering)
        if outcome not in {Outcome.DELAYED, Outcome.HELD}:
            self._log_removed(rendering)
            await self._accept()
        return Result(outcome=outcome, rendering=rendering)

    async def _applied(self, rendering: Rendering) -> Outcome:
        """Apply a rendering, and report what was left out of it."""
        try:
            outcome = await self.sink.apply(self._outputs(rendering))
        except ApplyError as exc:
            spans = self._spans() if exc.output else ()
            exc.output = tuple(with_origin(line, spans, self.renderer) for line in exc.output)
            raise
        self._log_quarantine(rendering)
        return outcome

    async def _accept(self) -> None:
        """Record what is live now."""
        self.renderer.accept()
        if self.renderer is self._edited:
            self._before, self._edit_error = None, ""
        else:
            self._edited.baseline = self.renderer.baseline
        last, baseline, known = self._last_rendered, self.renderer.baseline, self.renderer.known_good
        if last is not None and baseline is not None and not last.is_saved(baseline, known):
            await asyncio.to_thread(last.save_all, baseline, self.renderer.templates, self.destinations, known)

    async def _without_culprits(self, error: ApplyError) -> Rendering:
        """Find whose data are refused and render without them; raises the error where no service's data cause it."""
        snapshot, places = self._rendered
        is_check = isinstance(error, CheckRefused)
        search = CulpritSearch(
            renderer=self.renderer,
            snapshot=snapshot,
            places=places,
            spans=self._spans,
            ask=self._checked if is_check else self._reloaded,
            ask_beside=self._checked_beside if is_check else self._reloaded,
            budget=CHECKS if is_check else MAX_RELOADS,
            named_budget=(EDIT_CHECKS if self.renderer.is_edit else NAMED_CHECKS) if is_check else MAX_RELOADS,
        )
        found = await search.culprits(error)
        if search.has_passed:
            return await self._render_at(snapshot, places)
        if not found:
            error.output = search.explained(error)
            return await self._render_before(error, snapshot, places)
        self.renderer.refusals.add(found)
        try:
            return await self._render_at(snapshot, places)
        except TemplateError:
            for refusal in found:
                self.renderer.refusals.by_owner.pop(refusal.owner, None)
            return await self._render_before(error, snapshot, places)

    async def _checked(self, rendering: Rendering, judged: Rendering | None = None) -> ApplyError | None:
        """Return the program's refusal of a rendering, or of another one in its place that never goes live."""
        try:
            await self.sink.check(self._outputs(judged or rendering))
        except CannotJudge:
            return await self._reloaded(rendering)
        except ApplyError as exc:
            return exc
        return None

    async def _checked_beside(self, rendering: Rendering) -> ApplyError | None:
        """Return the program's refusal of a rendering with a neutral server on each address; it never goes live."""
        _, places = self._rendered
        both = zip_longest(rendering.texts, places[: len(rendering.texts)])
        texts = tuple(text if at is None else with_neutral_servers(text, inside=at.inside) for text, at in both)
        return await self._checked(rendering, judged=replace(rendering, texts=texts))

    async def _reloaded(self, rendering: Rendering) -> ApplyError | None:
        """Return the program's refusal to load a rendering; one that is live already is loaded again to know that."""
        outputs = self._outputs(rendering)
        try:
            outcome = await self.sink.apply(outputs)
            if outcome is Outcome.UNCHANGED and isinstance(self.sink, RestorableSink):
                await self.sink.reload_live(outputs)
        except ApplyError as exc:
            return exc
        return None

    def _outputs(self, rendering: Rendering) -> tuple[Output, ...]:
        return self._layout.outputs(rendering.texts)

    def _spans(self) -> tuple[FileSpan, ...]:
        """Return where the files are in the texts that were rendered last."""
        return self._layout.spans(self.renderer.text)

    def _log_quarantine(self, rendering: Rendering) -> None:
        """Report once what is left out or replaced by older data, and once that it is back."""
        for rejection in rendering.quarantined:
            if rejection not in self.quarantined:
                emit(Quarantined(**self._about(rejection)))
        for rejection in rendering.kept:
            if rejection not in self.kept:
                emit(LastGoodDataUsed(**self._about(rejection)))
        now = {(rejection.service, rejection.thing) for rejection in (*rendering.quarantined, *rendering.kept)}
        before = {(rejection.service, rejection.thing) for rejection in (*self.quarantined, *self.kept)}
        for service, thing in sorted(before - now):
            emit(Readmitted(group=self.name, service=service, thing=thing))
        self.quarantined, self.kept = rendering.quarantined, rendering.kept

    def _about(self, rejection: Rejection) -> dict[str, str]:
        """Return a rejection as the fields of an event."""
        about = {
            "group": self.name,
            "service": rejection.service,
            "instance": rejection.instance,
            "thing": rejection.thing,
        }
        return about | {"text": str(rejection)}

    def _log_removed(self, rendering: Rendering) -> None:
        """Report the services that an edit of the templates has removed."""
        if rendering.removed:
            named = tuple(map(str, rendering.removed[:REMOVED_NAMED]))
            unnamed = len(rendering.removed) - len(named)
            emit(EditRemovedServices(group=self.name, subject=self.subject, services=named, unnamed=unnamed))

    def _log_remarks(self, remarks: tuple[str, ...]) -> None:
        """Report once what a template asks for in vain, and once that it exists."""
        for remark in remarks:
            if remark not in self.remarks:
                emit(TemplateWarned(group=self.name, text=remark))
        for remark in self.remarks:
            if remark not in remarks:
                emit(TemplateWarningResolved(group=self.name, text=remark))
        self.remarks = remarks


def _includes(content: bytes) -> list[bytes]:
    """Return the lines of a text that may include files."""
    return [line for line in content.split(b"\n") if b"include" in line] if b"include" in content else []
