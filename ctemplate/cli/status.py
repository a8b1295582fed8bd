"""``ctemplate status``: show what a running ctemplate is doing."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import click
import httpx
import msgspec

from ctemplate.cli.release import control_sockets
from ctemplate.cli.run import assembler
from ctemplate.core.errors import CtemplateError
from ctemplate.runtime.control_socket import ask_status
from ctemplate.status.address import StatusAddress, parse_status_address
from ctemplate.status.report import Report
from ctemplate.status.text import report_lines

WATCH_INTERVAL = 2.0  # seconds between two requests
HTTP_TIMEOUT = 10.0
NOT_READY_STATUS = 4
CLEAR_SCREEN = "\x1b[H\x1b[2J"


def status(given: Mapping[str, Any]) -> int:
    """Print the state of the ctemplate with this configuration; return 0 if it is ready, else 4.

    Raises CtemplateError if no ctemplate answers.
    """
    reports = _reports(given)
    _show(reports, given["format"])
    while given["watch"]:
        time.sleep(WATCH_INTERVAL)
        try:
            reports = _reports(given)
        except CtemplateError as exc:
            _clear_screen(given["format"])
            click.echo(str(exc), err=given["format"] == "json")
            continue
        _clear_screen(given["format"])
        _show(reports, given["format"])
    return 0 if all(report.is_ready for report in reports) else NOT_READY_STATUS


def _clear_screen(form: str) -> None:
    if form == "text" and sys.stdout.isatty():
        click.echo(CLEAR_SCREEN, nl=False)


def _show(reports: list[Report], form: str) -> None:
    for report in reports:
        if form == "json":
            click.echo(msgspec.json.encode(report))
        else:
            click.echo("\n".join(report_lines(report)))


def _reports(given: Mapping[str, Any]) -> list[Report]:
    """Ask at the configured status address, or else at the control socket."""
    address = assembler(given).config().status.address
    if address:
        return [_fetched(parse_status_address(address))]
    found = []
    for path in control_sockets(given, "status"):
        try:
            report = ask_status(path)
        except (OSError, msgspec.MsgspecError) as exc:
            raise CtemplateError(str(path), f"no answer from ctemplate: {exc}") from exc
        if report is not None:
            found.append(report)
    return found


def _fetched(address: StatusAddress) -> Report:
    host = "localhost" if address.socket else address.authority
    transport = httpx.HTTPTransport(uds=address.socket or None)
    try:
        with httpx.Client(transport=transport, timeout=HTTP_TIMEOUT) as client:
            return msgspec.json.decode(client.get(f"http://{host}/status").raise_for_status().content, type=Report)
    except (httpx.HTTPError, msgspec.MsgspecError) as exc:
        raise CtemplateError(str(address), f"no status from ctemplate: {exc}") from exc
