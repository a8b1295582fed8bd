"""The functions and values that templates call by name: services, service, query, listen_port, claim, var, env.

Reads answers from the current run; must not know how they got there or what becomes of the text.
"""

from __future__ import annotations

import datetime as dt
import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from random import Random
from types import MethodType
from typing import Any

from jinja2.utils import Cycler, Joiner, Namespace

from ctemplate.core.errors import TemplateFailed, printable
from ctemplate.core.model import (
    MAX_PORT,
    Answer,
    Fault,
    Instance,
    OwnedEntry,
    Query,
    Service,
    Snapshot,
    Status,
)
from ctemplate.queries import KIND_FUNCTIONS, PreparedQuery, ServiceQuery, ServicesQuery
from ctemplate.system.programs import SECRET_VARIABLES
from ctemplate.template.language.absent import AbsentValue
from ctemplate.template.language.advice import STATES, near_tag, none_of_name, none_with_tag, shown, word_advice
from ctemplate.template.language.host import interface_ip
from ctemplate.template.safety.limits import bounded_range, check_format
from ctemplate.template.safety.registered_numbers import RegisteredInt
from ctemplate.template.safety.render_pass import Claim, Run
from ctemplate.template.safety.running_line import printing_line
from ctemplate.template.safety.tainted_text import Trusted, text_of, trusted

ANY = "any"
PORT_PROTOCOLS = ("tcp", "udp")
ISO_TIME = "%Y-%m-%dT%H:%M:%SZ"
NO_PORT = "the name does not end in a dash and a port from 1 to 65535"
_STATUSES = {status.value: (status,) for status in Status} | {ANY: tuple(Status)}
_NO_HOST = re.compile(r"^$|^[~.]|\.\.|[*\s]")
_KEPT_QUERIES = 65536
_PORT = re.compile(r".+-([1-9][0-9]{0,4})", re.DOTALL)


class Variables:
    """The operator's variables, as ``var`` in a template."""

    __slots__ = ("values",)

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = {name: trusted(value) for name, value in values.items()}


class Separator(Joiner):
    """Jinja's joiner; the nothing before the first item is a template's own text, too."""

    def __call__(self) -> str:
        """Return nothing the first time, then the separator."""
        return super().__call__() or Trusted("")


