"""The changes of ``-tidy``: idiomatic code instead of identical bytes, with a notice for each difference.

Lines that contain only tags print nothing, as in our own templates; values print in Jinja's form. Must not know how a
tree is converted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ctemplate.convert import go_ast as go
from ctemplate.convert.go_lexer import Position
from ctemplate.convert.layout import LayoutBlock, LayoutPiece, Print, Tag

_TAG, _PRINT = "tag", "print"
_StreamItem = go.GoText | str
_STRING = r'"(?:[^"\\]|\\.)*"'
_BLANK = " \t"

_IDIOMS = {
    "go_text": ("", "parsed values print as Jinja prints them: numbers are whole, and what is missing is an error"),
    "go_items": (" | items", "what is ranged over with keys must be a table, and goes in its own order"),
    "go_values": ("", "what is ranged over must be a list"),
    "go_json": (" | to_json", "JSON has blanks behind ',' and ':'"),
    "go_quote": (" | json", "control characters are quoted as in JSON"),
    "go_title": (" | title", "words are lower-case but for their first letters"),
    "go_length": (" | length", "the length of a text counts characters"),
    "go_merge": (" | merge", "an empty value of the first table stays where tables are merged"),
    "go_from_yaml": (" | from_yaml", "in YAML, 012, 1_000, .inf, y and n are texts"),
    "go_yaml": (" | to_yaml", "texts in YAML are quoted by other rules"),
}
_GO_FILTER = re.compile(rf"({_STRING})| \| ({'|'.join(_IDIOMS)})\b((?:\([a-z]+=\w+(?:, [a-z]+=\w+)*\))?)")
_GROUPING = re.compile(rf'({_STRING})| \| go_by_meta\("([\w.\- ]+)"\)')
_PRINTED = re.compile(rf'({_STRING})| \| go_printf\("%[sv]"(?:, whole=true)?\)')
_DEFAULT = re.compile(rf', default=""\) or ({_STRING})(?=$| \||\))')
_SPLIT = re.compile(r"(\()?\(([\w.]+) \| trim\)\.split\(([^()]*)\) if \(\2 \| trim\) else \[\](?(1)\))")
_EMPTY_DEFAULT = "an empty value stays: the default is for a missing key"
_GROUP_NAMES = "groups are named by the values of meta as they are, and an empty value is a separate group"
_UNTRIMMED = "a text is split as it is, without trimming it first"


@dataclass(frozen=True, slots=True)
class TidyLines:
    """A tree without the lines that contain only tags, and the numbers of these lines in the source."""

    body: go.Body
    lines: tuple[int, ...]


def tidy_lines(body: go.Body) -> TidyLines:
    """Return a tree in which a line that contains only tags prints nothing."""
    kept: dict[int, str] = {}
    lines: list[int] = []
    for line in _lines(body):
        texts = [part for part in line if not isinstance(part, str)]
        is_of_tags = _TAG in line and _PRINT not in line and all(text.isspace() for _, text in texts)
        if is_of_tags and any(text.endswith("\n") for _, text in texts):
            lines.append(_line_of(texts))
        for node, text in texts:
            kept[id(node)] = kept.get(id(node), "") + ("" if is_of_tags else text)
    return TidyLines(_with_texts(body, kept), tuple(sorted(set(lines))))


_LinePart = tuple[go.GoText, str] | str


def _line_of(texts: list[tuple[go.GoText, str]]) -> int:
    node = texts[-1][0]
    return node.at.line


def _lines(body: go.Body) -> Iterator[list[_LinePart]]:
    """Yield the content of each source line: parts of texts, tags, prints."""
    line: list[_LinePart] = []
    for item in _stream(body):
        if isinstance(item, str):
            line.append(item)
            continue
        for text in item.text.splitlines(keepends=True):
            line.append((item, text))
            if text.endswith("\n"):
                yield line
                line = []
    yield line


def _stream(body: go.Body) -> Iterator[_StreamItem]:
    """Yield texts, and the nodes between them, in the order of the source."""
    for node in body:
        if isinstance(node, go.GoText):
            yield node
        elif isinstance(node, go.Control):
            yield _TAG
            yield from _stream(node.body)
            if node.otherwise:
                yield _TAG
                yield from _stream(node.otherwise)
            yield _TAG
        elif isinstance(node, go.Define):
            yield _TAG
            yield from _stream(node.body)
            yield _TAG
        else:
            yield _TAG if _is_silent(node) else _PRINT


def _is_silent(node: go.Node) -> bool:
    """Return whether a node prints nothing; a block prints where it is defined."""
    is_declaration = isinstance(node, go.Action) and bool(node.pipeline.variables)
    return is_declaration or isinstance(node, go.Comment | go.Break | go.Continue)


def _with_texts(body: go.Body, kept: dict[int, str]) -> go.Body:
    found: list[go.Node] = []
    for node in body:
        if isinstance(node, go.GoText):
            text = kept.get(id(node), node.text)
            found += [replace(node, text=text)] if text else []
        elif isinstance(node, go.Control):
            inner, otherwise = _with_texts(node.body, kept), _with_texts(node.otherwise, kept)
            found.append(replace(node, body=inner, otherwise=otherwise))
        elif isinstance(node, go.Define):
            found.append(replace(node, body=_with_texts(node.body, kept)))
        else:
            found.append(node)
    return tuple(found)


def tidy_pieces(pieces: Iterable[LayoutPiece]) -> tuple[tuple[LayoutPiece, ...], tuple[str, ...]]:
    """Return pieces with Jinja's idioms for values that print in Go's form, and the differences."""
    said: dict[str, None] = {}
    return tuple(_tidy_piece(piece, said) for piece in pieces), tuple(said)


def _tidy_piece(piece: LayoutPiece, said: dict[str, None]) -> LayoutPiece:
    if isinstance(piece, Print | Tag):
        return replace(piece, code=_tidy_code(piece.code, said))
    if isinstance(piece, LayoutBlock):
        branches = tuple(
            (_tidy_code(tag, said), tuple(_tidy_piece(each, said) for each in body)) for tag, body in piece.branches
        )
        return LayoutBlock(branches, piece.end)
    return piece


def _tidy_code(code: str, said: dict[str, None]) -> str:
    def idiom(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[1]
        shown, difference = _IDIOMS[match[2]]
        said[difference] = None
        return shown + ("(indent=2)" if "indent=2" in match[3] and match[2] == "go_json" else "")

    def grouping(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[1]
        said[_GROUP_NAMES] = None
        return f' | by_meta("{match[2]}", "_no_{match[2]}_")'

    def printed(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[1]
        said[_IDIOMS["go_text"][1]] = None
        return ""

    def default(match: re.Match[str]) -> str:
        said[_EMPTY_DEFAULT] = None
        return f", default={match[1]})"

    def split(match: re.Match[str]) -> str:
        said[_UNTRIMMED] = None
        return f"{match[2]}.split({match[3]})"

    return _SPLIT.sub(
        split, _DEFAULT.sub(default, _GROUPING.sub(grouping, _PRINTED.sub(printed, _GO_FILTER.sub(idiom, code))))
    )


def tidy_remarks(lines: tuple[int, ...], differences: tuple[str, ...]) -> Iterator[tuple[Position, str]]:
    """Yield notices about the changes of ``-tidy``, by their place."""
    if lines:
        shown = ", ".join(map(str, lines))
        yield Position(lines[0], 1), f"-tidy: the tags on these lines leave no line of their own: {shown}"
    for difference in differences:
        yield Position(1, 1), f"-tidy: {difference}"
