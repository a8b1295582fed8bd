"""Merge the configuration's layers: defaults, environment, files, command line; later ones win.

Each layer is a nested mapping in the file's shape and is checked separately, so that an error names the place that it
came from: the file, the variable or the option. Pure but for ``read_layers``, which reads files.
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ctemplate.config.advice import LOG_LEVELS, format_advice, key_advice, value_advice
from ctemplate.config.schema import Config, ExecSection
from ctemplate.core.durations import Duration, Share, format_duration, parse_duration, parse_share
from ctemplate.core.errors import ConfigError
from ctemplate.core.section import Addresses, parse_addresses
from ctemplate.core.signal_names import SignalName, parse_signal
from ctemplate.core.validation import explained, is_hcl
from ctemplate.core.values import dataclass
from ctemplate.system.inputs import NotUtf8Error, read_input, text_in

if TYPE_CHECKING:
    from ctemplate.config.hcl_reading import Notice
    from ctemplate.config.hcl_translation import Translated

ENVIRONMENT = {
    "CONSUL_HTTP_ADDR": "consul.address",
    "CONSUL_HTTP_TOKEN": "consul.token",
    "CONSUL_HTTP_TOKEN_FILE": "consul.token_file",
    "CONSUL_HTTP_AUTH": "consul.auth",
    "CONSUL_HTTP_SSL": "consul.ssl",
    "CONSUL_HTTP_SSL_VERIFY": "consul.ssl_verify",
    "CONSUL_CACERT": "consul.ssl_ca_cert",
    "CONSUL_CAPATH": "consul.ssl_ca_path",
    "CONSUL_CLIENT_CERT": "consul.ssl_cert",
    "CONSUL_CLIENT_KEY": "consul.ssl_key",
    "CONSUL_TLS_SERVER_NAME": "consul.ssl_server_name",
    "CONSUL_NAMESPACE": "consul.namespace",
    "CONSUL_PARTITION": "consul.partition",
}
OLD_VARIABLES = {
    "CONSUL_TEMPLATE_LOG_LEVEL": "log_level",
    "CONSUL_TEMPLATE_LOG": "log_level",
    "CT_LOG": "log_level",
    "CONSUL_TOKEN": "consul.token",
    "CONSUL_TOKEN_FILE": "consul.token_file",
}
"""Variables of consul-template, which win over Consul's; if several set one key, the last one counts."""

