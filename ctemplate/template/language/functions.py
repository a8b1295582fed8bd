"""The values and functions that templates call by name, and the reader that query functions get.

Reads answers from the current run; must not know how they arrived or how the text is used.
"""

from __future__ import annotations

import datetime as dt
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from types import MethodType
from typing import Any

from jinja2.utils import Cycler, Joiner, Namespace

from ctemplate.core.errors import TemplateFailed, printable
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import (
    MAX_PORT,
    Answer,
    Instance,
    OwnedEntry,
    Query,
    Rejection,
    Service,
    Snapshot,
)
from ctemplate.queries import KIND_FUNCTIONS, ServicesQuery, kind_of, named_service
from ctemplate.queries.choosing import word
from ctemplate.queries.kind import EntryForm, OwnText, Reader
from ctemplate.system.programs import SECRET_VARIABLES
from ctemplate.template.language.absent import AbsentValue
from ctemplate.template.language.advice import (
    argument_advice,
    is_in_grammar,
    most_alike,
    no_instance_with_tag,
    none_of_name,
    none_with_tag,
    path_call,
    shown,
    status_argument,
    taken_for_a_tag,
    word_advice,
)
from ctemplate.template.language.host import interface_ip, interfaces
from ctemplate.template.safety.limits import bounded_range, check_format
from ctemplate.template.safety.registered_numbers import RegisteredBytes, RegisteredInt
from ctemplate.template.safety.render_pass import Claim, Run
from ctemplate.template.safety.running_line import printing_line
from ctemplate.template.safety.tainted_text import Trusted, text_of, trusted

PORT_PROTOCOLS = ("tcp", "udp")
LISTS_KNOWN = 64  # whose entries are stored in the form that templates use
ISO_TIME = "%Y-%m-%dT%H:%M:%SZ"
NO_PORT = "the name does not end in a dash and a port from 1 to 65535"
_NO_HOST = lazy_pattern(r"^$|^[~.]|\.\.|[*\s]")
_PORT = lazy_pattern(r".+-([1-9][0-9]{0,4})", re.DOTALL)


class Variables:
    """The operator's variables, as ``var`` in a template."""

    __slots__ = ("values",)

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = {name: trusted(value) for name, value in values.items()}


class Separator(Joiner):
    """Jinja's joiner; the empty text before the first item is a template's own text, too."""

    def __call__(self) -> str:
        """Return an empty text the first time, then the separator."""
        return super().__call__() or Trusted("")


