"""``ctemplate init``: write a small configuration for this host and show its plan. Writes no file of nginx's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from ctemplate.cli.interruptible import run_interruptible
from ctemplate.cli.options import SETTINGS
from ctemplate.cli.plan import plan
from ctemplate.cli.run import assembler
from ctemplate.config.layers import SUFFIXES
from ctemplate.core.errors import ConfigError, CtemplateError, printable
from ctemplate.guard.evidence.proofs import CONSUL_SERVICE
from ctemplate.runtime.assembly import consul_settings
from ctemplate.setup.first_files import HTTP_TAG, STREAM_TAG, first_files
from ctemplate.setup.survey import HostSurvey, surveyed_host

FOLDER_OF_ROOT = Path("/etc/ctemplate")
PLAN_OPTIONS = {"o": None, "format": "text", "exit_code": False, "dry": False, "once": False}
PATHS = frozenset({"token_file", "ssl_ca_cert", "ssl_ca_path", "ssl_cert", "ssl_key"})
KEPT = PATHS | {"namespace", "partition", "ssl", "ssl_verify", "ssl_server_name"}
PLAN_TIMEOUT = "10s"


def init(given: Mapping[str, Any], folder: Path | None) -> int:
    """Write a first configuration and show its plan; raises ConfigError where a configuration exists already."""
    place = (folder or _usual_folder()).absolute()
    if given["config"] or given["template"]:
        raise ConfigError("init", "makes a configuration itself, and takes none by -config or -template")
    _refuse_to_overwrite(place)
    host = run_interruptible(surveyed_host(consul_settings(assembler(given).config())))
    click.echo("\n".join(_found(host)))
    made = first_files(host, place, is_complete=given["complete"], consul=_consul_keys(given))
    for name, text in made.texts.items():
        _write(place / name, text)
        click.echo(f"written: {place / name}")
    for sentence in made.advice:
        click.echo(f"to do: {printable(sentence)}")
    status = _planned(given, host, place)
    click.echo("\n".join(_next(host, place, has_failed=status != 0)))
    return status


def _consul_keys(given: Mapping[str, Any]) -> dict[str, str | bool]:
    """Return the Consul options without the address, and without secrets, which do not belong in the written file."""
    flags = {setting.path.removeprefix("consul."): setting.flag for setting in SETTINGS}
    values = {key: given[flags[key].lstrip("-").replace("-", "_")] for key in sorted(KEPT)}
    said = {key: value for key, value in values.items() if value is not None}
    return {key: str(Path(value).absolute()) if key in PATHS else value for key, value in said.items()}


def _usual_folder() -> Path:
    if os.geteuid() == 0:
        return FOLDER_OF_ROOT
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111 - no home is no error
    return Path(home) / "ctemplate"


def _refuse_to_overwrite(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ConfigError(str(folder), "is no folder")
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.suffix in SUFFIXES or path.name.endswith(".conf.j2"):
            raise ConfigError(str(path), "exists already; nothing is written; name another folder to start again")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be written: {(exc.strerror or str(exc)).lower()}") from exc


def _found(host: HostSurvey) -> Iterator[str]:
    """Yield a line for each thing that the survey found."""
    nginx, consul = host.nginx, host.consul
    yield f"host: {printable(host.distribution)}, user {printable(host.user)}"
    places = (("http", nginx.http_folder), ("stream", nginx.stream_folder))
    included = ", ".join(f"{block}: {folder or 'none'}" for block, folder in places)
    yield f"nginx: {nginx.version}, {nginx.conf}; folders of *.conf that it includes: {included}"
    if consul.services is None:
        yield f"Consul: {consul.address}: {printable(consul.failure)}"
        return
    tags = ", ".join(f"{consul.tagged(tag)} tagged {tag}" for tag in (HTTP_TAG, STREAM_TAG))
    count = len(consul.services.keys() - {CONSUL_SERVICE})
    yield f"Consul: {consul.address} answers: {count} service{'' if count == 1 else 's'}, {tags}"


def _planned(given: Mapping[str, Any], host: HostSurvey, folder: Path) -> int:
    """Show what the new configuration would do; return the exit status."""
    if host.consul.services is None:
        click.echo(f"no plan, since Consul does not answer; later: ctemplate plan -config {folder}")
        return 0
    click.echo(f"\nwhat it would do now, as ctemplate plan -config {folder} says at any time:\n")
    options = {**given, **PLAN_OPTIONS, "config": (str(folder),), "timeout": given["timeout"] or PLAN_TIMEOUT}
    try:
        return plan(options, logs_refusals=False)
    except CtemplateError as exc:
        click.echo(str(exc))
        return 1


def _next(host: HostSurvey, folder: Path, *, has_failed: bool) -> Iterator[str]:
    yield ""
    if has_failed:
        yield "nothing of nginx's was written. The plan failed: first correct what it says above. Then:"
        yield f"    ctemplate plan -config {folder}      # is it accepted now?"
    else:
        yield "nothing of nginx's was written. Next:"
    yield f"    ctemplate doctor -config {folder}    # is everything here, and allowed?"
    yield f"    ctemplate -config {folder}           # run it; as a service: docs/systemd.md"
    if not host.is_root:
        yield "    docs/without-root.md says which rights this user needs"
