"""Stand-ins for files that nginx opens as it tests a configuration, and that we may not read: keys, above all.

nginx's master is root and reads them; a test by another user would end at the first one. In the copy that is tested the
directives name a stand-in of ours, so that everything else is judged. A key belongs to its certificate, so both are
replaced. Starting nginx, and what its words mean, must not be known here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass
from ctemplate.nginx.language.includes import Tree
from ctemplate.nginx.language.parser import Directive, parse_config, words
from ctemplate.nginx.settings import contexts, exists, quoted_path
from ctemplate.system.inputs import real_path

STAND_IN = "stand-in"  # begins the names of the files
TICKET_KEY_BYTES = 80
PAIRED = ("certificate", "key")
SECRET_FILES = {
    "certificate": lazy_pattern(rb"(?:[a-z]+_)?ssl_certificate"),
    "key": lazy_pattern(rb"(?:[a-z]+_)?ssl_certificate_key"),
    "trusted": lazy_pattern(rb"(?:[a-z]+_)?ssl_(?:client_certificate|trusted_certificate)"),
    "password": lazy_pattern(rb"(?:[a-z]+_)?ssl_password_file"),
    "ticket": lazy_pattern(rb"ssl_session_ticket_key"),
}
"""Directives that name a file by what it is for."""

NO_PATH = (b"data:", b"engine:", b"store:")
_SOUGHT = lazy_pattern(rb"ssl_(?:certificate|client_|trusted_|password_|session_ticket_key)")

# Made for this alone, and public: it protects nothing.
KEY_PAIR = b"""\
-----BEGIN CERTIFICATE-----
MIIBkDCCATegAwIBAgIUWyNJgj+Il/j4eADU5xJ7WQ2wqX0wCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSY3RlbXBsYXRlLXN0YW5kLWluMCAXDTI2MTEyODIxMDAwMFoY
DzIxMjYxMTA0MjEwMDAwWjAdMRswGQYDVQQDDBJjdGVtcGxhdGUtc3RhbmQtaW4w
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATvTLRfe71ovYmgC4hBorKifGXyq7Ql
5vGRWaSgsir7QcoEHutaR5oReG6XkQ3bxLI8ek7gXCoqXeuuGkmIpEjgo1MwUTAd
BgNVHQ4EFgQUr5Lhr2gBj2JuUI2JGwdNmV2rwfgwHwYDVR0jBBgwFoAUr5Lhr2gB
j2JuUI2JGwdNmV2rwfgwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBE
AiAtEzR1WzDwg+z993EGxjvBBi7NciXWfUqSPRDiY/aBoAIgSYKUlec/SoU1YmTR
/MvYhRe3u9WLb5uIZgtrVj7gftE=
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg2IraxLDAzxXKOoRd
cfdi1ddoSifBoVP4WFfrrjGSuF+hRANCAATvTLRfe71ovYmgC4hBorKifGXyq7Ql
5vGRWaSgsir7QcoEHutaR5oReG6XkQ3bxLI8ek7gXCoqXeuuGkmIpEjg
-----END PRIVATE KEY-----
"""
STAND_IN_CONTENTS = {
    "certificate": KEY_PAIR,
    "key": KEY_PAIR,
    "trusted": KEY_PAIR,
    "password": b"",
    "ticket": bytes(TICKET_KEY_BYTES),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIns:
    """Changed files of the configuration, by real path, and the files that they do not name any more."""

    replaced: Mapping[Path, bytes] = field(default_factory=dict)
    unreadable: tuple[Path, ...] = ()


def stand_ins(tree: Tree, folder: Path) -> StandIns:
    """Return the configuration with stand-ins, which are written into a folder where there are any."""
    groups = tuple(_groups(tree))
    named = {each.path: each for group in groups for each in group}
    unreadable = {path for path in named if not may_read(path)}
    hidden = _with_partners(groups, unreadable)
    changed = [each for group in groups for each in group if each.path in hidden]
    for kind in {each.kind for each in changed}:
        _stand_in(folder, kind).write_bytes(STAND_IN_CONTENTS[kind])
    replaced = {
        real_path(file): _changed(tree.sources[file], [each for each in changed if each.file == file], folder)
        for file in {each.file for each in changed}
    }
    return StandIns(replaced=replaced, unreadable=tuple(sorted(unreadable)))


def may_read(path: Path) -> bool:
    """Whether a file can be read, or is missing, which nginx reports itself."""
    return not exists(path) or os.access(path, os.R_OK, effective_ids=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _NamedFile:
    """A file that a directive names, in which file of the configuration, and what it is for."""

    file: Path
    directive: Directive
    path: Path
    kind: str


def _groups(tree: Tree) -> Iterator[tuple[_NamedFile, ...]]:
    """Yield what has to be replaced together: a certificate with its key, any other file alone.

    If a block has fewer keys than certificates, the rest is elsewhere: then all such belong together.
    """
    rest: list[_NamedFile] = []
    for file, inside in contexts(tree).items():
        source = tree.sources[file]
        if _SOUGHT.search(source) is None:
            continue
        for block in _blocks(parse_config(source, where=str(file), inside=inside)):
            found = [each for directive in block for each in _named(tree, file, directive)]
            yield from ((each,) for each in found if each.kind not in PAIRED)
            for family in {_family(each) for each in found if each.kind in PAIRED}:
                pairs = [[each for each in found if each.kind == kind and _family(each) == family] for kind in PAIRED]
                if len(pairs[0]) == len(pairs[1]):
                    yield from zip(*pairs, strict=True)
                else:
                    rest += [each for kind in pairs for each in kind]
    yield tuple(rest)


def _blocks(directives: tuple[Directive, ...]) -> Iterator[tuple[Directive, ...]]:
    yield directives
    for directive in directives:
        if directive.block is not None:
            yield from _blocks(directive.block)


def _named(tree: Tree, file: Path, directive: Directive) -> Iterator[_NamedFile]:
    """Yield the file that a directive names, if it is one that nginx opens as it reads its configuration."""
    kind = next((kind for kind, pattern in SECRET_FILES.items() if pattern.fullmatch(directive.name)), None)
    if kind is not None and directive.args and b"$" not in directive.args[0]:
        name = directive.args[0]
        if not name.startswith(NO_PATH):
            yield _NamedFile(file=file, directive=directive, path=tree.main.parent / os.fsdecode(name), kind=kind)


def _family(named: _NamedFile) -> bytes:
    """Return which connections a certificate or a key is for: ``ssl``, ``proxy_ssl`` and their like."""
    return named.directive.name.partition(b"_certificate")[0]


def _with_partners(groups: Iterable[tuple[_NamedFile, ...]], paths: set[Path]) -> set[Path]:
    """Return the paths, with all that belongs to them and to what belongs to them."""
    found, together = set(paths), tuple({each.path for each in group} for group in groups)
    while more := set().union(*(group for group in together if group & found)) - found:
        found |= more
    return found


def _changed(source: bytes, named: Iterable[_NamedFile], folder: Path) -> bytes:
    """Return a file of the configuration with stand-ins in place of names; every line keeps its number."""
    for each in sorted(named, key=lambda each: each.directive.start, reverse=True):
        word = words(source, each.directive)[1]
        lines = b"\n" * source.count(b"\n", word.start, word.end)
        source = source[: word.start] + quoted_path(_stand_in(folder, each.kind)) + lines + source[word.end :]
    return source


def _stand_in(folder: Path, kind: str) -> Path:
    return folder / f"{STAND_IN}-{kind}"