LOCAL_CONFIG = "CT_LOCAL_CONFIG"
APPENDED = ("template", "group")
SUFFIXES = frozenset({".toml", ".json", ".hcl"})
SECRET_KEYS = ("token", "auth")
CONFIG_LIMIT_BYTES = 16 * 1024 * 1024  # of one file
MINIMA = {"consul.query_interval": 0.1, "consul.wait": 0.1, "render.timeout": 0.1}
"""Seconds; a shorter interval or wait would be a busy loop, and with less time no template could be rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Part of the configuration and where it was written.

    ``where`` names the place as a whole; ``names`` maps a key's dotted path to the operator's own word for it, such as
    ``-wait`` for ``wait.min``. ``notices`` are the answers for consul-template's keys without a counterpart;
    ``is_foreign`` marks consul-template's files, in which settings of an unnamed program have no effect.
    """

    where: str
    values: Mapping[str, Any] = field(repr=False)
    names: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    is_foreign: bool = False


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted paths into nested mappings: ``{"wait.min": x}`` into ``{"wait": {"min": x}}``."""
    result: dict[str, Any] = {}
    for path, value in settings.items():
        *parents, last = path.split(".")
        table = result
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    return result


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """Return the settings of Consul's and consul-template's environment variables; empty variables are ignored."""
    variables = {**ENVIRONMENT, **{name: path for name, path in OLD_VARIABLES.items() if environ.get(name)}}
    said = {path: environ[name] for name, path in variables.items() if environ.get(name)}
    if (level := said.get("log_level")) is not None:
        said["log_level"] = LOG_LEVELS.get(level.lower(), level.lower())
    return Layer(where="environment", values=nested(said), names={path: name for name, path in variables.items()})


def local_layers(environ: Mapping[str, str]) -> list[Layer]:
    """Return the layer of the file in ``CT_LOCAL_CONFIG``, which wins over all other files; raises ConfigError.

    Options win over it, as in consul-template.
    """
    text = environ.get(LOCAL_CONFIG, "")
    return [_layer(_parsed_hcl(text, Path(LOCAL_CONFIG)), Path(LOCAL_CONFIG))] if text.strip() else []


def read_layers(path: Path) -> list[Layer]:
    """Return the layers of a configuration file, or of a folder's ``*.toml``, ``*.json`` and ``*.hcl`` in order.

    A folder without ``*.toml`` may be consul-template's, so its subfolders are searched for ``*.hcl`` too. Relative
    paths inside a file count from the file's folder; in consul-template's files they count from the folder in which
    ctemplate was started, as in consul-template. Raises ConfigError.
    """
    if path.is_dir():
        return [_read_file(file) for file in configuration_files(path)]
    return [_read_file(path)]


def configuration_files(folder: Path) -> list[Path]:
    """Return the configuration files of a folder in order; raises ConfigError if there are none."""
    own = [file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file()]
    if not any(file.suffix == ".toml" for file in own):
        own += [file for file in folder.glob("*/**/*.hcl") if file.is_file()]
    files = sorted(file for file in own if not any(part.startswith(".") for part in file.relative_to(folder).parts))
    if not files:
        raise ConfigError(str(folder), "no *.toml, *.json or *.hcl file in this folder")
    return files


def _read_file(path: Path) -> Layer:
    return _layer(_parsed(path), path)


def _layer(found: Translated | dict[str, Any], path: Path) -> Layer:
    if isinstance(found, dict):
        return Layer(where=str(path), values=_anchored(found, path.parent))
    return Layer(where=str(path), values=found.values, names=found.names, notices=found.notices, is_foreign=True)


def read_hcl_file(path: Path) -> Translated | None:
    """Return the values of a consul-template file in our shape, None for a file of ours; raises ConfigError."""
    found = _parsed(path)
    return None if isinstance(found, dict) else found


def _parsed(path: Path) -> Translated | dict[str, Any]:
    """Return the values of a file, those of consul-template in our shape; raises ConfigError."""
    text = _text_of(path)
    return _parsed_hcl(text, path) if path.suffix == ".hcl" else _parsed_text(text, path)


def _parsed_hcl(text: str, path: Path) -> Translated | dict[str, Any]:
    """Return the values of a consul-template text, which is HCL or JSON."""
    if not text.lstrip().startswith("{"):
        return _translated("read_hcl", text, path)
    return _translated("read_hcl_json", _parsed_text(text, path, is_json=True), path)


def _parsed_text(text: str, path: Path, *, is_json: bool = False) -> Any:
    tomllib: Any = pkgutil.resolve_name("tomllib")  # a run by options alone reads no file
    try:
        is_json = is_json or path.suffix == ".json"
        values = json.loads(text, object_pairs_hook=_table) if is_json else tomllib.loads(text)
    except RepeatedKey as exc:
        raise ConfigError(str(path), f"holds the key {exc} twice; write it once") from None
    except json.JSONDecodeError as exc:
        raise ConfigError(f"{path}:{exc.lineno}:{exc.colno}", f"is not JSON: {exc.msg.lower()}") from exc
    except tomllib.TOMLDecodeError as exc:
        if path.suffix != ".toml" and is_hcl(text, path.name):
            return _translated("read_hcl", text, path)
        advice = format_advice(text, path.name, str(exc))
        raise ConfigError(str(path), advised(f"is not TOML: {str(exc)[:1].lower()}{str(exc)[1:]}", advice)) from exc
    except RecursionError:
        raise ConfigError(str(path), "is nested too deeply") from None
    except ValueError as exc:  # a whole number with more digits than Python accepts
        raise ConfigError(str(path), f"holds a number that is too long: {exc}") from None
    if not isinstance(values, dict):
        raise ConfigError(str(path), f"must hold a table, got {type(values).__name__}")
    is_theirs = path.suffix == ".json" and _hcl("is_consul_templates")(values)
    return _translated("read_hcl_json", values, path) if is_theirs else values


class RepeatedKey(ValueError):
    """A table in JSON has a key twice."""


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a table of JSON; JSON itself would keep the last of two equal keys and drop the other in silence."""
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        raise RepeatedKey(repr(next(key for key in keys if keys.count(key) > 1)))
    return table


def _translated(function: str, given: object, path: Path) -> Translated:
    found: Translated = _hcl(function)(given, str(path))
    return found


def _hcl(function: str) -> Any:
    """Return a function of ``hcl_file``, imported only when needed: most processes never need it."""
    return pkgutil.resolve_name(f"ctemplate.config.hcl_file:{function}")


def _text_of(path: Path) -> str:
    try:
        return text_in(read_input(path, limit_bytes=CONFIG_LIMIT_BYTES))
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be read: {(exc.strerror or str(exc)).lower()}") from exc
    except NotUtf8Error as exc:
        raise ConfigError(f"{path}:{exc.line}:{exc.column}", str(exc)) from exc


