"""A class, a public function or a public constant is defined in one module only, so each name has one meaning."""

import ast
from collections import defaultdict
from pathlib import Path

import ctemplate

PACKAGE = Path(ctemplate.__file__).parent
ALIKE = {
    "quote": "the filter is the rule of nginx's language, given to templates",
    "comment": "the filter is the rule of nginx's language, given to templates",
    "identifier": "the filter is the rule of nginx's language, given to templates",
    "log": "each module has one",
    "logger": "each module has one",
}


def defined_names(tree):
    """Yield the names that a module defines for others, and its classes, private ones too."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from [node.name] if not node.name.startswith("_") else []
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (each.id for each in targets if isinstance(each, ast.Name) and not each.id.startswith("_"))


def test_a_name_stands_in_one_module():
    places = defaultdict(list)
    for file in sorted(PACKAGE.rglob("*.py")):
        for name in set(defined_names(ast.parse(file.read_text("utf-8")))):
            places[name].append(str(file.relative_to(PACKAGE)))
    several = {name: found for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in several.items() if name not in ALIKE} == {}
    assert ALIKE.keys() - several.keys() == set(), "every exception is needed"
