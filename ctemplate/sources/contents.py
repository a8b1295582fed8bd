"""The content of a catalog file: parsed from YAML or JSON, asked for answers, made from answers, written as YAML.

Pure: text and values. ``capture`` writes this format and ``-catalog`` reads it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Union

import msgspec

from ctemplate.core.errors import ConfigError, printable
from ctemplate.core.model import Answer, Query
from ctemplate.core.validation import explained, is_hcl
from ctemplate.queries import KINDS, Subject, kind_of
from ctemplate.queries.catalog_entries import CatalogPage, DatacenterEntry, RecordedAnswer, RecordingRules, ServiceEntry
from ctemplate.queries.kind import CatalogForm

if TYPE_CHECKING:
    Question = Query
else:  # msgspec distinguishes the kinds by their tags
    Question = Union[tuple(query for query, kind in KINDS.items() if kind.catalog is not None)]  # noqa: UP007


class AnswerEntry(RecordedAnswer, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The answer to one query that a datacenter's page cannot give: stored as it was, in its own order."""

    question: Question


class Contents(DatacenterEntry, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The whole file: the services of the local datacenter, those of others by name, and answers to special queries."""

    datacenter: str = ""
    datacenters: dict[str, DatacenterEntry] = msgspec.field(default_factory=dict)
    answers: tuple[AnswerEntry, ...] = ()


def parse_catalog(text: str, *, name: str) -> Contents:
    """Parse YAML, which includes JSON; raises ConfigError, also for a table with one key twice."""
    yaml = _yaml()
    try:
        data = _loaded(text, name)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError(place, _unread(str(exc.problem), text, name)) from exc
    except yaml.YAMLError as exc:
        raise ConfigError(name, _unread(str(exc), text, name)) from exc
    except RecursionError:
        raise ConfigError(name, "is nested too deeply") from None
    except ValueError as exc:  # an invalid date, or a whole number with more digits than Python reads
        raise ConfigError(name, f"holds a value that cannot be read: {exc}") from None
    if data is None or data == {}:
        raise ConfigError(name, "is empty; a catalog without services says 'services: {}'")
    if isinstance(data, str) and is_hcl(text, name):
        raise ConfigError(name, _unread("it holds no table", text, name))
    try:
        return msgspec.convert(data, Contents)
    except RecursionError:
        raise ConfigError(name, "is nested too deeply") from None
    except msgspec.ValidationError as exc:
        path, said = explained(exc, Contents, data)
        raise ConfigError(f"{name}: {path}" if path else name, said) from exc


def _loaded(text: str, name: str) -> Any:
    """Return the document's plain data; raises YAML's errors, and ConfigError for a key that a table has twice."""
    yaml = _yaml()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_repeated_keys(node, name)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _refuse_repeated_keys(document: Any, name: str) -> None:
    """Raise ConfigError for the first key in the text that a table has twice, of which YAML keeps the last.

    The nodes are read as they are written, before ``<<`` adds keys that the table's own may replace.
    """
    waiting, seen, repeated = [document], set(), []
    while waiting:
        node = waiting.pop()
        if isinstance(node.value, str) or id(node) in seen:  # a scalar, or one that an alias names again
            continue
        seen.add(id(node))
        if node.id == "sequence":
            waiting += node.value
            continue
        places: dict[tuple[str, str], Any] = {}
        for key, value in node.value:
            waiting.append(value)
            if not isinstance(key.value, str):
                continue
            first = places.setdefault((key.tag, key.value), key)
            if first is not key:
                repeated.append((key.start_mark.line, key.start_mark.column, first.start_mark.line, key.value))
    if repeated:
        line, column, first_line, key = min(repeated)
        what = f"{printable(key, 100)!r} is there twice, first in line {first_line + 1}; write it once"
        raise ConfigError(f"{name}:{line + 1}:{column + 1}", what)


def _unread(problem: str, text: str, name: str) -> str:
    what = f"is not YAML: {printable(problem)}"
    return (
        f"{what}; this looks like HCL; write YAML or JSON, as 'ctemplate capture' does" if is_hcl(text, name) else what
    )


def answer(contents: Contents, query: Query, *, now: float = 0.0, allow_hostnames: bool = False) -> Answer:
    """Return the answer that the file gives to the query; an unknown service or datacenter has none, as in Consul.

    Instances whose address is no IP address are left out and named; host names may be allowed.
    """
    single = next((entry for entry in contents.answers if entry.question == query), None)
    page = CatalogPage(
        entry=_page(contents, query) if single is None else single,
        is_single=single is not None,
        allow_hostnames=allow_hostnames,
        datacenters=tuple(dict.fromkeys(filter(None, (contents.datacenter, *sorted(contents.datacenters))))),
    )
    value, rejections = _form(query).playback(query, page)
    return Answer(query=query, value=value, rejections=rejections, seen_at=now)


def _page(contents: Contents, query: Query) -> RecordedAnswer:
    """Return the file's page of the query's datacenter."""
    if query.dc in (None, contents.datacenter):
        return RecordedAnswer(**_sections(contents), datacenter=contents.datacenter)
    other = contents.datacenters.get(query.dc or "", DatacenterEntry())
    return RecordedAnswer(**_sections(other), datacenter=query.dc or "")


def _sections(entry: DatacenterEntry) -> dict[str, Any]:
    return {field: getattr(entry, field) for field in DatacenterEntry.__struct_fields__}


def _form(query: Query) -> CatalogForm[Any]:
    form = kind_of(query).catalog
    if form is None:
        raise TypeError(f"{query} does not stand in a catalog file")
    return form


def recorded(answers: Iterable[Answer], *, masks: Iterable[str] = (), is_full: bool = False) -> Contents:
    """Return the contents that give these answers again, in a stable order.

    Values of meta keys that match one of the ``masks`` (``secret*``) become ``masked``. Checks, node meta and the order
    of registration are left out unless ``is_full``; few templates print them.
    """
    pages: dict[str, dict[str, Any]] = {}
    singles = []
    local, hidden = "", tuple(masks)
    for answer in sorted(answers, key=_place):
        query, form = answer.query, _form(answer.query)
        is_single = not form.is_plain(query)
        page = {} if is_single else pages.setdefault(query.dc or "", _sections(DatacenterEntry()))
        rules = RecordingRules(is_single=is_single, known=page.get("services", {}), masks=hidden, is_full=is_full)
        found = form.record(answer, rules)
        if is_single:
            fields = {field: getattr(found, field) for field in RecordedAnswer.__struct_fields__}
            singles.append(AnswerEntry(question=query, **fields))
            continue
        pages[query.dc or ""] = _joined(page, _sections(found))
        local = local or (found.datacenter if query.dc is None else "")
    here = _joined(pages.pop("", {}), pages.pop(local, {}))
    return Contents(
        **here,
        datacenter=local,
        datacenters={name: DatacenterEntry(**page) for name, page in sorted(pages.items())},
        answers=tuple(singles),
    )


def _place(answer: Answer) -> tuple[bool, str]:
    """Return an answer's place in the file: lists of services first, so that their instances need not repeat tags."""
    return kind_of(answer.query).subject is Subject.NAMED, str(answer.query)


def _joined(page: Mapping[str, dict[str, Any]], other: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the sections of two pages; if both have an entry, the second one's is used, unless it is only a list's."""
    return {
        field: page.get(field, {}) | _with_instances(page.get(field, {}), other.get(field, {}))
        for field in {**page, **other}
    }


def _with_instances(page: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the second page's entries without services whose instances only the first page has."""
    return {
        name: entry
        for name, entry in other.items()
        if not (isinstance(entry, ServiceEntry) and not entry.instances and name in page)
    }


def dump(contents: Contents) -> str:
    """Return the catalog file's YAML text in a stable order; ``parse_catalog`` reads it back."""
    plain: Any = msgspec.to_builtins(contents) or {"services": {}}  # a file with an empty table is refused
    text: str = _yaml().safe_dump(plain, sort_keys=True, default_flow_style=None, allow_unicode=True, width=120)
    return text


def _yaml() -> Any:
    """Return PyYAML, imported when it is needed: a process that asks Consul reads no catalog file."""
    return pkgutil.resolve_name("yaml")