class Functions:
    """The functions that templates call; ``run`` is the current pass.

    ``is_shipped`` returns, for a template's name in errors, whether it came with ctemplate.
    """

    def __init__(
        self,
        variables: Mapping[str, object],
        environ: Mapping[str, str],
        is_shipped: Callable[[str], bool] = lambda _name: False,
        *,
        trusted_keys: Sequence[str] = (),
        nginx_program: str = "nginx",
    ) -> None:
        self.nginx_program = nginx_program
        self.run = Run(snapshot=Snapshot({}))
        self._is_shipped = is_shipped
        self._last_listed: tuple[Answer | None, frozenset[str]] = (None, frozenset())
        self._trusted_keys = tuple(trusted_keys)
        self._made: dict[tuple[Query, object], tuple[tuple[Any, ...], tuple[Any, ...]]] = {}
        self._environ = environ
        self._variables = Variables(variables)

    def table(self) -> dict[str, Any]:
        """Return the names that every template knows."""
        return {name: MethodType(function, self) for name, function in KIND_FUNCTIONS.items()} | {
            "listen_port": self.listen_port,
            "claim": self.claim,
            "var": self._variables,
            "env": self.env,
            "fail": self.fail,
            "require": self.require,
            "now": self.now,
            "interface_ip": interface_ip,
            "interfaces": interfaces,
            "range": bounded_range,
            "dict": dict,
            "namespace": Namespace,
            "cycler": Cycler,
            "joiner": Separator,
        }

    def ask(self, query: Query) -> Answer | None:
        """Return the answer to a query, None if there is none yet; the pass then waits for it."""
        return self.run.answer(query)

    def absent(self, query: Query) -> AbsentValue:
        """Return the stand-in for a missing value; a template that uses it waits for the value."""
        return AbsentValue(self.run, query)

    def read_entry(self, entry: OwnedEntry) -> None:
        """Record that the next printed text most likely comes from this entry."""
        self.run.last_read = entry

    def own_text(self, text: str) -> OwnText:
        """Return a text that Consul itself or the operator wrote; it is printed unchanged."""
        return OwnText(Trusted(text))

    def key_text(self, path: str, text: str) -> str:
        """Return a key's text: trusted as the operator's own below a trusted prefix, else treated as a registrant's."""
        return Trusted(text) if path.startswith(self._trusted_keys) else text

    def key_bytes(self, path: str, data: bytes) -> bytes:
        """Return a key's value that is no text: the numbers in it are registered, except below a trusted prefix."""
        return data if path.startswith(self._trusted_keys) else RegisteredBytes(data)

    def made_of(self, answer: Answer, make: Callable[[Reader, Any, Any], EntryForm]) -> tuple[EntryForm, ...]:
        """Return what ``make`` returns for each entry of an answer; see ``Reader.made_of``."""
        which = (answer.query, make)
        entries, made = self._made.pop(which, ((), ()))
        if entries is not answer.value:
            known = dict(zip(map(id, entries), made, strict=True))
            made = tuple(known[id(one)] if id(one) in known else make(self, answer.query, one) for one in answer.value)
        self._made[which] = answer.value, made
        if len(self._made) > LISTS_KNOWN:
            del self._made[next(iter(self._made))]
        return made

    def name_advice(self, name: str, known: Iterable[str]) -> str:
        """Return ``; `` and what to write in place of an undefined name, empty if there is no advice."""
        if name in self._variables.values:
            return f"; did you mean 'var.{name}'?"
        return word_advice(name) or suggestion(name, [other for other in known if other != name])

    def argument_advice(self, function: str, argument: str) -> str:
        """Return the argument that the author may have meant, in a form that follows a sentence."""
        called = self.table().get(function)
        known = inspect.signature(called).parameters if callable(called) else {}
        return argument_advice(argument, known) or suggestion(argument, known)

    def instances(
        self, query: Query, tag: str | None = None, *, has_alternatives: bool = False, prefetch_only: bool = False
    ) -> tuple[Instance, ...] | None:
        """Return a query's instances without those left out; see ``Reader.instances``."""
        run = self.run
        answer = run.answer(query, has_alternatives=has_alternatives, prefetch_only=prefetch_only)
        if answer is None:
            return None
        partly, name = run.partly, named_service(query)
        if name is None:
            return tuple(one for one in partly.remaining(answer.value) if one.name not in run.excluded)
        if name in run.excluded or (name, tag) in partly.unlisted:
            return ()
        return partly.remaining(answer.value) if name in partly.services else answer.value

    def is_left_out(self, query: Query) -> bool:
        """Return whether the service that a query names is left out."""
        return named_service(query) in self.run.excluded

    def listed(self, query: Query, *, has_alternatives: bool = False) -> tuple[Service, ...]:
        """Return a query's services without those left out; none if there is no answer yet."""
        answer = self.run.answer(query, has_alternatives=has_alternatives)
        if answer is None:
            return ()
        excluded, partly = self.run.excluded, self.run.partly
        if not excluded and not partly.is_about_tags:
            return answer.value
        listed = map(partly.shown, answer.value) if partly.is_about_tags else answer.value
        return tuple(service for service in listed if service.name not in excluded)

    def await_all(self, queries: Iterable[Query]) -> None:
        """Wait for the queries, if all their datacenters are absent."""
        self.run.await_all(queries)

    def explain_tag(self, queries: Iterable[Query], tag: str) -> None:
        """Report a tag that no service carries, except for optional tags of ctemplate's own templates."""
        found = [self.run.used.get(query) for query in queries]
        known = {each for answer in found if answer is not None for service in answer.value for each in service.tags}
        where = printing_line()
        is_optional = self._is_shipped(where.rpartition(":")[0])
        if None not in found and (said := none_with_tag(tag, known, is_optional=is_optional)):
            self.run.remark(f"{where}: {said}")

    def explain_instances(self, queries: Sequence[Query], tag: str | None) -> None:
        """Report a call that gives no instance if its name or tag is most likely a typing error."""
        run, name, function = self.run, str(queries[0].argument), str(queries[0].__struct_config__.tag)
        found = [answer for query in queries if (answer := run.used.get(query)) is not None and not answer.absent]
        if len(found) < len(queries) or name in run.excluded:
            return
        said, is_whole = "", kind_of(queries[0]).reads_whole_service(queries[0])
        tags = {each for answer in found for instance in answer.value for each in instance.tags}
        if tag is not None and tag not in tags and (status := status_argument(tag)):
            said = f"{taken_for_a_tag(tag)}; write {function}({shown(name)}, {status})"
        elif tag is not None and any(answer.value for answer in found):
            is_optional = (
                not is_whole
                or any(answer.rejections for answer in found)
                or any(self._is_listed(name, query) for query in queries)
                or self._is_shipped(printing_line().rpartition(":")[0])
            )
            said = no_instance_with_tag(tag, tags, is_optional=is_optional)
        elif (is_whole or is_in_grammar(name)) and not any(answer.value or answer.rejections for answer in found):
            said = none_of_name(name, [listed for query in queries for listed in self._names_beside(query)], function)
        if said:
            run.remark(f"{printing_line()}: {function}({shown(name)}): {said}")

    def explain_path(self, function: str, query: Query) -> None:
        """Report a path or a node's name that Consul answered without a value, in consul-template's form."""
        answer, path = self.run.used.get(query), str(query.argument).removesuffix("/")
        if answer is not None and not answer.value and (call := path_call(function, path)):
            said = f"nothing has this name; write {call} for what consul-template means by that"
            self.run.remark(f"{printing_line()}: {function}({shown(path)}): {said}")

    def _is_listed(self, name: str, query: Query) -> bool:
        """Return whether the template has read a list that has the service, most likely to ask each one of it."""
        answer = self.run.used.get(ServicesQuery(dc=query.dc, ns=query.ns, partition=query.partition))
        if answer is None:
            return False
        listed = self._last_listed
        if listed[0] is not answer:  # a loop asks for each of many services
            listed = self._last_listed = (answer, frozenset(service.name for service in answer.value))
        return name in listed[1]

    def _names_beside(self, query: Query) -> tuple[str, ...]:
        """Return the names of all services in the query's scope, as far as the template has read them."""
        answer = self.run.used.get(ServicesQuery(dc=query.dc, ns=query.ns, partition=query.partition))
        return () if answer is None else tuple(service.name for service in answer.value)

    def listen_port(self, service: Service | Instance | str) -> int:
        """Return the port in the service's name and claim it (for udp if tagged so); a name without a port is an error.

        A service with an error, or whose claim fails, loses the protocol's tag, and so is left out of what is listed by
        it; if the template passes it here again, it is left out everywhere.
        """
        run = self.run
        name = str(service) if isinstance(service, str) else service.name
        tags = () if isinstance(service, str) else service.tags
        protocols = [protocol for protocol in PORT_PROTOCOLS if protocol in tags]
        lost = [protocol for protocol in PORT_PROTOCOLS if (name, protocol) in run.partly.unlisted]
        port = port_of(name)
        if port is None or (lost and not protocols):
            field = f"{(protocols or lost or PORT_PROTOCOLS)[0]} port"
            run.add_rejection(Rejection(service=name, field=field, reason=NO_PORT))
            return 0
        protocols = protocols or ["tcp"]
        for protocol in protocols:
            run.claim(Claim(kind=f"{protocol} port", value=str(port), service=name))
        return RegisteredInt(port)

    def claim(self, kind: str, value: str, service: Service | Instance | None = None) -> str:
        """Return the value, and claim it for the service, or for the one read last; case does not matter.

        No other service may have it. A ``server_name`` must be a single host name: neither a pattern nor all hosts
        below a domain.
        """
        run = self.run
        owner = service or run.last_read
        if owner is None or isinstance(owner, OwnedEntry):
            raise ValueError(f"claim: cannot tell whose {kind} this is; name the service: claim(kind, value, svc)")
        text = str(text_of(value)).casefold()
        if kind == "server_name" and _NO_HOST.search(text):
            run.add_rejection(Rejection(service=owner.name, field="name", reason="gives no host name"))
        run.claim(Claim(kind=str(kind), value=text, service=owner.name))
        return value

    def env(self, name: str, default: Any = None) -> Any:
        """Return a variable of ctemplate's own environment; Consul's credentials cannot be read."""
        name = word("name", name)
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

        While answers are missing the items are returned unchanged.
        """
        if len(items) < n and not self.run.awaited:
            raise TemplateFailed(printing_line(), f"require: found {len(items)}, needs at least {n}")
        return items

    def now(self, format: str = ISO_TIME) -> str:  # noqa: A002  # the agreed word
        """Return the time when the render began, in UTC, as ``strftime`` writes it; ``unix`` gives seconds since 1970.

        It is the same throughout a render, and its change causes no render.
        """
        moment = dt.datetime.fromtimestamp(int(self.run.read_moment()), dt.UTC)
        check_format(format)
        return Trusted(str(int(moment.timestamp())) if format == "unix" else moment.strftime(str(format)))

    def random(self, values: Sequence[Any], seed: str | None = None) -> Any:
        """Return one of the values at random; with a seed always the same one of the same values.

        Without a seed each render gets another value, which is the same throughout the render.
        """
        if not values:
            raise ValueError("random: there is nothing to choose from")
        sown = self.run.read_moment() if seed is None else str(text_of(seed))
        return Random(f"{sown}").choice(values)  # noqa: S311  # no secret is made of it


def port_of(name: str) -> int | None:
    """Return the port after the name's last dash: 1 to 65535, no leading zero."""
    match = _PORT.fullmatch(name)
    if match is None or "-" in match[1] or int(match[1]) > MAX_PORT:
        return None
    return int(match[1])


def suggestion(name: object, known: Iterable[str], prefix: str = "") -> str:
    """Return ``; did you mean …?`` if a known name is similar; ``prefix`` is written before it."""
    near = most_alike(str(name), tuple(known))
    return f"; did you mean {prefix + printable(near)!r}?" if near else ""
