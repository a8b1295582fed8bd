"""Modules import only from the layers below their own; this table is the one place where layers are written down."""

import ast
from pathlib import Path

import pytest

import ctemplate

PACKAGE = Path(ctemplate.__file__).parent

LAYERS = {
    "errors": 0,
    "defects": 0,
    "faults": 0,
    "inputs": 0,
    "model": 0,
    "timing": 0,
    "config": 1,
    "catalog": 1,
    "guard": 1,
    "sources": 1,
    "command": 1,
    "convert": 1,
    "edits": 1,
    "uptime": 1,
    "template": 2,
    "nginx": 2,
    "apply": 2,
    "pipeline": 3,
    "culprits": 3,
    "lastgood": 3,
    "live": 3,
    "review": 3,
    "memory": 3,
    "control": 3,
    "replacement": 3,
    "custody": 3,
    "lint": 3,
    "doctor": 4,
    "worker": 3,
    "assembly": 3,
    "watchdog": 3,
    "daemon": 4,
    "status": 4,
    "cli": 5,
}
NEIGHBOURS = {  # imports within a layer, from → to
    ("model", "errors"),
    ("faults", "errors"),
    ("defects", "errors"),
    ("defects", "timing"),
    ("timing", "errors"),
    ("guard", "config"),  # how durations are shown
    ("catalog", "guard"),
    ("sources", "catalog"),
    ("sources", "edits"),
    ("template", "nginx"),  # the grammar's character rules
    ("worker", "pipeline"),
    ("pipeline", "culprits"),
    ("pipeline", "lastgood"),
    ("assembly", "control"),  # where its socket is
    ("assembly", "lastgood"),
    ("assembly", "live"),
    ("assembly", "memory"),
    ("custody", "memory"),
    ("assembly", "review"),
    ("review", "pipeline"),
    ("review", "replacement"),
    ("replacement", "pipeline"),
    ("assembly", "replacement"),
    ("assembly", "pipeline"),
    ("assembly", "worker"),
}
OUTSIDE = {"__init__", "__main__"}  # the version and the way in; anybody may import the first


def may_import(importer, imported):
    return importer == imported or LAYERS[imported] < LAYERS[importer] or (importer, imported) in NEIGHBOURS


def module_files():
    """Each of our files, with its dotted name below the package: ("sources", "consul", "__init__")."""
    return {file.relative_to(PACKAGE).with_suffix("").parts: file for file in sorted(PACKAGE.rglob("*.py"))}


def imported_modules(source, parts):
    """Return the top-level modules of ctemplate that a file imports, wherever in the file, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            paths = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = ["ctemplate", *parts][: len(parts) + 1 - node.level] if node.level else []
            origin += node.module.split(".") if node.module else []
            paths = [[*origin, alias.name] for alias in node.names]
        else:
            continue
        for path in paths:
            if path[0] == "ctemplate" and len(path) > 1 and not path[1].startswith("__"):
                yield node.lineno, path[1]


def faults(source, parts):
    """Return one line for each import that the layers forbid."""
    found = []
    if parts[0] in OUTSIDE:
        return found
    for line, imported in imported_modules(source, parts):
        where = f"ctemplate/{'/'.join(parts)}.py:{line}"
        if imported not in LAYERS:
            found.append(f"{where}: '{imported}' has no layer")
        elif not may_import(parts[0], imported):
            found.append(
                f"{where}: '{parts[0]}' (layer {LAYERS[parts[0]]}) imports '{imported}' (layer {LAYERS[imported]})"
            )
    return found


def test_every_module_has_a_layer():
    modules = {parts[0] for parts in module_files()} - OUTSIDE
    strangers = sorted(modules - LAYERS.keys())
    assert not strangers, f"give {strangers} a layer in tests/test_layers.py and in the design's table of layers"


def test_modules_import_only_from_layers_below():
    found = [
        fault
        for parts, file in module_files().items()
        if parts[0] in LAYERS
        for fault in faults(file.read_text(encoding="utf-8"), parts)
    ]
    assert not found, "\n" + "\n".join(found)


UP = "ctemplate/catalog.py:1: 'catalog' (layer 1) imports 'daemon' (layer 4)"
SIDE = "ctemplate/sources/consul/wire.py:1: 'sources' (layer 1) imports 'config' (layer 1)"


@pytest.mark.parametrize(
    ("source", "parts", "expected"),
    [
        pytest.param("import ctemplate.model", ("catalog",), [], id="below"),
        pytest.param("from ctemplate import model, errors", ("catalog",), [], id="below, from the package"),
        pytest.param("from ctemplate import __version__", ("errors",), [], id="version"),
        pytest.param("import json, httpx.config", ("errors",), [], id="not ours"),
        pytest.param("import ctemplate.daemon", ("catalog",), [UP], id="above"),
        pytest.param("from ctemplate.daemon import run", ("catalog",), [UP], id="above, from"),
        pytest.param("from ctemplate import daemon", ("catalog",), [UP], id="above, from the package"),
        pytest.param("from . import daemon", ("catalog",), [UP], id="above, relative"),
        pytest.param("from .daemon import run", ("catalog",), [UP], id="above, relative from"),
        pytest.param("def f(): import ctemplate.daemon", ("catalog",), [UP], id="above, in a function"),
        pytest.param("from . import http", ("sources", "consul", "wire"), [], id="own package"),
        pytest.param("from .. import Source", ("sources", "consul", "wire"), [], id="own package, parent"),
        pytest.param("from .wire import f", ("sources", "consul", "__init__"), [], id="own package, from init"),
        pytest.param("from ...config import f", ("sources", "consul", "wire"), [SIDE], id="same layer"),
        pytest.param("from ...catalog import f", ("sources", "consul", "wire"), [], id="neighbour"),
        pytest.param(
            "import ctemplate.utils", ("cli", "plan"), ["ctemplate/cli/plan.py:1: 'utils' has no layer"], id="stranger"
        ),
    ],
)
def test_an_import_is_judged_by_layers(source, parts, expected):
    assert faults(source, parts) == expected
