"""What an apply would change in a group: a diff, its meaning for traffic, the causes, and the check's verdict.

Runs only the check, on candidates in a private temporary folder; writes nowhere else. Knows no terminals.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path

import msgspec

from ctemplate.apply import Accepted, CandidateCheck, LiveChange, judged, with_item_files
from ctemplate.apply.candidates import read_live_bytes
from ctemplate.config.groups import STDOUT
from ctemplate.core.errors import ApplyError, printable
from ctemplate.core.file_events import FOREIGN
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import Answer, Instance, Outcome, Output, OwnedEntry, Rejection, Status, further_addresses
from ctemplate.core.values import dataclass
from ctemplate.nginx.language.semantic_diff import BackendChange, Changes
from ctemplate.nginx.lookup import Lookup
from ctemplate.queries import Losses, kind_of
from ctemplate.sinks.around import SinkAround
from ctemplate.sinks.planned_files import PlannedFiles
from ctemplate.sinks.replacement import file_changes, main_file
from ctemplate.sinks.secrets import hidden_secrets
from ctemplate.sinks.sink import SinkStatus

NOT_RENDERED = "not rendered"
"""The verdict of a group whose templates have failed."""


class FileReview(msgspec.Struct, frozen=True, kw_only=True):
    """One target: ``diff`` is unified, line by line; the digests are of the live bytes and the new (None: no file)."""

    destination: str
    diff: tuple[str, ...]
    live_sha256: str | None
    sha256: str | None
    changes: tuple[str, ...] = ()

    @property
    def is_changed(self) -> bool:
        """Return whether the live bytes would change."""
        return self.live_sha256 != self.sha256


class GroupReview(msgspec.Struct, frozen=True, kw_only=True):
    """One group: its files, why they change, what the check said, and what would run afterwards.

    ``verdict`` is ``accepted``, ``refused``, ``not checked``, ``not read`` (by the configuration that was checked),
    ``unchanged``, or ``not rendered``; ``output`` the check's own words. ``removed`` are healthy services, each with
    its number of servers, of which an edit of the templates removes every server.
    """

    name: str
    files: tuple[FileReview, ...]
    why: tuple[str, ...]
    verdict: str
    output: tuple[str, ...]
    commands: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def is_changed(self) -> bool:
        """Return whether any live file would change."""
        return any(file.is_changed for file in self.files)


@dataclass(slots=True, kw_only=True)
class PlanSink:
    """A sink that checks the outputs and stores them, and changes no file.

    ``written`` are the destinations that ctemplate wrote before, ``items`` the records of the files that stand for
    items of lists; ``main`` is nginx's main file if it is known. ``planned`` are the files of all groups, those of
    others being around the candidates in ``check_with``.
    """

    name: str = ""
    planned: PlannedFiles = field(default_factory=PlannedFiles)
    check_with: CandidateCheck | None = None
    commands: tuple[str, ...] = ()
    nginx: Lookup | None = None
    written: frozenset[Path] = frozenset()
    items: Mapping[Path, Accepted] = field(default_factory=dict)
    main: Path | None = field(default=None, init=False)
    outputs: tuple[Output, ...] = ()
    verdict: str = "unchanged"
    output: tuple[str, ...] = ()

    @property
    def item_files(self) -> frozenset[Path]:
        """Return the existing files that stand for items of lists."""
        return frozenset(self.items)

    @property
    def foreign_files(self) -> frozenset[Path]:
        """Return no files: nothing waits for their removal."""
        return frozenset()

    async def apply(self, outputs: tuple[Output, ...]) -> Outcome:
        """Store the outputs and the files to remove; raises the check's refusal.

        If the planned files of another group change during the check, it is repeated.
        """
        outputs = with_item_files(outputs, {str(path): record for path, record in self.items.items()}, {})
        self.outputs = outputs
        self.verdict, self.output = "unchanged", ()
        changed = {one.target.destination.absolute() for one in outputs if read_live_bytes(one) != one.content}
        if not changed:
            if self.check_with is not None:
                await self.check_with.look(tuple(output.target.destination.absolute() for output in outputs))
            self.planned.accept(self.name, outputs)
            return Outcome.UNCHANGED
        self.main = await main_file(self.nginx)
        self.verdict = "not checked"
        if self.check_with is not None:
            around = None
            while around != (around := self.planned.around(self.name)):
                await self._judge(outputs, changed, self.check_with)
        self.planned.accept(self.name, outputs)
        return Outcome.PLANNED

    async def _judge(self, outputs: tuple[Output, ...], changed: set[Path], check: CandidateCheck) -> None:
        self.verdict = "refused"
        try:
            self.output = await judged(outputs, check)
        except ApplyError as exc:
            self.output = (exc.what, *exc.output)
            raise
        self.verdict = "not read" if changed.issubset(check.unread) else "accepted"
        self.output += tuple(f"{path}: {UNREAD}" for path in sorted(changed & set(check.unread)))

    async def check(self, outputs: tuple[Output, ...]) -> None:
        """Check outputs without storing them; raises the check's refusal."""
        if self.check_with is not None:
            await judged(outputs, self.check_with)

    def wrote(self, destination: Path) -> bool:  # noqa: ARG002  # the sinks' signature
        """Return False: a plan writes nothing."""
        return False

    async def is_due(self) -> bool:
        """Return False: a plan reloads nothing."""
        return False

    def replaced(self) -> LiveChange | None:
        """Return None: a plan writes nothing."""
        return None

    async def status(self) -> SinkStatus:
        """Return an empty status: a plan asks no program."""
        return SinkStatus()