def _anchored(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Join the relative paths of templates, folders and the catalog to the file's folder."""
    result = dict(values)
    if isinstance(result.get("catalog"), str):
        result["catalog"] = str(folder / result["catalog"])
    folders = result.get("template_dirs")
    if isinstance(folders, list):
        result["template_dirs"] = [str(folder / each) if isinstance(each, str) else each for each in folders]
    templates = result.get("template")
    if isinstance(templates, list):
        result["template"] = [
            {**entry, "source": str(folder / entry["source"])}
            if isinstance(entry, dict) and isinstance(entry.get("source"), str) and entry["source"]
            else entry
            for entry in templates
        ]
    return result


def advised(said: str, advice: str) -> str:
    """Add the advice to the sentence that says what is wrong."""
    return f"{said}; {advice}" if advice else said


def build(layers: Iterable[Layer]) -> Config:
    """Return the configuration that results from the layers; raises ConfigError naming the layer with the error."""
    merged: dict[str, Any] = {}
    is_exec_ours = False
    for layer in layers:
        is_exec_ours |= "exec" in layer.values and not layer.is_foreign
        _check_texts(_convert(layer.values, layer), layer)
        merged = merged_values(merged, layer.values)
    config = _convert(merged, Layer(where="configuration", values=merged))
    if config.wait.max < config.wait.min:
        low, high = format_duration(config.wait.min), format_duration(config.wait.max)
        raise ConfigError("configuration: wait.max", f"must be at least wait.min ({low}), got {high!r}")
    for path, least in MINIMA.items():
        if (found := attrgetter(path)(config)) < least:
            what = f"must be at least {format_duration(least)}, got {format_duration(found)!r}"
            raise ConfigError(f"configuration: {path}", what)
    if not config.exec.command and is_exec_ours and config.exec != ExecSection():
        raise ConfigError("configuration: exec.command", "is missing; write the program that is to run")
    return config


def _check_texts(config: Config, layer: Layer) -> None:
    """Raise ConfigError for a template that does not have exactly one of source and contents."""
    for path in _null_paths({key: value for key, value in layer.values.items() if key != "vars"}):
        what = "holds a null character, which no path or command can hold"
        raise ConfigError(layer.names.get(path, f"{layer.where}: {path}"), what)
    for number, template in enumerate(config.template):
        if (template.source is None) is (template.contents is None):
            what = "'source' is missing" if template.source is None else "has source and contents; write one of them"
            path = f"template[{number}]"
            raise ConfigError(layer.names.get(path, f"{layer.where}: {path}"), what)


def _null_paths(value: object, path: str = "") -> Iterator[str]:
    """Yield the paths of texts with a null character, except a template's text."""
    if isinstance(value, str) and "\0" in value:
        yield path
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key != "contents":
                yield from _null_paths(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _null_paths(inner, f"{path}[{number}]")


def merged_values(low: Mapping[str, Any], high: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Return the merged values: the higher layer wins key by key, lists of templates and groups are concatenated."""
    result = dict(low)
    for key, value in high.items():
        if depth == 0 and key in APPENDED:
            result[key] = [*result.get(key, []), *value]
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged_values(result[key], value, depth + 1)
        else:
            result[key] = value
    return result


def _convert(values: Mapping[str, Any], layer: Layer) -> Config:
    try:
        return msgspec.convert(values, Config, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as exc:
        raise _explained(exc, layer) from exc


def _decode(kind: type, value: object) -> object:
    if kind is Share:
        return parse_share(value)
    if kind is Addresses:
        return parse_addresses(value)
    if kind is SignalName:
        return parse_signal(value)
    if kind is not Duration:
        raise NotImplementedError(kind)
    if isinstance(value, Duration):
        return value
    if not isinstance(value, str):
        raise ValueError(f"must be a duration in quotes like '250ms', got {value!r}")  # noqa: TRY004 - msgspec's contract
    return parse_duration(value)


def _explained(error: msgspec.ValidationError, layer: Layer) -> ConfigError:
    """Convert msgspec's message to ``where: path: what is wrong; fix``."""
    path, said = explained(error, Config, layer.values, secret=SECRET_KEYS)
    if said.startswith("unknown key"):
        advice = key_advice(path, frozenset(Config.__struct_fields__))
        said = advised("unknown key", advice) if advice else said
    else:
        said = value_advice(path, said, layer.values)
    name = layer.names.get(path)
    where = name if name is not None else f"{layer.where}: {path}" if path else layer.where
    return ConfigError(where, said)
