"""The refusals in the converter's own source, each with what to write instead."""

import ast
from pathlib import Path

import ctemplate.convert

SOURCES = sorted(Path(ctemplate.convert.__file__).parent.glob("*.py"))


def refusals(kind):
    """What is refused by raising that exception; what is computed of a sentence is shown as an ellipsis."""
    found = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == kind
            if is_call and isinstance(node.args[0], ast.Constant | ast.JoinedStr):
                found.add(tuple(shown(argument) for argument in node.args))
    return found


def shown(node):
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return "…"
