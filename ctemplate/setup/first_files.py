"""Make the files of a first configuration from the host survey. Pure except for reading the shipped templates.

Parts that cannot work yet, such as a file that a stream block does not include, are written as comments that say what
to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from ctemplate.core.shipped import SHIPPED
from ctemplate.core.values import dataclass
from ctemplate.setup.survey import HostSurvey

CONFIG_NAME = "ctemplate.toml"
HTTP_TAG, STREAM_TAG = "http", "tcp"
STREAM_PACKAGE = "on Debian: apt install libnginx-mod-stream"
INITIAL = SHIPPED / "init"
NO_SETTINGS: Mapping[str, str | bool] = MappingProxyType({})
RELOAD, RELOAD_WITHOUT_ROOT = "nginx -s reload", "sudo -n nginx -s reload"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstFiles:
    """Texts by file name; ``advice`` are the steps left for the operator, one sentence each."""

    texts: dict[str, str]
    advice: tuple[str, ...] = ()


def first_files(
    host: HostSurvey, folder: Path, *, is_complete: bool, consul: Mapping[str, str | bool] = NO_SETTINGS
) -> FirstFiles:
    """Return a configuration with fragments beside existing sites, or with a whole nginx.conf.

    ``consul`` are further keys of its ``[consul]``.
    """
    names = ("main",) if is_complete else ("http", "stream")
    templates = {f"{name}.conf.j2": (INITIAL / f"{name}.conf.j2").read_text() for name in names}
    parts = (_complete if is_complete else _fragments)(host)
    text = "\n".join((*_head(host, folder, consul), *parts, ""))
    advice = tuple(_complete_advice(host) if is_complete else _fragment_advice(host))
    return FirstFiles(texts={CONFIG_NAME: text, **templates}, advice=advice)


def _head(host: HostSurvey, folder: Path, consul: Mapping[str, str | bool]) -> Iterator[str]:
    yield f"# ctemplate's configuration, made by 'ctemplate init' on {host.distribution}. It is yours to change."
    yield "# Every key with its default: docs/configuration.md. What a change would do:"
    yield f"#     ctemplate plan -config {folder}"
    yield ""
    yield "[consul]"
    yield f"address = {_quoted(host.consul.address)}"
    for key, value in consul.items():
        yield f"{key} = {_quoted(value) if isinstance(value, str) else str(value).lower()}"
    if "token_file" not in consul:
        yield '# token_file = "/etc/ctemplate/consul.token"  # where Consul asks for a token'
    yield ""


def _fragments(host: HostSurvey) -> Iterator[str]:
    tag = "" if host.consul.services is not None and _is_untagged(host) else HTTP_TAG
    yield "[vars]"
    yield "# Services that sites of yours name (proxy_pass http://NAME): they have an upstream also while Consul does"
    yield '# not know them, so that nginx accepts the site at any time, such as ["web", "api"].'
    yield "always = []"
    yield f'# Services with this tag get an upstream; "" for every service.\nhttp_tag = {_quoted(tag)}'
    yield from _group(host)
    yield "# An upstream for each HTTP service, for sites of your own to name."
    yield from _template("http", host.nginx.http_folder)
    yield "# A listener for each TCP service whose name ends with a port, such as db-5432."
    yield from _template("stream", host.nginx.stream_folder)


def _group(host: HostSurvey) -> Iterator[str]:
    yield ""
    yield "# Files that are checked together, put in place together, and taken by nginx with one reload that is proven."
    yield "[[group]]"
    yield 'name = "nginx"'
    if not host.is_root:
        yield "# Who is not root needs a right to reload nginx: docs/without-root.md."
    yield f"reload = {_quoted(RELOAD if host.is_root else RELOAD_WITHOUT_ROOT)}"
    yield ""


def _template(name: str, folder: Path | None) -> Iterator[str]:
    """Yield a template's table; as a comment with the reason if nginx does not include its file yet."""
    place, mark = folder or Path("/etc/nginx") / f"{name}.d", "" if folder else "# "
    if folder is None:
        yield "# Not in use yet, since nginx.conf includes no such file. Make the folder, write into nginx.conf"
        yield f"#     {name} {{ include {place}/*.conf; }}"
        yield f"# or the include alone where it has {name} {{ … }} already, and take the marks from these four lines:"
    yield f"{mark}[[template]]"
    yield f'{mark}source = "{name}.conf.j2"'
    yield f"{mark}destination = {_quoted(str(place / f'ctemplate-{name}.conf'))}"
    yield f'{mark}group = "nginx"'
    yield ""


def _complete(host: HostSurvey) -> Iterator[str]:
    nginx = host.nginx
    yield "[vars]"
    yield "# A service is served as NAME.DOMAIN on port 80. Further settings are listed at the top of the complete"
    yield "# template, templates/nginx.conf.j2 of the source."
    yield 'domain = "example.com"'
    yield f"user = {_quoted(nginx.worker_user or '')}"
    yield f"stream_module = {_quoted(nginx.stream_module or '')}"
    yield "# Your own files to keep, in http. There can be only one default server, and the complete"
    yield "# template has one: take 'default_server' away from yours first (Debian: remove sites-enabled/default)."
    for pattern in nginx.http_includes:
        yield f"# http_include = {_quoted(pattern)}"
    yield from _group(host)
    yield "# This replaces the whole file. The original is stored: ctemplate restore."
    yield "[[template]]"
    yield 'source = "main.conf.j2"'
    yield f"destination = {_quoted(str(nginx.conf))}"
    yield 'group = "nginx"'


def _is_untagged(host: HostSurvey) -> bool:
    """Return whether Consul has user services, and none of them is tagged."""
    own = (host.consul.services or {}).keys() - {"consul"}
    return bool(own) and not host.consul.tagged(HTTP_TAG)


def _fragment_advice(host: HostSurvey) -> Iterator[str]:
    if host.nginx.http_folder is None:
        yield f"{host.nginx.conf}: the http block has to include a folder of *.conf; {CONFIG_NAME} says how"
    if host.nginx.stream_folder is None:
        yield f"{host.nginx.conf}: for TCP, a stream block has to include a folder; {CONFIG_NAME} says how"
    if host.nginx.stream_module is None:
        yield f"nginx: has no stream module, which TCP needs; {STREAM_PACKAGE}"


def _complete_advice(host: HostSurvey) -> Iterator[str]:
    if host.nginx.stream_module is None:
        yield f"nginx: has no stream module, which the complete template needs; {STREAM_PACKAGE}"
    if host.nginx.hosts:
        yield f"{host.nginx.conf}: is replaced as a whole; look at what vanishes, and at http_include in {CONFIG_NAME}"


def _quoted(text: str) -> str:
    """Return a TOML basic string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
