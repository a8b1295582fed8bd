"""Convert values of consul-template's configuration to ours: one reader for each kind. Pure.

A reader returns our value, or raises ValueError with a sentence.
"""

from __future__ import annotations

import re
from typing import Any

from ctemplate.config.hcl_parser import HclBody, OctalNumber
from ctemplate.core.durations import parse_duration
from ctemplate.core.signal_names import parse_signal
from ctemplate.core.validation import shown_found

LEVELS = {"trace": "debug", "warn": "warning", "err": "error"}
HIGHEST_MODE = 0o7777
_OCTAL = re.compile(r"0?o?[0-7]{1,4}")
_NANOSECONDS = "consul-template takes a bare number for nanoseconds; write it with a unit in quotes, such as '10s'"


def plain_text(value: Any) -> str:
    """Return text; a number is returned as it was written."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"must be text, got {show_value(value)}")


def switch_value(value: Any) -> bool:
    """Return true or false; the value may stand in quotes."""
    if isinstance(value, str) and value.lower() in {"true", "false", "1", "0"}:
        return value.lower() in {"true", "1"}
    if isinstance(value, bool):
        return value
    raise ValueError(f"must be true or false, got {show_value(value)}")


def duration_text(value: Any) -> str:
    """Return a duration as it was written, after checking it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value == 0:
            return "0"
        raise ValueError(f"{_NANOSECONDS}, got {value}")
    return plain_text(value).strip() if parse_duration(plain_text(value)) else "0"


def level(value: Any) -> str:
    """Return our name of a log level."""
    word = plain_text(value).lower()
    return LEVELS.get(word, word)


def mode_text(value: Any) -> str:
    """Return a mode in octal: text unchanged, a number as its octal digits.

    consul-template takes the number 644 for decimal, which is mode 1204 and certainly a mistake.
    """
    if isinstance(value, OctalNumber) and 0 <= value <= HIGHEST_MODE:
        return f"0{value:o}"
    word = plain_text(value).strip()
    if not _OCTAL.fullmatch(word):
        raise ValueError(f"must be octal in quotes like '0644', got {show_value(value)}")
    return word.replace("o", "").zfill(4)


def command_words(value: Any) -> str | list[str] | None:
    """Return a command, None for an empty one; a list with one text is the line for a shell."""
    words = text_list(value) if isinstance(value, list) else plain_text(value)
    if isinstance(words, list) and len(words) == 1:
        words = words[0]
    return words if words and (not isinstance(words, str) or words.strip()) else None


def text_list(value: Any) -> list[str]:
    """Return a list of texts; a single text becomes a list of one."""
    return [plain_text(each) for each in value] if isinstance(value, list) else [plain_text(value)]


def signal_name(value: Any) -> str:
    """Return a signal's name in capitals, ``none`` for no signal."""
    return str(parse_signal(value))


def reload_signal_name(value: Any) -> str | None:
    """Return the signal to send after a change; None for an empty text, which means a restart."""
    return signal_name(value) if value != "" else None


def wait_values(value: str) -> dict[str, str]:
    """Return the table of a wait that is written as ``MIN[:MAX]``."""
    low, colon, high = value.partition(":")
    found = {"min": duration_text(low)}
    return found | {"max": duration_text(high)} if colon else found


def show_value(value: Any) -> str:
    """Return a value for an error message; of lists and blocks, which may hold secrets, only their type."""
    return "a block" if isinstance(value, HclBody) else shown_found(value)