class Functions:
    """What templates call; ``run`` is the pass that is going on.

    ``is_shipped`` tells by a template's name, as errors show it, whether it came with ctemplate.
    """

    def __init__(
        self,
        variables: Mapping[str, object],
        environ: Mapping[str, str],
        is_shipped: Callable[[str], bool] = lambda _name: False,
        *,
        trusted_keys: Sequence[str] = (),
    ) -> None:
        self.run = Run(snapshot=Snapshot({}))
        self._is_shipped = is_shipped
        self._trusted_keys = tuple(trusted_keys)
        self._environ = environ
        self._variables = Variables(variables)

    def table(self) -> dict[str, Any]:
        """Return the names that every template knows."""
        return {name: MethodType(function, self) for name, function in KIND_FUNCTIONS.items()} | {
            "services": self.services,
            "service": self.service,
            "query": self.query,
            "listen_port": self.listen_port,
            "claim": self.claim,
            "var": self._variables,
            "env": self.env,
            "fail": self.fail,
            "require": self.require,
            "now": self.now,
            "interface_ip": interface_ip,
            "range": bounded_range,
            "dict": dict,
            "namespace": Namespace,
            "cycler": Cycler,
            "joiner": Separator,
        }

    def ask(self, query: Query) -> Answer | None:
        """Return the answer to a query, None while there is none; the pass waits for it."""
        return self.run.answer(query)

    def absent(self, query: Query) -> AbsentValue:
        """Return what stands for the value of a query that has none; to use it is to wait for the value."""
        return AbsentValue(self.run, query)

    def read_entry(self, entry: OwnedEntry) -> None:
        """Take note that what is printed next is most likely made of the entry's texts."""
        self.run.touched = entry

    def key_text(self, path: str, text: str) -> str:
        """Return the text of a key: the operator's own below a prefix that is trusted, else a registrant's."""
        return Trusted(text) if path.startswith(self._trusted_keys) else text

    def name_advice(self, name: str, known: Iterable[str]) -> str:
        """Return ``; `` and what to write for a name that nobody gives, empty where nobody can tell."""
        if name in self._variables.values:
            return f"; did you mean 'var.{name}'?"
        return word_advice(name) or suggestion(name, [other for other in known if other != name])

    def argument_advice(self, function: str, argument: str) -> str:
        """Return the argument that may have been meant, ready to follow a sentence."""
        called = self.table().get(function)
        return suggestion(argument, inspect.signature(called).parameters) if callable(called) else ""

    def services(
        self,
        tag: str | None = None,
        dc: str | Iterable[str] | None = None,
        ns: str | None = None,
        partition: str | None = None,
    ) -> tuple[Service, ...]:
        """Return the services, sorted by name; with ``tag``, those that carry it; of several datacenters, all."""
        if dc is None or isinstance(dc, str):
            queries = [ServicesQuery(**_scope(dc=dc, ns=ns, partition=partition))]
            found = self._services(queries[0], tag)
        else:
            queries = [ServicesQuery(**_scope(dc=one, ns=ns, partition=partition)) for one in _datacenters(dc)]
            found = _united([self._services(query, tag, has_alternatives=True) for query in queries])
            self.run.await_all(queries)
        if not found and tag is not None:
            self._explain_tag(queries, tag)
        return found

    def _services(
        self, query: ServicesQuery, tag: str | None, *, has_alternatives: bool = False
    ) -> tuple[Service, ...]:
        answer = self.run.answer(query, has_alternatives=has_alternatives)
        if answer is None:
            return ()
        excluded, partly = self.run.excluded, self.run.partly
        listed = map(partly.shown, answer.value) if partly.is_about_tags else answer.value
        return tuple(
            service for service in listed if service.name not in excluded and (tag is None or tag in service.tags)
        )

    def _explain_tag(self, queries: Iterable[ServicesQuery], tag: str) -> None:
        """Remark on a tag that no service carries; a template that came with ctemplate asks for some in case."""
        found = [self.run.used.get(query) for query in queries]
        known = {each for answer in found if answer is not None for service in answer.value for each in service.tags}
        where = printing_line()
        is_optional = self._is_shipped(where.rpartition(":")[0])
        if None not in found and (said := none_with_tag(tag, known, is_optional=is_optional)):
            self.run.remark(f"{where}: {said}")

    def service(  # noqa: PLR0917  # templates write service(NAME, TAG)
        self,
        name: str,
        tag: str | None = None,
        dc: str | Iterable[str] | None = None,
        status: str | Iterable[str] = Status.PASSING.value,
        near: str | None = None,
        filter: str | None = None,  # noqa: A002  # Consul's word
        ns: str | None = None,
        partition: str | None = None,
        peer: str | None = None,
        failover: bool = False,  # noqa: FBT001, FBT002  # templates write failover=true
    ) -> tuple[Instance, ...]:
        """Return the service's instances in the statuses asked for, in the order of the answer.

        Of several datacenters, those of all in their order; with ``failover``, those of the first that has any. The
        others are asked as well, so that their answers are there, or remembered, when they are needed.
        """
        wanted = _statuses(status)
        name = name if type(name) is str else _word("name", name)
        if dc is None or isinstance(dc, str):
            query = _service_query(name, dc, near, filter, ns, partition, peer)
            return self._instances(query, wanted, tag) or self._explained([query], tag)
        queries = [_service_query(name, one, near, filter, ns, partition, peer) for one in _datacenters(dc)]
        if failover:
            found = self._first(queries, wanted, tag)
        else:
            found = tuple(
                chain.from_iterable(self._instances(one, wanted, tag, has_alternatives=True) for one in queries)
            )
        if not found:
            self.run.await_all(queries)
        return found or self._explained(queries, tag)

    def _explained(self, queries: Sequence[ServiceQuery], tag: str | None) -> tuple[Instance, ...]:
        """Return no instances, and remark on it where that is a slip: of the name, of the tag."""
        run, name = self.run, queries[0].name
        found = [answer for query in queries if (answer := run.used.get(query)) is not None and not answer.absent]
        if len(found) < len(queries) or name in run.excluded:
            return ()
        said = ""
        if tag in STATES and not any(tag in instance.tags for answer in found for instance in answer.value):
            said = f"{shown(tag)} is a state and taken for a tag; write service({shown(name)}, status={shown(tag)})"
        elif tag is not None and any(answer.value for answer in found):
            said = near_tag(tag, {each for answer in found for instance in answer.value for each in instance.tags})
        elif not any(answer.value or answer.faults for answer in found) and queries[0].filter is None:
            said = none_of_name(name, [listed for query in queries for listed in self._listed(query)])
        if said:
            run.remark(f"{printing_line()}: service({shown(name)}): {said}")
        return ()

    def _listed(self, query: ServiceQuery) -> tuple[str, ...]:
        """Return the names of all services where the query asks, as far as the template has read them."""
        answer = self.run.used.get(ServicesQuery(dc=query.dc, ns=query.ns, partition=query.partition))
        return () if answer is None else tuple(service.name for service in answer.value)

    def _first(
        self, queries: Sequence[ServiceQuery], wanted: tuple[Status, ...], tag: str | None
    ) -> tuple[Instance, ...]:
        """Return what the first query with any instances gives; those behind it, or one without answer, are spare."""
        found: tuple[Instance, ...] = ()
        is_decided = any(query.name in self.run.excluded for query in queries)
        for query in queries:
            some = self._instances(query, wanted, tag, has_alternatives=True, prefetch_only=is_decided)
            if not is_decided:
                found, is_decided = some, bool(some) or self.run.used[query] is None
        return found

    def _instances(
        self,
        query: ServiceQuery,
        wanted: tuple[Status, ...],
        tag: str | None,
        *,
        has_alternatives: bool = False,
        prefetch_only: bool = False,
    ) -> tuple[Instance, ...]:
        answer = self.run.answer(query, has_alternatives=has_alternatives, prefetch_only=prefetch_only)
        partly = self.run.partly
        if answer is None or query.name in self.run.excluded or (query.name, tag) in partly.unlisted:
            return ()
        value = partly.remaining(answer.value) if query.name in partly.services else answer.value
        return _chosen(value, wanted, tag)

    def query(  # noqa: PLR0917  # templates write query(NAME, TAG), as they do of services
        self,
        name: str,
        tag: str | None = None,
        dc: str | None = None,
        status: str | Iterable[str] = ANY,
        near: str | None = None,
        ns: str | None = None,
        partition: str | None = None,
    ) -> tuple[Instance, ...]:
        """Return the instances that a prepared query, by name or id, gives: sorted by node, then id.

        Its definition in Consul chooses the service, states, tags and the datacenters to fail over to; ``tag`` and
        ``status`` choose among what it gives, which by default is taken as it is. With ``near`` they come as far away
        as Consul thinks; an order that alone has changed is kept as it was.
        """
        run = self.run
        answer = run.answer(
            PreparedQuery(name=_word("name", name), **_scope(dc=dc, ns=ns, partition=partition, near=near))
        )
        wanted = _statuses(status)
        if answer is None:
            return ()
        found = _chosen(run.partly.remaining(answer.value), wanted, tag)
        return tuple(instance for instance in found if instance.name not in run.excluded)

    def listen_port(self, service: Service | Instance | str) -> int:
        """Return the port in the service's name and claim it, for udp where tagged so; a name without is a fault.

        Who is at fault loses the protocol's tag, and so is left out of what is listed by it; if it comes here again,
        it is left out everywhere.
        """
        run = self.run
        name = str(service) if isinstance(service, str) else service.name
        tags = () if isinstance(service, str) else service.tags
        protocols = [protocol for protocol in PORT_PROTOCOLS if protocol in tags]
        lost = [protocol for protocol in PORT_PROTOCOLS if (name, protocol) in run.partly.unlisted]
        port = port_of(name)
        if port is None or (lost and not protocols):
            field = f"{(protocols or lost or PORT_PROTOCOLS)[0]} port"
            run.find_fault(Fault(service=name, field=field, reason=NO_PORT))
            return 0
        protocols = protocols or ["tcp"]
        for protocol in protocols:
            run.claim(Claim(kind=f"{protocol} port", value=str(port), service=name))
        return RegisteredInt(port)

    def claim(self, kind: str, value: str, service: Service | Instance | None = None) -> str:
        """Return the value, and claim it for the service, or for the one read last, whatever its case.

        No other service may have it. A ``server_name`` must be one host's name: not a pattern, nor any host below it.
        """
        run = self.run
        owner = service or run.touched
        if owner is None or isinstance(owner, OwnedEntry):
            raise ValueError(f"claim: cannot tell whose {kind} this is; name the service: claim(kind, value, svc)")
        text = str(text_of(value)).casefold()
        if kind == "server_name" and _NO_HOST.search(text):
            run.find_fault(Fault(service=owner.name, field="name", reason="gives no host name"))
        run.claim(Claim(kind=str(kind), value=text, service=owner.name))
        return value

    def env(self, name: str, default: Any = None) -> Any:
        """Return a variable of ctemplate's own environment; Consul's credentials are out of reach."""
        name = _word("name", name) or ""
        if name in SECRET_VARIABLES:
            raise PermissionError(f"env: {name} is a credential that templates cannot read")
        value = self._environ.get(name)
        if value is not None:
            return Trusted(value)
        if default is None:
            raise LookupError(f'env: {name!r} is not set; give a default: env({name!r}, "…")')
        return default

    def fail(self, message: str) -> str:
        """Refuse the render with a message: the live files stay. While answers are missing it does nothing."""
        if self.run.awaited:
            return Trusted("")
        raise TemplateFailed(printing_line(), printable(text_of(message)))

    def require(self, items: Sequence[Any], n: int = 1) -> Sequence[Any]:
        """Return the items if there are at least ``n``; else refuse the render, so that the live files stay.

        While answers are missing they are returned as they are.
        """
        if len(items) < n and not self.run.awaited:
            raise TemplateFailed(printing_line(), f"require: found {len(items)}, needs at least {n}")
        return items

    def now(self, format: str = ISO_TIME) -> str:  # noqa: A002  # the agreed word
        """Return the time when the render began, in UTC, as ``strftime`` writes it; ``unix`` gives seconds since 1970.

        It is the same throughout a render, and no render is caused by its change.
        """
        moment = dt.datetime.fromtimestamp(int(self.run.read_moment()), dt.UTC)
        check_format(format)
        return Trusted(str(int(moment.timestamp())) if format == "unix" else moment.strftime(str(format)))

    def random(self, values: Sequence[Any], seed: str | None = None) -> Any:
        """Return one of the values by chance; with a seed always the same one of the same values.

        Without a seed it is another one with each render, and the same throughout a render.
        """
        if not values:
            raise ValueError("random: there is nothing to choose from")
        sown = self.run.read_moment() if seed is None else str(text_of(seed))
        return Random(f"{sown}").choice(values)  # noqa: S311  # no secret is made of it


