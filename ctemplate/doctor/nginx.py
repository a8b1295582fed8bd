"""Judge facts about an nginx: version, stream module, configuration, master, important settings. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ctemplate.core.errors import CtemplateError
from ctemplate.core.program_events import UNREAD_FIX
from ctemplate.doctor.diagnosis import Diagnosis, error, ok, warning
from ctemplate.nginx.identity import FoundMaster
from ctemplate.nginx.language.includes import Tree
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.language.parser import Directive, parse_config, walk
from ctemplate.nginx.master import NoMaster

OLDEST_TESTED = (1, 18)
STREAM_MODULE = "ngx_stream_module.so"
MISSING_NAME = "host not found in upstream"
LUA_TRAP = "lua_setexdata"
RIGHTS = "give ctemplate CAP_KILL, or a reload command that has the right, such as sudo -n nginx -s reload"
PID_FILE = "correct the pid file; nginx's own -s and most init scripts need it"
ANOTHER = "name the configuration in the reload command or in the group's nginx key, or start nginx with it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An nginx's stream module: built in, or a file that exists or not; None for neither."""

    is_built_in: bool = False
    module: str | None = None
    exists: bool = False


def stream_of(arguments: Collection[str]) -> tuple[bool, bool]:
    """Return from configure arguments whether the stream module is built in, and whether it is a separate module."""
    return "--with-stream" in arguments, "--with-stream=dynamic" in arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxFacts:
    """The facts about one nginx: the program, the state of its live configuration, and its master process.

    ``refusal`` is the reason why its live configuration cannot run, ``warnings`` are nginx's warnings about a valid
    one. ``tree`` is None if there is no configuration yet; it does not read the destinations in ``unread``. Those
    in ``unwritten`` do not exist yet.
    ``may_signal``: this user has the right to send the reload signal. ``wants_stream``: a template writes a stream
    block.
    """

    name: str
    version: tuple[int, ...]
    conf: str
    stream: Stream
    wants_stream: bool
    tree: Tree | None = None
    refusal: CtemplateError | None = None
    warnings: tuple[str, ...] = ()
    master: FoundMaster | NoMaster | CtemplateError | None = None
    may_signal: bool = True
    unread: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = ()


def nginx_diagnoses(facts: NginxFacts) -> Iterator[Diagnosis]:
    """Yield a line for each thing about nginx."""
    yield _version(facts)
    yield _stream(facts)
    yield _configuration(facts)
    yield from _master(facts)
    for path in facts.unread:
        yield warning(path, f"{facts.conf} does not read it: no include and no other directive names it", UNREAD_FIX)
    if facts.tree is not None:
        directives = tuple(_directives(facts.tree))
        yield from _shutdown(directives)
        yield from _hashes(directives, facts.warnings)


def _version(facts: NginxFacts) -> Diagnosis:
    shown = ".".join(map(str, facts.version))
    if facts.version < OLDEST_TESTED:
        oldest = ".".join(map(str, OLDEST_TESTED))
        return warning(f"{facts.name}: version", shown or "unknown", f"{oldest} and newer are known to work")
    return ok(f"{facts.name}: version", shown)


def _stream(facts: NginxFacts) -> Diagnosis:
    what, stream = f"{facts.name}: stream module", facts.stream
    if stream.is_built_in:
        return ok(what, "built in")
    if stream.module is not None and stream.exists:
        return ok(what, stream.module)
    found = f"{stream.module} does not exist" if stream.module else "not built"
    if facts.wants_stream:
        return error(what, f"{found}, and a template writes a stream block", "install libnginx-mod-stream or its like")
    return ok(what, f"{found}, and no template needs it")


def _configuration(facts: NginxFacts) -> Diagnosis:
    what = facts.conf
    if facts.refusal is None:
        return ok(what, "nginx accepts it" if facts.tree is not None else "not written yet")
    words = "; ".join(facts.refusal.output[:2])
    found = f"{facts.refusal.what}{': ' if words else ''}{words}"
    if LUA_TRAP in words:
        return error(what, found, "install libluajit2-5.1-2; the other LuaJIT lacks what the Lua module needs")
    if MISSING_NAME in words and facts.unwritten:
        files = " or ".join(facts.unwritten)
        return warning(
            what, found, f"if {files}, not written yet, defines the name, all is well: ctemplate plan shows it"
        )
    return error(what, found, "correct it; every candidate is judged together with it")


def _master(facts: NginxFacts) -> Iterator[Diagnosis]:
    what = f"{facts.name}: master"
    match facts.master:
        case FoundMaster(process=process) if not facts.may_signal:
            yield error(what, f"runs as process {process.pid}, which this user may not signal", RIGHTS)
        case FoundMaster(process=process, how=how) if how:
            yield warning(what, f"runs as process {process.pid}, found in the process table: {how}", PID_FILE)
        case FoundMaster(process=process):
            yield ok(what, f"runs as process {process.pid}")
        case NoMaster(suspects=suspects) as absence if suspects:
            yield warning(what, f"is not found: {absence}", ANOTHER)
        case NoMaster(reason=reason):
            yield warning(what, f"does not run: {reason}", "start it; files are written, and the reload is deferred")
        case CtemplateError() as failure:
            yield error(what, f"{failure.where}: {failure.what}", "")
        case None:
            pass


def _directives(tree: Tree) -> Iterator[Directive]:
    """Yield every directive of a configuration, except those in files that cannot be parsed."""
    for path, source in tree.sources.items():
        try:
            found = parse_config(source, where=str(path))
        except NginxSyntaxError:
            continue
        yield from (directive for _, _, directive in walk(found))


def _shutdown(directives: tuple[Directive, ...]) -> Iterator[Diagnosis]:
    """Yield a line about what ends old workers, if connections may be long-lived."""
    what, reasons = "worker_shutdown_timeout", []
    if any(directive.name == b"stream" and directive.block is not None for directive in directives):
        reasons.append("stream servers")
    if any(directive.name == b"proxy_set_header" and directive.args[:1] == (b"Upgrade",) for directive in directives):
        reasons.append("websockets")
    given = [directive for directive in directives if directive.name == what.encode() and directive.args]
    if given:
        yield ok(what, given[0].args[0].decode(errors="replace"))
    elif reasons:
        found = f"not set, and there are {' and '.join(reasons)}: old workers stay as long as their connections"
        yield warning(what, found, "set it at the top of the configuration, such as worker_shutdown_timeout 5m;")


def _hashes(directives: tuple[Directive, ...], warnings: tuple[str, ...]) -> Iterator[Diagnosis]:
    """Yield a line about whether nginx's hash table of server names is large enough, by nginx's own warning."""
    what = "server_names_hash_max_size"
    names = sum(len(directive.args) for directive in directives if directive.name == b"server_name")
    sizes = [directive.args[0].decode(errors="replace") for directive in directives if directive.name == what.encode()]
    counted = f"{names} name{'' if names == 1 else 's'}"
    said = next((line for line in warnings if "server_names_hash" in line), None)
    if said is not None:
        fix = f"set {what} to at least {2 * max(names, 512)}, and server_names_hash_bucket_size if it is named"
        yield warning(what, f"{sizes[0] if sizes else 'not set'} for {counted}: {said}", fix)
    elif names:
        yield ok(what, f"{sizes[0] if sizes else 'the default'} is enough for {counted}")
