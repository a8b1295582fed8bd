"""Write a tree as a Go template; parsing the result gives an equal tree."""

from __future__ import annotations

from ctemplate.convert import go_ast as go
from ctemplate.convert.go_lexer import SPACES

_WORDS = {go.If: "if", go.With: "with", go.Range: "range"}


def printed(body: go.Body, *, left: str = "{{", right: str = "}}") -> str:
    """Return the template's text. A text node must not hold the left delimiter."""
    parts: list[str] = []
    for content, is_text in _pieces(body):
        if is_text:
            parts.append(content)
            continue
        before = parts[-1] if parts else ""
        joined = before[-len(left) :] + left
        is_mistaken = bool(before) and joined.find(left) < len(joined) - len(left) and before[-1] not in SPACES
        parts.append(f" {left}- {content}{right}" if is_mistaken else f"{left}{content}{right}")
    return "".join(parts)


def _pieces(body: go.Body) -> list[tuple[str, bool]]:
    """Return texts and the contents of actions, each with whether it is a text."""
    pieces: list[tuple[str, bool]] = []
    for node in body:
        if isinstance(node, go.GoText):
            pieces.append((node.text, True))
        elif isinstance(node, go.Comment):
            pieces.append((f"/*{node.text}*/", False))
        elif isinstance(node, go.Control):
            pieces.append((f"{_WORDS[type(node)]} {pipeline(node.pipeline)}", False))
            pieces += _pieces(node.body)
            if node.otherwise:
                pieces += [("else", False), *_pieces(node.otherwise)]
            pieces.append(("end", False))
        elif isinstance(node, go.Define | go.GoBlock):
            argument = f" {pipeline(node.pipeline)}" if isinstance(node, go.GoBlock) else ""
            word = "block" if isinstance(node, go.GoBlock) else "define"
            pieces += [(f"{word} {node.name.text}{argument}", False), *_pieces(node.body), ("end", False)]
        else:
            pieces.append((_simple(node), False))
    return pieces


def _simple(node: go.Action | go.GoTemplate | go.Break | go.Continue) -> str:
    if isinstance(node, go.Action):
        return pipeline(node.pipeline)
    if isinstance(node, go.GoTemplate):
        argument = "" if node.pipeline is None else f" {pipeline(node.pipeline)}"
        return f"template {node.name.text}{argument}"
    return "break" if isinstance(node, go.Break) else "continue"


def pipeline(node: go.GoPipeline) -> str:
    """Return a pipeline as Go source."""
    commands = " | ".join(command(each) for each in node.commands)
    if not node.variables:
        return commands
    return f"{', '.join(node.variables)} {'=' if node.is_assignment else ':='} {commands}"


def command(node: go.GoCommand) -> str:
    """Return a command as Go source."""
    return " ".join(map(operand, node.operands))


def operand(node: go.Operand) -> str:  # noqa: PLR0911  # one for each kind
    """Return an operand as Go source."""
    if isinstance(node, go.GoPipeline):
        return f"({pipeline(node)})"
    if isinstance(node, go.Chain):
        return "".join([operand(node.operand), *(f".{name}" for name in node.fields)])
    if isinstance(node, go.Field):
        return "".join(f".{name}" for name in node.names)
    if isinstance(node, go.Variable):
        return ".".join([node.name, *node.fields])
    if isinstance(node, go.Number | go.String):
        return node.text
    if isinstance(node, go.Identifier):
        return node.name
    if isinstance(node, go.Bool):
        return "true" if node.value else "false"
    return "." if isinstance(node, go.Dot) else "nil"
