"""The nginx of this host that reads a group's files: its version and modules."""

from __future__ import annotations

from collections.abc import Mapping

from ctemplate.core.errors import printable
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import Answer, OwnedEntry, Query
from ctemplate.queries.catalog_entries import CatalogPage, RecordedAnswer, RecordedBuild, RecordingRules
from ctemplate.queries.kind import (
    CatalogForm,
    Decoded,
    Kind,
    Losses,
    OwnText,
    Reader,
    ReadRight,
    Stored,
    Subject,
    WatchRole,
    never,
    nothing,
    template_function,
)
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource

_REQUESTED = """
    http_addition http_auth_request http_dav http_degradation http_flv http_geoip http_gunzip http_gzip_static
    http_image_filter http_mp4 http_perl http_random_index http_realip http_secure_link http_slice http_ssl
    http_stub_status http_sub http_v2 http_v3 http_xslt mail mail_ssl
    stream stream_geoip stream_realip stream_ssl stream_ssl_preread
"""
_DEFAULT = """
    http_access http_auth_basic http_autoindex http_browser http_charset http_empty_gif http_fastcgi http_geo http_gzip
    http_limit_conn http_limit_req http_map http_memcached http_proxy http_referer http_rewrite http_scgi
    http_split_clients http_ssi http_upstream_hash http_upstream_ip_hash http_upstream_keepalive
    http_upstream_least_conn http_upstream_zone http_userid http_uwsgi
    stream_access stream_geo stream_limit_conn stream_map stream_return stream_split_clients stream_upstream_hash
    stream_upstream_least_conn stream_upstream_zone
"""
REQUESTED_MODULES = frozenset(_REQUESTED.split())
"""Modules that an nginx has only if its build asks for them; http://nginx.org/en/docs/configure.html."""

DEFAULT_MODULES: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(_DEFAULT.split(), ()),
    "http_grpc": (1, 13, 10),
    "http_mirror": (1, 13, 4),
    "http_upstream_random": (1, 15, 1),
    "stream_pass": (1, 25, 5),
    "stream_set": (1, 19, 3),
    "stream_upstream_random": (1, 15, 1),
}
"""Modules that an nginx has unless its build leaves them out, each with nginx's version that added it."""

_VERSION = lazy_pattern(r"\d{1,6}(?:\.\d{1,6}){0,4}")


class NginxBuild(OwnedEntry, frozen=True, kw_only=True, gc=False):
    """An nginx: its version, the modules that its build asked for and that exist, and those that it leaves out."""

    version: str
    modules: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def owner_name(self) -> str:
        """Return a description of the owner of these texts."""
        return "this host's nginx"

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return none: nginx itself is responsible for them."""
        return ()

    def has_module(self, name: str) -> bool:
        """Return whether it has a module; a module of the stream block also needs that block's own module."""
        if name.startswith("stream_") and "stream" not in self.modules:
            return False
        if name in REQUESTED_MODULES:
            return name in self.modules
        return name not in self.without and version_numbers(self.version) >= DEFAULT_MODULES[name]


class NginxBuildQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="nginx", omit_defaults=True):
    """The nginx that a program is; the value is ``tuple[NginxBuild, ...]``, empty if it cannot be run."""

    path: str


def version_numbers(version: str) -> tuple[int, ...]:
    """Return a version for comparison; raises ValueError for a text that is none."""
    if _VERSION.fullmatch(version) is None:
        raise ValueError(f"{printable(version)!r} is no version of nginx, such as '1.25.1'")
    return tuple(map(int, version.split(".")))


def _known_build(reader: Reader) -> NginxBuild | None:
    answer = reader.ask(NginxBuildQuery(path=reader.nginx_program))
    return answer.value[0] if answer is not None and answer.value else None


@template_function("nginx_version")
def _nginx_version(reader: Reader) -> OwnText:
    """Return the version of the nginx that reads the file, such as ``1.26.3``; empty if it is unknown.

    It is that of the program in the group's reload command or ``nginx`` table, else of ``nginx``; it is asked once, and
    again when the program is replaced. With a catalog file, it is what the file says under ``nginx``.
    """
    build = _known_build(reader)
    return reader.own_text("" if build is None else build.version)


@template_function("nginx_since")
def _nginx_since(reader: Reader, version: str, default: bool = False) -> bool:  # noqa: FBT001, FBT002  # as templates write it
    """Return whether the nginx that reads the file has at least this version; ``default`` if its version is unknown."""
    numbers, build = version_numbers(str(version)), _known_build(reader)
    return default if build is None else version_numbers(build.version) >= numbers


@template_function("nginx_has")
def _nginx_has(reader: Reader, module: str, default: bool = True) -> bool:  # noqa: FBT001, FBT002  # as above
    """Return whether the nginx that reads the file has a module of nginx's own; ``default`` if that is unknown.

    A dynamic module counts if its file is in nginx's folder of modules; the configuration must still load it.
    """
    name = str(module)
    if name not in REQUESTED_MODULES and name not in DEFAULT_MODULES:
        raise ValueError(f"nginx_has: nginx has no module named {printable(name)!r}, such as 'http_v2'")
    build = _known_build(reader)
    return default if build is None else build.has_module(name)


def _request(query: NginxBuildQuery, _: Mapping[str, str | None]) -> Resource:
    raise TypeError(f"{query} is no question to Consul")


def _decode(query: NginxBuildQuery, _: bytes, __: Decoder) -> Decoded:
    raise TypeError(f"{query} is no question to Consul")


def _rights(_: NginxBuildQuery) -> tuple[ReadRight, ...]:
    return ()


def _is_plain(_: NginxBuildQuery) -> bool:
    return True


def _playback(query: NginxBuildQuery, page: CatalogPage) -> Decoded:
    found = page.entry.nginx.get(query.path)
    if found is None:
        return (), ()
    version_numbers(found.version)
    return (NginxBuild(version=found.version, modules=found.modules, without=found.without),), ()


def _record(answer: Answer, _: RecordingRules) -> RecordedAnswer:
    builds = [RecordedBuild(version=one.version, modules=one.modules, without=one.without) for one in answer.value]
    return RecordedAnswer(nginx=dict.fromkeys([str(answer.query.argument)], builds[0]) if builds else {})


NGINX_BUILD_KIND = Kind(
    query=NginxBuildQuery,
    role=WatchRole.NGINX,
    request=_request,
    not_found=NotFound.REFUSED,
    decode=_decode,
    blocks=False,
    sentinel=nothing,
    losses=Losses.NONE,
    subject=Subject.NO_SERVICE,
    service_name=nothing,
    reads_whole_service=never,
    keeps_order=never,
    is_shuffled=False,
    rights=_rights,
    cover=None,
    stored=Stored(section="nginx", entry=NginxBuild),
    catalog=CatalogForm(is_plain=_is_plain, playback=_playback, record=_record),
    functions=(_nginx_version, _nginx_since, _nginx_has),
    readable=(),
)
