"""Parse Go templates in the way of Go 1.23 and later, whatever functions they call.

Follows Go's text/template/parse/parse.go; must not know functions, types or what a template prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from ctemplate.convert import go_ast as go
from ctemplate.convert.go_lexer import GoSource, GoToken, Lexer, Position, TokenKind

MAX_NESTING = 100
"""Maximum nesting of blocks and parentheses."""

_OPERANDS = frozenset(
    [
        TokenKind.BOOL,
        TokenKind.CHARACTER,
        TokenKind.DOT,
        TokenKind.FIELD,
        TokenKind.IDENTIFIER,
        TokenKind.NUMBER,
        TokenKind.OPEN,
        TokenKind.RAW,
        TokenKind.STRING,
        TokenKind.VARIABLE,
    ]
)
_CONTROLS: dict[str, type[go.Control]] = {"if": go.If, "with": go.With, "range": go.Range}
_CONSTANTS = (go.Bool, go.Dot, go.Nil, go.Number, go.String)


def parse(text: str, name: str, *, left: str = "{{", right: str = "}}") -> go.Body:
    """Return a template's nodes; raises GoSyntaxError ``name:line:column: …``. Empty delimiters mean Go's own."""
    source = GoSource(text, name, left=left, right=right)
    return _Parser(source).template()


class _Parser:
    """Reads the tokens of one source in order."""

    def __init__(self, source: GoSource) -> None:
        self._source = source
        self._tokens = list(Lexer(source).tokens())
        self._next = 0
        self._depth = 0
        self._loops = 0
        self._known = ["$"]

    def template(self) -> go.Body:
        """Read everything."""
        body, ended_by = self._body(is_outermost=True)
        if ended_by.kind is not TokenKind.END:
            self._unexpected(ended_by, "text or an action")
        return body

    # tokens

    def _peek(self) -> GoToken:
        return self._tokens[self._next]

    def _peek_word(self) -> GoToken:
        """Skip spaces and return the next token."""
        while self._tokens[self._next].kind is TokenKind.SPACE:
            self._next += 1
        return self._tokens[self._next]

    def _take(self) -> GoToken:
        token = self._peek_word()
        self._next += 1
        return token

    def _expect(self, kind: TokenKind, context: str) -> GoToken:
        token = self._take()
        if token.kind is not kind:
            self._unexpected(token, f"{kind.value} {context}")
        return token

    def _at(self, token: GoToken) -> Position:
        return self._source.position(token.offset)

    def _unexpected(self, token: GoToken, expected: str) -> NoReturn:
        is_plain = token.kind in {TokenKind.TEXT, TokenKind.END, TokenKind.RIGHT, TokenKind.LEFT, TokenKind.COMMENT}
        found = token.kind.value if is_plain else repr(token.text[:40])
        self._source.fail(token.offset, f"unexpected {found}, expected {expected}")

    @contextmanager
    def _deeper(self, token: GoToken) -> Iterator[None]:
        self._depth += 1
        if self._depth > MAX_NESTING:
            self._source.fail(token.offset, f"nested more than {MAX_NESTING} deep")
        yield
        self._depth -= 1

    @contextmanager
    def _scope(self) -> Iterator[None]:
        """Forget at the end the variables that were declared inside."""
        known = len(self._known)
        yield
        del self._known[known:]

    # nodes

    def _body(self, *, is_outermost: bool = False) -> tuple[go.Body, GoToken]:
        """Read nodes up to ``end``, ``else`` or the end of the file; also return that token."""
        nodes: list[go.Node] = []
        while True:
            token = self._peek()
            self._next += 1
            if token.kind is TokenKind.TEXT:
                nodes.append(go.GoText(token.text, at=self._at(token)))
            elif token.kind is TokenKind.COMMENT:
                nodes.append(go.Comment(token.text, at=self._at(token)))
            elif token.kind is TokenKind.END:
                return tuple(nodes), token
            else:
                word = self._peek_word()
                if word.kind is TokenKind.KEYWORD and word.text in {"end", "else"}:
                    self._next += 1
                    return tuple(nodes), word
                with self._deeper(token):
                    nodes.append(self._action(token, is_outermost=is_outermost))

    def _action(self, opened: GoToken, *, is_outermost: bool) -> go.Node:
        word = self._peek_word()
        if word.kind is not TokenKind.KEYWORD or word.text == "nil":
            pipeline = self._pipeline("in a command", TokenKind.RIGHT)
            return go.Action(pipeline, at=self._at(opened))
        self._next += 1
        if word.text in {"if", "with", "range"}:
            return self._control(word)
        if word.text in {"break", "continue"}:
            self._expect(TokenKind.RIGHT, f"after {word.text!r}")
            if not self._loops:
                self._source.fail(word.offset, f"'{word.text}' outside of 'range'")
            return (go.Break if word.text == "break" else go.Continue)(at=self._at(word))
        if word.text == "template":
            return self._template(word)
        if word.text == "define" and not is_outermost:
            self._source.fail(word.offset, "'define' within another block, expected it outside of all blocks")
        return self._definition(word)

    def _control(self, word: GoToken) -> go.Control:
        """Read the text after ``if``, ``with`` or ``range``, including its ``end``."""
        kind: type[go.Control] = _CONTROLS[word.text]
        with self._scope():
            pipeline = self._pipeline(f"in {word.text!r}", TokenKind.RIGHT)
            self._loops += kind is go.Range
            body, ended_by = self._body()
            self._loops -= kind is go.Range
            otherwise: go.Body = ()
            if ended_by.text == "else":
                otherwise = self._otherwise(word)
            else:
                self._finish(ended_by, word)
        return kind(pipeline, body, otherwise, at=self._at(word))

    def _otherwise(self, word: GoToken) -> go.Body:
        """Read the text after ``else``; an ``else if`` shares the ``end``."""
        following = self._peek_word()
        if following.kind is TokenKind.KEYWORD and following.text == word.text and word.text in {"if", "with"}:
            self._next += 1
            with self._deeper(following):
                return (self._control(following),)
        self._expect(TokenKind.RIGHT, "after 'else'")
        body, ended_by = self._body()
        self._finish(ended_by, word)
        return body

    def _finish(self, ended_by: GoToken, word: GoToken) -> None:
        if ended_by.kind is TokenKind.END:
            self._source.fail(word.offset, f"'{word.text}' is never closed, expected 'end'")
        if ended_by.text != "end":
            self._unexpected(ended_by, "'end'")
        self._expect(TokenKind.RIGHT, "after 'end'")

    def _name(self, word: GoToken) -> go.String:
        token = self._take()
        if token.kind not in {TokenKind.STRING, TokenKind.RAW}:
            self._unexpected(token, f"a name in quotes after {word.text!r}")
        return self._string(token)

    def _template(self, word: GoToken) -> go.GoTemplate:
        name, pipeline = self._name(word), None
        if self._peek_word().kind is not TokenKind.RIGHT:
            pipeline = self._pipeline("in 'template'", TokenKind.RIGHT)
        else:
            self._next += 1
        return go.GoTemplate(name, pipeline, at=self._at(word))

    def _definition(self, word: GoToken) -> go.Define | go.GoBlock:
        """Read the text after ``define`` or ``block``; inside, only ``$`` is known, which is the argument."""
        name = self._name(word)
        pipeline = self._pipeline("in 'block'", TokenKind.RIGHT) if word.text == "block" else None
        if pipeline is None:
            self._expect(TokenKind.RIGHT, "after the name of 'define'")
        known, loops = self._known, self._loops
        self._known, self._loops = ["$"], 0
        body, ended_by = self._body()
        self._known, self._loops = known, loops
        self._finish(ended_by, word)
        at = self._at(word)
        return go.Define(name, body, at=at) if pipeline is None else go.GoBlock(name, pipeline, body, at=at)

    # pipelines

    def _pipeline(self, context: str, closing: TokenKind) -> go.GoPipeline:
        """Read a pipeline and the token that closes it."""
        first = self._peek_word()
        variables, is_assignment = self._declared(context)
        commands: list[go.GoCommand] = []
        while True:
            token = self._peek_word()
            if token.kind is closing:
                break
            if token.kind in _OPERANDS or token.text == "nil":
                commands.append(self._command())
            else:
                self._unexpected(token, f"{closing.value} or a value {context}")
        if not commands:
            self._source.fail(token.offset, f"missing value {context}")
        self._next += 1
        for number, command in enumerate(commands[1:], 2):
            if isinstance(command.operands[0], _CONSTANTS):
                self._source.fail(token.offset, f"part {number} of the pipeline is a value, expected a function")
        return go.GoPipeline(tuple(commands), variables, is_assignment, at=self._at(first))

    def _declared(self, context: str) -> tuple[tuple[str, ...], bool]:
        """Read ``$x :=``, ``$x =`` and, in ``range``, ``$i, $x :=``; return the names and whether it is ``=``."""
        names: list[str] = []
        while self._peek_word().kind is TokenKind.VARIABLE:
            start = self._next
            variable = self._take()
            operator = self._peek_word()
            if operator.kind in {TokenKind.ASSIGN, TokenKind.DECLARE}:
                self._next += 1
                names.append(variable.text)
                self._known.extend(names)
                return tuple(names), operator.kind is TokenKind.ASSIGN
            if operator.kind is not TokenKind.COMMA:
                if names:
                    self._unexpected(operator, "':='")
                self._next = start
                return (), False
            self._next += 1
            names.append(variable.text)
            if context != "in 'range'" or len(names) > 1:
                self._source.fail(operator.offset, "too many variables are declared here, expected ':='")
        if names:
            self._unexpected(self._peek_word(), "a variable after ','")
        return (), False

    def _command(self) -> go.GoCommand:
        first = self._peek_word()
        operands: list[go.Operand] = []
        while True:
            token = self._peek_word()
            if token.kind in _OPERANDS or (token.kind is TokenKind.KEYWORD and token.text == "nil"):
                operands.append(self._operand())
                behind = self._peek()
                if behind.kind is TokenKind.SPACE:
                    continue
                token = behind
            if token.kind is TokenKind.PIPE:
                self._next += 1
            elif token.kind not in {TokenKind.RIGHT, TokenKind.CLOSE}:
                self._unexpected(token, "a space, '|' or the end between values")
            return go.GoCommand(tuple(operands), at=self._at(first))

    def _operand(self) -> go.Operand:
        token = self._take()
        with self._deeper(token):
            term = self._term(token)
        fields: list[str] = []
        while self._peek().kind is TokenKind.FIELD:
            fields.append(self._take().text[1:])
        if not fields:
            return term
        if isinstance(term, go.Field):
            return go.Field((*term.names, *fields), at=term.at)
        if isinstance(term, go.Variable):
            return go.Variable(term.name, tuple(fields), at=term.at)
        if isinstance(term, _CONSTANTS):
            self._source.fail(token.offset, f"unexpected '.' after {token.text!r}, expected a space")
        return go.Chain(term, tuple(fields), at=term.at)

    def _term(self, token: GoToken) -> go.Operand:  # noqa: PLR0911  # one for each kind
        at, kind = self._at(token), token.kind
        if kind is TokenKind.OPEN:
            return self._pipeline("in parentheses", TokenKind.CLOSE)
        if kind in {TokenKind.STRING, TokenKind.RAW}:
            return self._string(token)
        if kind is TokenKind.VARIABLE:
            if token.text not in self._known:
                self._source.fail(token.offset, f"undefined variable '{token.text}'")
            return go.Variable(token.text, at=at)
        if kind is TokenKind.FIELD:
            return go.Field((token.text[1:],), at=at)
        if kind is TokenKind.CHARACTER:
            self._checked(token)
            return go.Number(token.text, at=at)
        if kind is TokenKind.NUMBER:
            return go.Number(token.text, at=at)
        if kind is TokenKind.BOOL:
            return go.Bool(token.text == "true", at=at)
        if kind is TokenKind.DOT:
            return go.Dot(at=at)
        return go.Nil(at=at) if kind is TokenKind.KEYWORD else go.Identifier(token.text, at=at)

    def _string(self, token: GoToken) -> go.String:
        self._checked(token)
        return go.String(token.text, at=self._at(token))

    def _checked(self, token: GoToken) -> None:
        """Raise an error unless a string or character is valid."""
        try:
            value = go.unquoted(token.text)
        except ValueError as exc:
            self._source.fail(token.offset, str(exc))
        if token.kind is TokenKind.CHARACTER and len(value) != 1:
            self._source.fail(token.offset, f"{token.text[:40]!r} is not one character")
