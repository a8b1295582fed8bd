"""HCL version 1 as a tree that keeps lines, comments and repeated keys. Pure.

It accepts what HashiCorp's own reader accepts; it knows no keys.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from ctemplate.config.hcl_lexer import HclLexer, HclToken, HclTokenKind
from ctemplate.core.errors import ConfigError
from ctemplate.core.values import dataclass

DEEPEST = 50  # nesting of blocks and lists


class OctalNumber(int):
    """A whole number that was written with a leading zero, as file modes are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HclItem:
    """One key with its value; a repeated key gives several items. ``line`` is 0 if unknown.

    ``labels`` stand between a block's key and its brace; ``comments`` stand above the key and after the value.
    """

    key: str
    value: Any
    line: int = 0
    labels: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HclBody:
    """The content of a file or of a pair of braces, in order; ``comments`` are those after the last key."""

    items: tuple[HclItem, ...] = ()
    comments: tuple[str, ...] = ()


def parse_hcl(text: str, name: str) -> HclBody:
    """Return the tree of a file; raises ConfigError ``name:line:column: …``."""
    return _HclParser(name, list(HclLexer(text, name).tokens())).file()


def body_of_json(values: dict[str, Any]) -> HclBody:
    """Return decoded JSON as the tree of an HCL file."""
    return HclBody(items=tuple(HclItem(key=key, value=_of_json(value)) for key, value in values.items()))


def _of_json(value: Any) -> Any:
    if isinstance(value, dict):
        return body_of_json(value)
    return [_of_json(each) for each in value] if isinstance(value, list) else value


@dataclass(slots=True)
class _HclParser:
    name: str
    tokens: list[HclToken]
    at: int = 0
    depth: int = 0
    comments: list[str] = field(default_factory=list)

    def file(self) -> HclBody:
        return self.body(None)

    def peek(self) -> HclToken:
        """Return the next token that is neither a line break nor a comment; collect the comments."""
        while (token := self.tokens[self.at]).kind in {HclTokenKind.NEWLINE, HclTokenKind.COMMENT}:
            if token.kind is HclTokenKind.COMMENT:
                self.comments.extend(_comment_lines(token.value))
            self.at += 1
        return token

    def take(self) -> HclToken:
        token = self.peek()
        self.at += token.kind is not HclTokenKind.END
        return token

    def wrong(self, token: HclToken, wanted: str) -> ConfigError:
        return ConfigError(f"{self.name}:{token.line}:{token.column}", f"expected {wanted}, found {token}")

    def body(self, opening: HclToken | None) -> HclBody:
        """Read items up to the closing brace, or to the end of the file at the top level."""
        items: list[HclItem] = []
        while True:
            token = self.peek()
            if token.kind is HclTokenKind.END and opening is not None:
                raise ConfigError(f"{self.name}:{opening.line}:{opening.column}", "this brace is never closed")
            if token.kind is HclTokenKind.END or (_is(token, "}") and opening is not None):
                self.take()
                return HclBody(items=tuple(items), comments=self._gathered())
            items.append(self.item())
            if _is(self.peek_on_line(), ","):
                self.at += 1

    def _gathered(self) -> tuple[str, ...]:
        found = tuple(self.comments)
        self.comments.clear()
        return found

    def item(self) -> HclItem:
        keys = [self.take()]
        if keys[0].kind not in {HclTokenKind.NAME, HclTokenKind.TEXT}:
            raise self.wrong(keys[0], "a key")
        above = self._gathered()
        while (token := self.take()).kind in {HclTokenKind.NAME, HclTokenKind.TEXT}:
            keys.append(token)
        if _is(token, "{"):
            value = self.nested(token)
        elif not _is(token, "="):
            raise self.wrong(token, "= or {")
        elif len(keys) > 1:
            raise self.wrong(token, "{")
        else:
            value = self.value(self.take())
        comments = (*above, *self._behind())
        labels = tuple(label.value for label in keys[1:])
        return HclItem(key=keys[0].value, value=value, line=keys[0].line, labels=labels, comments=comments)

    def peek_on_line(self) -> HclToken:
        return self.tokens[self.at]

    def _behind(self) -> tuple[str, ...]:
        """Take the comment on the same line as the value."""
        token = self.peek_on_line()
        if token.kind is not HclTokenKind.COMMENT:
            return ()
        self.at += 1
        return tuple(_comment_lines(token.value))

    def nested(self, opening: HclToken) -> HclBody:
        self._enter(opening)
        found = self.body(opening)
        self.depth -= 1
        return found

    def _enter(self, opening: HclToken) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ConfigError(f"{self.name}:{opening.line}:{opening.column}", "is nested too deeply")

    def value(self, token: HclToken) -> Any:
        if token.kind in {HclTokenKind.TEXT, HclTokenKind.HEREDOC}:
            return token.value
        if token.kind is HclTokenKind.NUMBER:
            try:
                return _number(token.value)
            except ValueError:
                raise self.wrong(token, "a number of fewer digits") from None
        if token.kind is HclTokenKind.NAME and token.value in {"true", "false"}:
            return token.value == "true"
        if _is(token, "{"):
            return self.nested(token)
        if _is(token, "["):
            return self.values(token)
        wanted = "a value: text in quotes, a number, true, false, a list or a block"
        if token.kind is HclTokenKind.NAME:  # the value may be a secret without quotes, so the error must not show it
            raise ConfigError(f"{self.name}:{token.line}:{token.column}", f"expected {wanted}, found a bare word")
        raise self.wrong(token, wanted)

    def values(self, opening: HclToken) -> list[Any]:
        self._enter(opening)
        found: list[Any] = []
        while not _is(token := self.take(), "]"):
            found.append(self.value(token))
            after = self.take()
            if _is(after, "]"):
                break
            if not _is(after, ","):
                raise self.wrong(after, ", or ]")
        self.depth -= 1
        self.comments.clear()  # comments inside a list cannot be kept
        return found


def _is(token: HclToken, mark: str) -> bool:
    return token.kind is HclTokenKind.MARK and token.value == mark


def _number(text: str) -> int | float:
    digits = text.removeprefix("-")
    if digits[:2].lower() == "0x":
        return int(text, 16)
    if not digits.isdigit():
        return float(text)
    if digits[0] == "0" and len(digits) > 1 and not set(digits) & set("89"):
        return OctalNumber(int(text, 8))
    return int(text)


def _comment_lines(comment: str) -> list[str]:
    """Return the words of a comment, line by line, without its delimiters."""
    if comment.startswith("/*"):
        lines = [line.strip().removeprefix("*").strip() for line in comment[2:-2].splitlines()]
        return [line for line in lines if line]
    return [comment.removeprefix("//").lstrip("#").strip()]
