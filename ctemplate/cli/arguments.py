"""Bring the words of the command line into the order and the form that click reads. Pure.

Operators write options before or after the verb, with one dash or two, and switches in Go's form (``-once=true``). This
module refuses every word that is neither an option nor a verb, with advice; it must not know what options do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence

import click

from ctemplate.cli.advice import COMMANDS, OPTIONS
from ctemplate.core.errors import printable
from ctemplate.core.values import dataclass

CLOSE_ENOUGH = 0.65  # similarity that a suggestion needs; below this it would be a random guess
SHORTEST_SUGGESTION = 3  # characters; -h and -v are too short to suggest
HELP, VERSION = "-help", "-version"
VERB_WORDS = dict.fromkeys(("help", "-h", "--h", "--help"), HELP) | dict.fromkeys(("version", "-V", "--V"), VERSION)
"""Words for help and version besides the two options, also those of other programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentWord:
    """An option with its name as written, its known name and its value; or a positional word, whose name is empty."""

    written: str
    name: str = ""
    value: str | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return the word in the form that click reads."""
        if not self.name:
            return (self.written,)
        return (self.name,) if self.value is None else (self.name, self.value)


def arranged(arguments: Sequence[str], program: click.Group) -> list[str]:
    """Return the arguments with the verb first; raises UsageError for an option or a verb that does not exist."""
    words = list(_words([VERB_WORDS.get(word, word) for word in arguments], program))
    at = next((number for number, word in enumerate(words) if not word.name), None)
    if at is None:
        _check_options(words, program, "")
        return [argument for word in words for argument in word.arguments]
    verb = words.pop(at).written
    if verb not in program.commands:
        raise click.UsageError(_no_such_command(verb, program))
    _check_options(words, program.commands[verb], verb)
    return [verb, *(argument for word in words for argument in word.arguments)]


def _words(arguments: Sequence[str], program: click.Group) -> Iterator[ArgumentWord]:
    """Yield the words; raises UsageError for an option that no verb has."""
    known = _flags(program)
    if any(word.startswith("-") and _name(word.partition("=")[0], known) not in known for word in arguments):
        known = _flags(program, *program.commands.values())  # those of the verbs, which a daemon does not need
    rest = iter(arguments)
    for word in rest:
        written, equals, value = word.partition("=")
        name = _name(written, known)
        option = known.get(name)
        if name == HELP or (option is not None and option.is_eager):
            yield ArgumentWord(written=written, name=name)
        elif option is not None and equals:
            yield ArgumentWord(written=written, name=name, value=value)
        elif option is not None and _is_switch(option):
            yield ArgumentWord(written=written, name=name, value="true")
        elif option is not None:
            found = next(rest, None)
            if found is None:
                raise click.UsageError(f"option {name!r} requires an argument")
            yield ArgumentWord(written=written, name=name, value=found)
        elif word.startswith("-") and word != "-":
            raise click.UsageError(_no_such_option(written, known))
        else:
            yield ArgumentWord(written=word)


def _flags(*commands: click.Command) -> dict[str, click.Option]:
    """Return the options of some commands by their names."""
    options = (option for command in commands for option in command.params if isinstance(option, click.Option))
    return {flag: option for option in options for flag in option.opts}


def _name(written: str, known: Mapping[str, click.Option]) -> str:
    """Return the known name of an option that may be written with two dashes."""
    return written[1:] if written.startswith("--") and written[1:] in known else written


def _is_switch(option: click.Option) -> bool:
    return option.type is click.BOOL


def _check_options(words: Sequence[ArgumentWord], command: click.Command, verb: str) -> None:
    """Raise UsageError for an option that belongs to another verb only."""
    known = {flag for option in command.params for flag in option.opts} | {HELP}
    for word in words:
        if word.name and word.name not in known:
            place = f"with {verb}" if verb else "without a verb"
            raise click.UsageError(f"option {printable(word.written)} has no meaning {place}")


def _no_such_option(written: str, known: Mapping[str, object]) -> str:
    """Say which option is unknown, as it was written, and what replaces it or may have been meant."""
    what = f"no such option {printable(written)}"
    flag = f"-{written.lstrip('-')}"
    advice = next((said for pattern, said in OPTIONS if re.fullmatch(pattern, flag)), None)
    if advice is not None:
        return f"{what}: {advice}"
    likely = sorted(name for name in known if len(name) >= SHORTEST_SUGGESTION)
    close = difflib.get_close_matches(flag, likely, n=1, cutoff=CLOSE_ENOUGH)
    return f"{what}; did you mean {close[0]}?" if close else what


def _no_such_command(verb: str, program: click.Group) -> str:
    what = f"no such command {printable(verb)!r}"
    if verb in COMMANDS:
        return f"{what}: {COMMANDS[verb]}"
    close = difflib.get_close_matches(verb, sorted(program.commands), n=1, cutoff=CLOSE_ENOUGH)
    return f"{what}; did you mean {close[0]}?" if close else what
