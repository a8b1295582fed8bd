"""Our credentials: the token and the TLS files, re-read whenever they change on disk.

After an unusable change (a file half written, removed, or unreadable) the former content stays in use, logged once.
"""

from __future__ import annotations

import base64
import os
import ssl
from pathlib import Path

from ctemplate.core.errors import ConfigError, printable
from ctemplate.core.event_stream import emit
from ctemplate.core.events import InputRead, InputRefused
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.system.inputs import read_input

CREDENTIAL_LIMIT_BYTES = 1024 * 1024  # of a token file

Stamp = tuple[int, int, int] | None


def stamp(path: str) -> Stamp:
    """Return a value that changes when the file does, or None when it is inaccessible."""
    try:
        status = os.stat(path)  # noqa: PTH116 - at every request, and half the price
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class Credentials:
    """The request headers and the TLS context for the settings.

    The constructor raises ConfigError where a file cannot be used.
    """

    def __init__(self, settings: ConsulSettings, *, needs_tls: bool) -> None:
        self._settings = settings
        self._token_file = settings.token_file
        self._tls_files = tuple(filter(None, (settings.ca_cert, settings.ca_path, settings.cert, settings.key)))
        self._token_stamp = stamp(self._token_file) if self._token_file else None
        self._tls_stamps = tuple(map(stamp, self._tls_files))
        self._headers = self._read_headers()
        self._context = self._read_context() if needs_tls else None

    def headers(self) -> dict[str, str]:
        """Return the headers of a request, with the token that its file holds now."""
        if self._token_file and (seen := stamp(self._token_file)) != self._token_stamp:
            self._token_stamp = seen
            try:
                self._headers = self._read_headers()
                emit(InputRead(subject=f"consul token file {self._token_file}"))
            except ConfigError as exc:
                emit(InputRefused(reason=str(exc), consequence="the token read before stays in use"))
        return self._headers

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS context for new connections, made from the current files; None without TLS."""
        if self._context is not None and (seen := tuple(map(stamp, self._tls_files))) != self._tls_stamps:
            self._tls_stamps = seen
            try:
                self._context = self._read_context()
                emit(InputRead(subject="consul TLS files"))
            except ConfigError as exc:
                emit(InputRefused(reason=str(exc), consequence="the files read before stay in use"))
        return self._context

    def _read_headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "ctemplate"}
        if token := self._token():
            headers["X-Consul-Token"] = token
        if auth := self._settings.auth:
            pair = auth if ":" in auth else f"{auth}:"  # a user without a password
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
        return headers

    def _token(self) -> str:
        where, token = "consul token", self._settings.token
        if self._token_file:
            where = f"consul token file {printable(self._token_file)}"
            try:
                token = read_input(Path(self._token_file), limit_bytes=CREDENTIAL_LIMIT_BYTES).decode().strip()
            except (OSError, UnicodeDecodeError) as exc:
                raise ConfigError(where, _reason(exc)) from exc
            if not token:
                raise ConfigError(where, "is empty")
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise ConfigError(where, "holds characters that no token has")
        return token

    def _read_context(self) -> ssl.SSLContext:
        settings = self._settings
        ca_file, ca_path = settings.ca_cert or None, settings.ca_path or None
        try:
            context = ssl.create_default_context(cafile=ca_file, capath=ca_path)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(f"consul CA {printable(ca_file or ca_path)}", _reason(exc)) from exc
        if not settings.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if settings.cert:
            try:
                context.load_cert_chain(settings.cert, settings.key or None, password="")
            except (OSError, ssl.SSLError) as exc:
                files = " and key ".join(filter(None, (settings.cert, settings.key)))
                raise ConfigError(f"consul certificate {printable(files)}", _reason(exc)) from exc
        return context


def _reason(exc: Exception) -> str:
    if isinstance(exc, UnicodeDecodeError):
        return "is not text"
    if isinstance(exc, ssl.SSLError):
        return f"cannot be used: {(exc.reason or 'unknown format').lower().replace('_', ' ')}"
    return str(getattr(exc, "strerror", None) or exc).lower()
