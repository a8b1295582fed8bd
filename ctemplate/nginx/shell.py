"""Read a command line as a shell would split it, without running one: simple commands, and how they are joined.

Parts that only a shell could expand are marked, or make the line unreadable. Knows no programs.
"""

from __future__ import annotations

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass

OPERATORS = ("&&", "||", ";;", "|&", "&>>", "&>", ">>", ">&", "<&", "<<", ">|", "<>", ";", "|", "&", "(", ")", "<", ">")
REDIRECTIONS = frozenset({"&>>", "&>", ">>", ">&", "<&", ">|", "<>", "<", ">"})
JOINTS = frozenset({"&&", "||", ";", "|", "|&"})
_FILE = lazy_pattern(
    r"\s*(?:cat\s+|<\s*|head\s+-(?:n\s*)?1\s+)(?P<file>[\w./+@:-]+|\"[\w./+@: -]+\"|'[\w./+@: -]+')\s*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellWord:
    """A word as the command gets it; ``is_plain``: a shell expands nothing in it.

    ``runs`` is the command whose output is all of it: ``$(COMMAND)``; ``is_quoted``: that output stays one word.
    """

    text: str
    is_plain: bool = True
    runs: str | None = None
    is_quoted: bool = False

    @property
    def reads(self) -> str | None:
        """The file whose content is all of the word: ``$(cat FILE)``, quoted or not."""
        return None if self.runs is None else _file(self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellStep:
    """A simple command without its redirections, and the operator before it; the first has none."""

    words: tuple[ShellWord, ...]
    joint: str = ""


class UnreadableCommand(Exception):
    """The line has syntax that is not supported here, or ends unexpectedly."""


def shell_steps(line: str) -> tuple[ShellStep, ...]:
    """Return the simple commands of a line; raises Unreadable.

    Parentheses and line ends only separate. A command in the background, a here-document and a process substitution
    are not read.
    """
    tokens = _tokens(line)
    found: list[ShellStep] = []
    words: list[ShellWord] = []
    joint = ""
    while tokens:
        token = tokens.pop(0)
        if isinstance(token, ShellWord):
            words.append(token)
        elif token in REDIRECTIONS:
            if not tokens or not isinstance(tokens.pop(0), ShellWord):
                raise UnreadableCommand(line)
        elif token in JOINTS or token in {"(", ")"}:
            found += [ShellStep(words=tuple(words), joint=joint)] if words else []
            joint = token if token in JOINTS else joint if not words else ";"
            words = []
        else:
            raise UnreadableCommand(line)
    return (*found, ShellStep(words=tuple(words), joint=joint)) if words else tuple(found)


def _tokens(line: str) -> list[ShellWord | str]:
    scanner = _Scanner(line)
    tokens: list[ShellWord | str] = []
    while (token := scanner.token()) is not None:
        tokens.append(token)
    return tokens


class _Scanner:
    """Takes one word or operator after the other."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._at = 0

    def token(self) -> ShellWord | str | None:
        """Return the next word or operator, a line end as a semicolon; None at the end."""
        self._skip_blanks()
        rest = self._line[self._at :]
        if not rest:
            return None
        if rest[0] == "\n":
            self._at += 1
            return ";"
        operator = next((each for each in OPERATORS if rest.startswith(each)), None)
        if operator is not None:
            self._at += len(operator)
            if operator in {"<", ">"} and self._line.startswith("(", self._at):
                raise UnreadableCommand(self._line)
            return operator
        return self._word()

    def _skip_blanks(self) -> None:
        while self._line.startswith((" ", "\t", "\\\n"), self._at):
            self._at += 2 if self._line.startswith("\\\n", self._at) else 1
        if self._line.startswith("#", self._at):
            end = self._line.find("\n", self._at)
            self._at = len(self._line) if end < 0 else end

    def _word(self) -> ShellWord | str:
        start, text, is_plain = self._at, "", True
        runs: list[str | None] = []
        while self._at < len(self._line) and self._line[self._at] not in " \t\n;|&()<>":
            piece, piece_is_plain, inner = self._piece(is_first=self._at == start)
            text, is_plain = text + piece, is_plain and piece_is_plain
            runs.append(inner)
        if text.isdecimal() and self._line[start : self._at] == text and self._line.startswith(("<", ">"), self._at):
            return self._redirection()
        is_quoted = self._line.startswith('"', start)
        return ShellWord(text=text, is_plain=is_plain, runs=runs[0] if len(runs) == 1 else None, is_quoted=is_quoted)

    def _redirection(self) -> str:
        """Return the operator after a file descriptor's number."""
        operator = self.token()
        if not isinstance(operator, str):
            raise UnreadableCommand(self._line)
        return operator

    def _piece(self, *, is_first: bool) -> tuple[str, bool, str | None]:
        """Take a quoted part, an expansion or a character; return its text, whether that is final, and its command."""
        char = self._line[self._at]
        if char == "'":
            return self._until("'"), True, None
        if char == '"':
            quoted, is_plain = self._double_quoted()
            return quoted, is_plain, None if is_plain else _substituted_command(quoted)
        if char == "\\":
            if self._at + 1 >= len(self._line):
                raise UnreadableCommand(self._line)
            self._at += 2
            escaped = self._line[self._at - 1]
            return "" if escaped == "\n" else escaped, True, None
        if char == "`":
            inner = self._until("`")
            return f"`{inner}`", False, inner
        if self._line.startswith("$(", self._at):
            inner = self._substituted()
            return f"$({inner})", False, inner
        self._at += 1
        is_left_to_the_shell = char in "$*?[" or (char == "~" and is_first)
        return char, not is_left_to_the_shell, None

    def _until(self, quote: str) -> str:
        end = self._line.find(quote, self._at + 1)
        if end < 0:
            raise UnreadableCommand(self._line)
        inner = self._line[self._at + 1 : end]
        self._at = end + 1
        return inner

    def _double_quoted(self) -> tuple[str, bool]:
        self._at += 1
        text, is_plain = "", True
        while self._at < len(self._line):
            char = self._line[self._at]
            self._at += 1
            if char == '"':
                return text, is_plain
            if char == "\\" and self._line.startswith(tuple('$`"\\\n'), self._at):
                text += "" if self._line[self._at] == "\n" else self._line[self._at]
                self._at += 1
                continue
            is_plain = is_plain and char not in "$`"
            text += char
        raise UnreadableCommand(self._line)

    def _substituted(self) -> str:
        """Take ``$(…)``, whose own parentheses have to be balanced; quotes in it are not read."""
        start, depth = self._at + 2, 0
        for at in range(self._at + 1, len(self._line)):
            depth += {"(": 1, ")": -1}.get(self._line[at], 0)
            if depth == 0:
                self._at = at + 1
                return self._line[start:at]
        raise UnreadableCommand(self._line)


def _substituted_command(quoted: str) -> str | None:
    """Return the command of a quoted substitution, when the quotes hold nothing else."""
    if quoted.startswith("$(") and quoted.endswith(")"):
        return quoted[2:-1]
    return quoted[1:-1] if quoted.startswith("`") and quoted.endswith("`") else None


def _file(inner: str) -> str | None:
    """Return the file that a substitution reads, when it does nothing else."""
    found = _FILE.fullmatch(inner)
    return found["file"].strip("\"'") if found else None
