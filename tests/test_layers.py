"""Folders are layers: a module imports only from its own folder and from folders of lower layers.

This module and docs/architecture.md have the same table; a test compares the two.
"""

import ast
import re
from pathlib import Path

import pytest

import ctemplate

PACKAGE = Path(ctemplate.__file__).parent
ARCHITECTURE = PACKAGE.parent / "docs" / "architecture.md"

LAYERS = {
    "core": 0,
    "convert": 1,
    "sources/consul/endpoints": 1,
    "status": 1,
    "system": 1,
    "apply": 2,
    "config": 2,
    "nginx/language": 2,
    "queries": 2,
    "sources/consul/http": 2,
    "guard/evidence": 3,
    "nginx": 3,
    "sources/consul/watching": 3,
    "guard/rules": 4,
    "guard": 5,
    "catalog": 6,
    "sinks": 6,
    "template/safety": 6,
    "sources": 7,
    "template/cache": 7,
    "sources/consul": 8,
    "template/language": 8,
    "template": 9,
    "lint": 10,
    "runtime": 10,
    "doctor": 11,
    "setup": 12,
    "cli": 13,
}
IMPORTED_LATE = re.compile(r"ctemplate(\.\w+)+:\w+")  # a text for pkgutil.resolve_name
OUTSIDE = {"__init__", "__main__"}  # the version and the way in; anybody may import the first


def room(parts):
    """Return the folder of a module, or its own name where it stands alone: ("template", "safety", "limits")."""
    path = "/".join(parts)
    if (PACKAGE / path / "__init__.py").exists():
        return path
    return "/".join(parts[:-1]) or path


def module_files():
    """Return each of our files with its dotted name below the package: ("sources", "consul", "__init__")."""
    return {file.relative_to(PACKAGE).with_suffix("").parts: file for file in sorted(PACKAGE.rglob("*.py"))}


def imported_modules(source, parts):
    """Yield the line of each import of ours, wherever in the file, with the parts of the module it names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            paths = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = ["ctemplate", *parts][: len(parts) + 1 - node.level] if node.level else []
            origin += node.module.split(".") if node.module else []
            paths = [[*origin, alias.name] for alias in node.names]
        elif isinstance(node, ast.Constant) and IMPORTED_LATE.fullmatch(str(node.value)):
            paths = [node.value.partition(":")[0].split(".")]
        else:
            continue
        for path in paths:
            if path[0] == "ctemplate" and len(path) > 1 and not path[1].startswith("__"):
                yield node.lineno, module_named(path[1:])


def module_named(path):
    """Return the parts of the module or package that an import names; what follows is a name inside it."""
    for length in range(len(path), 0, -1):
        candidate = PACKAGE.joinpath(*path[:length])
        if candidate.with_suffix(".py").exists() or (candidate / "__init__.py").exists():
            return tuple(path[:length])
    return tuple(path)


def findings(source, parts):
    """Return one line for each import that the layers forbid."""
    if parts[0] in OUTSIDE:
        return []
    here = room(parts[:-1] if parts[-1] == "__init__" else parts)
    found = []
    for line, imported in imported_modules(source, parts):
        there = room(imported)
        where = f"ctemplate/{'/'.join(parts)}.py:{line}"
        if there not in LAYERS:
            found.append(f"{where}: '{there}' has no layer")
        elif here != there and LAYERS[there] >= LAYERS[here]:
            found.append(f"{where}: '{here}' (layer {LAYERS[here]}) imports '{there}' (layer {LAYERS[there]})")
    return found


def test_every_folder_has_a_layer_and_every_layer_a_folder():
    rooms = {
        room(parts[:-1] if parts[-1] == "__init__" else parts) for parts in module_files() if parts[0] not in OUTSIDE
    }
    empty = {folder for folder in LAYERS if folder not in rooms}
    assert rooms - LAYERS.keys() == set(), "give these a layer here and in docs/architecture.md"
    assert empty == set(), "these hold no module any more"


def test_folders_import_only_from_lower_layers():
    found = [line for parts, file in module_files().items() for line in findings(file.read_text("utf-8"), parts)]
    assert not found, "\n" + "\n".join(found)


def test_the_architecture_page_has_the_same_table():
    text = ARCHITECTURE.read_text("utf-8").partition("## Layers")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", text, re.MULTILINE)
    told = {folder.rstrip("/"): int(layer) for layer, cell in rows for folder in re.findall(r"`([^`]+)`", cell)}
    assert told == LAYERS


UP = "ctemplate/catalog.py:1: 'catalog' (layer {}) imports 'runtime' (layer {})"


@pytest.mark.parametrize(
    ("source", "parts", "is_allowed"),
    [
        pytest.param("import ctemplate.core.model", ("catalog",), True, id="below"),
        pytest.param("from ctemplate.core import model, errors", ("catalog",), True, id="below, from the package"),
        pytest.param("from ctemplate import __version__", ("core", "errors"), True, id="version"),
        pytest.param("import json, httpx.config", ("core", "errors"), True, id="not ours"),
        pytest.param("import ctemplate.runtime.daemon", ("catalog",), False, id="above"),
        pytest.param("from ctemplate.runtime.daemon import run", ("catalog",), False, id="above, from"),
        pytest.param("from ctemplate.runtime import daemon", ("catalog",), False, id="above, from the package"),
        pytest.param("from .runtime import daemon", ("catalog",), False, id="above, relative"),
        pytest.param("def f(): import ctemplate.runtime.daemon", ("catalog",), False, id="above, in a function"),
        pytest.param("f('ctemplate.runtime.daemon:Daemon')", ("catalog",), False, id="above, as text"),
        pytest.param("from . import client", ("sources", "consul", "http", "outages"), True, id="own folder"),
        pytest.param("import ctemplate.utils", ("cli", "plan"), False, id="no layer"),
    ],
)
def test_an_import_is_judged_by_layers(source, parts, is_allowed):
    assert (findings(source, parts) == []) is is_allowed


def test_no_module_is_too_long():
    lengths = {
        str(file.relative_to(PACKAGE)): len(file.read_text("utf-8").splitlines()) for file in PACKAGE.rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > 450} == {}
