"""The modules of an nginx, from what `nginx -V` says and its folder of modules."""

from __future__ import annotations

from pathlib import Path

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass
from ctemplate.nginx.command import Build

_NGINX_ITSELF = lazy_pattern(r"version: nginx/(\d+(?:\.\d+)*)")
_WITH = lazy_pattern(r"--with-((?:http|stream|mail)\w*?)(?:_module)?(=dynamic)?")
_WITHOUT = lazy_pattern(r"--without-((?:http|stream|mail)\w*?)_module")
_FILES = {"http_xslt": "http_xslt_filter", "http_image_filter": "http_image_filter"}
"""Modules whose file has another name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """What `nginx -V` says of modules.

    ``version`` is that of nginx itself, also in programs derived from it that say so; empty if there is none. The build
    asked for the ``requested`` ones and leaves out the ``removed`` ones; ``files`` are those of dynamic modules.
    """

    version: str
    requested: tuple[str, ...]
    removed: tuple[str, ...]
    files: dict[str, Path]

    @classmethod
    def from_output(cls, text: str) -> Modules:
        """Read the output of `nginx -V`."""
        build = Build.from_output(text)
        requested = [found for each in build.arguments if (found := _WITH.fullmatch(each)) is not None]
        removed = (found[1] for each in build.arguments if (found := _WITHOUT.fullmatch(each)) is not None)
        folder = Path(build.options.get("prefix", "/usr/local/nginx")) / build.options.get("modules-path", "modules")
        itself = _NGINX_ITSELF.search(text)
        return cls(
            version=itself[1] if itself else ".".join(map(str, build.version)),
            requested=tuple(sorted({found[1] for found in requested})),
            removed=tuple(sorted(set(removed))),
            files={
                found[1]: folder / f"ngx_{_FILES.get(found[1], found[1])}_module.so" for found in requested if found[2]
            },
        )

    def present(self) -> tuple[str, ...]:
        """Return the requested modules without the dynamic ones whose file is missing. Blocks on the disk."""
        return tuple(name for name in self.requested if name not in self.files or self.files[name].exists())
