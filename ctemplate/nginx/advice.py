"""Advice on nginx's messages that do not say what to do, as data. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ctemplate.core.lazy_pattern import lazy_pattern

_STREAM = (
    "install nginx's stream module, libnginx-mod-stream, and write load_module modules/ngx_stream_module.so; at the top"
)
_NO_UPSTREAM = (
    "no upstream and no host has this name; if it is a service without instances, keep its upstream: "
    "nginx.http_upstreams(placeholder=true), or {% else %} server 127.0.0.1:1 down; in its loop"
)
_FIXES = (
    (
        lazy_pattern(r'unknown directive "stream"'),
        _STREAM,
    ),
    (
        lazy_pattern(r"no port in upstream|invalid port in upstream"),
        "an instance is registered without a port; write {% if i.port %} around its server line",
    ),
    (
        lazy_pattern(r"no servers are inside upstream"),
        "an upstream without instances is refused; write {% else %} server 127.0.0.1:1 down; in its loop",
    ),
    (
        lazy_pattern(r"host not found in upstream"),
        _NO_UPSTREAM,
    ),
    (
        lazy_pattern(r"could not build (?:the )?server_names_hash|could not build optimal server_names_hash"),
        "write server_names_hash_bucket_size 512; in http",
    ),
)


def advice(lines: Iterable[str]) -> Iterator[str]:
    """Yield advice on nginx's lines, each once; none for lines that are clear by themselves."""
    found = list(lines)
    for pattern, fix in _FIXES:
        if any(pattern.search(line) for line in found):
            yield fix