class SavedPlanSink(SinkAround, kw_only=True, eq=False):
    """A sink that applies only the changes of a plan, and only to files that have not changed since the plan was made.

    ``records`` gives the records of the files that ctemplate wrote.
    """

    planned: Mapping[str, FileReview]
    records: Callable[[], Mapping[str, Accepted]] = dict

    async def apply(self, outputs: tuple[Output, ...]) -> Outcome:
        """Apply the outputs; raises ApplyError if the files or the data have changed since the plan.

        Outputs that differ from the plan are checked first: the plan may have left out what the check refuses.
        """
        files = [self.planned.get(str(output.target.destination)) for output in outputs]
        if all(files) and any(
            file and file.sha256 != _digest(one.content) for file, one in zip(files, outputs, strict=True)
        ):
            await self.sink.check(outputs)
        for output in with_item_files(outputs, self.records()):
            destination = str(output.target.destination)
            file = self.planned.get(destination)
            if file is None:
                raise ApplyError(destination, "is not in the plan; make a new one")
            if _digest(read_live_bytes(output)) != file.live_sha256:
                raise ApplyError(destination, "has changed since the plan was made; make a new one")
            if _digest(output.content) != file.sha256:
                raise ApplyError(destination, "would now be something else than what was planned; make a new one")
        return await self.sink.apply(outputs)


OWNED_REASONS = 20
UNREAD = "is not read by the configuration that was checked; it is not checked"
WORDS = lazy_pattern(r"[^\s;{}\"'=,]+")
KEPT_FOR_NOW = "its last good data stay in use for now"


