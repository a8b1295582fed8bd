"""Read and write YAML as templates see it. Imported when a template does so: PyYAML takes a tenth of a start.

Must not know filters or environments.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any

import yaml as pyyaml

from ctemplate.core.errors import printable
from ctemplate.template.language.documents import MAX_LEVELS, MAX_NODES, NOT_LITERAL, key_text

_TEXT_TAG = "tag:yaml.org,2002:str"
_WORDS = re.compile(r"[A-Za-z_/.][A-Za-z0-9_/.:@ -]*[A-Za-z0-9_/.]|[A-Za-z]")


def yaml_line(value: Any) -> str:
    """Return a plain value as YAML on one line; texts are always quoted."""
    shown: str = pyyaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=float("inf"), allow_unicode=True)
    return shown.removesuffix("\n").removesuffix("\n...")


def yaml_block(value: Any) -> str:
    """Return a plain value as YAML with one line for each item, keys sorted."""
    shown: str = pyyaml.dump(
        value, Dumper=_BlockDumper, default_flow_style=False, width=float("inf"), allow_unicode=True
    )
    return shown.removesuffix("\n").removesuffix("\n...")


def parsed_yaml(text: str) -> Any:
    """Parse YAML; numbers are those of JSON and TOML. Raises ValueError."""
    return parsed_by(text, YamlLoader)


def parsed_by(text: str, loader: type[Any]) -> Any:
    """Parse YAML; check its nesting before anything recurses, and its aliases before anything is built.

    Raises ValueError.
    """
    try:
        return _parsed(text, loader)
    except pyyaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        said = getattr(exc, "problem", None) or str(exc)
        raise ValueError(said if mark is None else f"{said}: line {mark.line + 1} column {mark.column + 1}") from None


def _parsed(text: str, make_loader: type[Any]) -> Any:
    depth = 0
    for event in pyyaml.parse(text, Loader=make_loader):
        depth += isinstance(event, pyyaml.CollectionStartEvent) - isinstance(event, pyyaml.CollectionEndEvent)
        if depth > MAX_LEVELS:
            raise ValueError(f"more than {MAX_LEVELS} levels")
    loader = make_loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}
        _nodes(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _nodes(node: pyyaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node contains; raise ValueError for too many, or for a node that contains itself."""
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError("an alias stands within what it names")
        return known[id(node)]
    known[id(node)] = 0
    parts = node.value if isinstance(node, pyyaml.CollectionNode) else ()
    flat = (one for part in parts for one in (part if isinstance(part, tuple) else (part,)))
    count = 1 + sum(_nodes(one, known) for one in flat)
    if count > MAX_NODES:
        raise ValueError(f"more than {MAX_NODES} values")
    known[id(node)] = count
    return count


class _Dumper(pyyaml.SafeDumper):
    """Writes texts in double quotes."""


_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


class YamlLoader(getattr(pyyaml, "CSafeLoader", pyyaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader with numbers as in JSON and TOML, without dates, and with texts as keys."""

    def construct_object(self, node: pyyaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002  # PyYAML's
        """Return a node's value; PyYAML raises other errors than its own for texts such as ``!!bool x``."""
        try:
            return super().construct_object(node, deep)
        except (AttributeError, LookupError, TypeError) as exc:
            said = f"the value does not have the form of its tag {printable(node.tag.rpartition(':')[2], 80)!r}"
            raise pyyaml.constructor.ConstructorError(None, None, said, node.start_mark) from exc

    def construct_table(self, node: pyyaml.Node) -> Iterator[dict[str, Any]]:
        """Yield the table, then fill it, since an alias within it may name it.

        Keys become texts before they are compared: Python regards 1, 1.0 and true as one key.
        """
        if not isinstance(node, pyyaml.MappingNode):  # with the tag of a table
            said = "only a table may have the tag of one"
            raise pyyaml.constructor.ConstructorError(None, None, said, node.start_mark)
        table: dict[str, Any] = {}
        yield table
        self.flatten_mapping(node)
        types: dict[str, type] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise pyyaml.constructor.ConstructorError(None, None, "a list or table as a key", key_node.start_mark)
            text = key_text(key)
            if types.setdefault(text, type(key)) is not type(key):
                said = f"the key {printable(text, 80)!r} is there as a text and as {_other_type(key, types[text])}"
                raise pyyaml.constructor.ConstructorError(None, None, said, key_node.start_mark)
            table[text] = self.construct_object(value_node)


def _other_type(key: object, known: type) -> str:
    """Return the word for the type of a key that has the same text as another one, a text."""
    kind = known if isinstance(key, str) else type(key)
    return {bool: "a truth value", type(None): "null"}.get(kind, "a number")


class _BlockDumper(pyyaml.SafeDumper):
    """Writes texts except plain words in double quotes, without aliases: a repeated value is written again."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's signature
        return True


def _word_or_quoted(dumper: pyyaml.SafeDumper, text: str) -> pyyaml.Node:
    return dumper.represent_scalar(_TEXT_TAG, text, style=_style(dumper, text))


def _style(dumper: pyyaml.SafeDumper, text: str) -> str | None:
    """Return the style of a text: a word, lines, or double quotes if it would be read as another type."""
    if "\n" in text and not NOT_LITERAL.search(text):
        return "|"
    is_plain = _WORDS.fullmatch(text) is not None and text.lower() not in {"y", "n"}
    is_text = dumper.resolve(pyyaml.ScalarNode, text, (True, False)) == _TEXT_TAG  # type: ignore[no-untyped-call]
    return None if is_plain and is_text else '"'


_BlockDumper.add_representer(str, _word_or_quoted)
_DROPPED = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
YamlLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in _DROPPED]
    for first, found in pyyaml.SafeLoader.yaml_implicit_resolvers.items()
}
YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)\.[0-9]*(?:[eE][-+]?[0-9]+)?|(?:0|[1-9][0-9]*)[eE][-+]?[0-9]+)$"),
    list("-+0123456789"),
)
YamlLoader.add_constructor("tag:yaml.org,2002:map", YamlLoader.construct_table)
YamlLoader.add_constructor("tag:yaml.org,2002:value", pyyaml.SafeLoader.construct_scalar)  # "=", a text as others