def _chosen(instances: Iterable[Instance], statuses: tuple[Status, ...], tag: str | None) -> tuple[Instance, ...]:
    """Return the instances in one of the states, and with the tag if one is asked for."""
    found = [instance for instance in instances if instance.status in statuses]
    return tuple(found if tag is None else [instance for instance in found if tag in instance.tags])


def _datacenters(dc: Iterable[str]) -> tuple[str, ...]:
    """Return the datacenters of a list, each once, in their order."""
    return tuple(dict.fromkeys(_word("dc", each) for each in dc))


def _united(answers: Iterable[tuple[Service, ...]]) -> tuple[Service, ...]:
    """Return the services of several answers, sorted by name, each with all its tags."""
    tags: dict[str, set[str]] = {}
    for service in chain.from_iterable(answers):
        tags.setdefault(service.name, set()).update(service.tags)
    return tuple(Service(name=name, tags=tuple(sorted(tags[name]))) for name in sorted(tags))


@lru_cache(maxsize=_KEPT_QUERIES)
def _service_query(  # noqa: PLR0917  # positions are quicker to look up
    name: str,
    dc: str | None,
    near: str | None,
    filter: str | None,  # noqa: A002  # Consul's word
    ns: str | None,
    partition: str | None,
    peer: str | None,
) -> ServiceQuery:
    scope = _scope(dc=dc, ns=ns, partition=partition, peer=peer, near=near, filter=filter)
    return ServiceQuery(name=_word("name", name), **scope)