def _digest(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()


def review(
    name: str,
    sink: PlanSink,
    rejections: Iterable[Rejection],
    answers: Iterable[Answer],
    *,
    kept: Iterable[Rejection] = (),
    removed: Iterable[object] = (),
    is_rendered: bool = True,
) -> GroupReview:
    """Return the review of a group after the sink has processed its outputs; ``answers`` are those that it used.

    ``left_out`` lists the data that the templates could not print, and the data that the answers omit, such as refused
    addresses. For the data in ``kept``, the last good values are in use.
    """
    answers = tuple(answers)
    unusable = sorted({str(rejection) for answer in answers for rejection in answer.rejections})
    reviewed = list(_reviewed(sink, secrets_of(answers)))
    backends = [change for _, found in reviewed if found is not None for change in found.backends]
    return GroupReview(
        name=name,
        files=tuple(file for file, _ in reviewed),
        why=(*reasons(backends, answers), *owned_reasons((file for file, _ in reviewed), answers)),
        verdict=sink.verdict if is_rendered else NOT_RENDERED,
        output=sink.output,
        commands=sink.commands if sink.verdict != "unchanged" else (),
        left_out=(*map(str, rejections), *(f"{rejection}; {KEPT_FOR_NOW}" for rejection in kept), *unusable),
        removed=tuple(map(str, removed)),
    )


def reasons(backends: Iterable[BackendChange], answers: Iterable[Answer]) -> Iterator[str]:
    """Yield for each backend that changes its service, instance, state and index.

    If several services have one address, the one named like the upstream is meant, or all where none is.
    """
    changes = tuple(backends)
    wanted = {change.address: change.address.rpartition(":")[0] for change in changes}
    addresses = frozenset(wanted.values())
    known: dict[str, dict[str, tuple[Instance, Answer]]] = {}
    answers = tuple(answers) if changes else ()
    queries = {type(answer.query): answer.query for answer in answers}
    about = {kind for kind, query in queries.items() if kind_of(query).losses is Losses.INSTANCES}
    for instance, found_in in [
        (one, each)
        for each in answers
        if type(each.query) in about
        for one in each.value
        if one.address in addresses or one.details is not None
    ]:
        for address, port in ((instance.address, instance.port), *further_addresses(instance)):
            if (place := f"{address}:{port}") in wanted:
                known.setdefault(place, {})[instance.name] = instance, found_in
    for change in changes:
        found = known.get(change.address, {})
        absent = "no longer registered" if change.new is None else "the template's own line"
        meant = {change.upstream: found[change.upstream]} if change.upstream in found else found
        state = "; ".join(_state(*meant[name]) for name in sorted(meant)) if meant else absent
        yield f"{change.upstream} {change.address}: {state}"


def owned_reasons(files: Iterable[FileReview], answers: Iterable[Answer]) -> Iterator[str]:
    """Yield the keys, nodes and other ``OwnedEntry`` values whose texts appear in new lines, each with its index."""
    lines = [line for file in files for line in file.diff[2:]]
    new = "\n".join(line[1:] for line in lines if line.startswith("+"))
    old = "\n".join(line[1:] for line in lines if line.startswith("-"))
    words = set(WORDS.findall(new)) - set(WORDS.findall(old))
    found: dict[str, None] = {}
    for answer in answers:
        for entry in answer.value:
            if isinstance(entry, OwnedEntry) and any(_is_new(text, words, new, old) for _, text in entry.texts()):
                at = f", Consul index {answer.index}" if answer.index else ""
                found[f"{entry.owner_name()}{at}"] = None
    yield from itertools.islice(found, OWNED_REASONS)
    if len(found) > OWNED_REASONS:
        yield f"and {len(found) - OWNED_REASONS} more"


def _is_new(text: str, words: set[str], new: str, old: str) -> bool:
    """Return whether a text is in new lines and in no old line: as a separate word or, if it is no word, anywhere."""
    return text in words if WORDS.fullmatch(text) else bool(text.strip()) and text in new and text not in old


def _state(instance: Instance, answer: Answer) -> str:
    failing = [check.id for check in instance.checks if check.status != Status.PASSING]
    because = f" (check {printable(', '.join(failing))})" if failing else ""
    at = f", Consul index {answer.index}" if answer.index else ""
    where = f"service {printable(instance.name)}, instance {printable(instance.id)} on {printable(instance.node)}"
    return f"{where}: {instance.status}{because}{at}"


def secrets_of(answers: Iterable[Answer]) -> tuple[str, ...]:
    """Return the texts of answers that only the output may show."""
    entries = (entry for answer in answers for entry in answer.value if isinstance(entry, OwnedEntry))
    return tuple(secret for entry in entries for secret in entry.secrets())


def _file_review(
    output: Output, sink: PlanSink, before: Mapping[Path, bytes], secrets: tuple[str, ...]
) -> tuple[FileReview, Changes | None]:
    live, destination, content = read_live_bytes(output), str(output.target.destination), output.content
    diff = difflib.unified_diff(
        hidden_secrets((live or b"").decode(errors="replace"), secrets).splitlines(),
        hidden_secrets((content or b"").decode(errors="replace"), secrets).splitlines(),
        f"{destination} (live)" if live is not None else "(no file)",
        f"{destination} (planned)" if content is not None else "(no file)",
        lineterm="",
    )
    path = output.target.destination.absolute()
    found = file_changes(sink.main, before, path, content or b"") if live != content else None
    is_foreign = live is not None and live != output.content and path not in sink.written
    sentences = found.sentences if found is not None else ()
    file = FileReview(
        destination="" if output.target.destination == STDOUT else destination,
        diff=tuple(diff),
        live_sha256=_digest(live),
        sha256=_digest(content),
        changes=((FOREIGN, *sentences) if is_foreign and sink.main is not None else sentences),
    )
    return file, found


def _reviewed(sink: PlanSink, secrets: tuple[str, ...]) -> Iterator[tuple[FileReview, Changes | None]]:
    """Yield the review of each file, with the files before it regarded as replaced."""
    before: dict[Path, bytes] = {}
    for output in sink.outputs:
        yield _file_review(output, sink, before, secrets)
        before[output.target.destination.absolute()] = output.content or b""