def port_of(name: str) -> int | None:
    """Return the port after the name's last dash: 1 to 65535, no leading zero."""
    match = _PORT.fullmatch(name)
    if match is None or "-" in match[1] or int(match[1]) > MAX_PORT:
        return None
    return int(match[1])


def _scope(**words: str | None) -> dict[str, str]:
    return {key: word for key, value in words.items() if value is not None and (word := _word(key, value))}


def suggestion(name: object, known: Iterable[str], prefix: str = "") -> str:
    """Return ``; did you mean …?`` when a known name is near; ``prefix`` is what is written before it."""
    near = difflib.get_close_matches(str(name), known, 1)
    return f"; did you mean {prefix + printable(near[0])!r}?" if near else ""


def _word(key: str, value: object) -> str:
    if isinstance(value, Service | Instance):
        kind = type(value).__name__.lower()
        raise TypeError(f"{key} must be a text, got a whole {kind}; write its {key}, such as svc.{key}")
    if not isinstance(value, str):
        text_of(value)
        raise TypeError(f"{key} must be a text, got {value!r}")
    return str(value)


def _statuses(status: str | Iterable[str]) -> tuple[Status, ...]:
    if isinstance(status, str):
        found = _STATUSES.get(status)
        return found if found is not None else _unknown_status(status)
    return tuple({found: None for word in status for found in _statuses(word)})


def _unknown_status(word: str) -> tuple[Status, ...]:
    near = difflib.get_close_matches(word, _STATUSES, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(_STATUSES)}"
    raise ValueError(f"status: unknown word {word!r}; {hint}")
