"""Record a command's terminal output as an animated SVG: `python scripts/record.py OUT.svg COMMAND…`.

Each line appears when the command printed it; pauses longer than two seconds are cut. Standard library only.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import sys
import time
from html import escape
from pathlib import Path

COLUMNS, ROWS = 110, 40
ADVANCE, LEADING, MARGIN = 8.4, 19, 16  # pixels: a character's width, a line's height, the border
LONGEST_PAUSE = 2.0
HOLD = 6.0  # seconds that the last picture stands before it starts again
COLOURS = {"31": "#ff7b72", "32": "#7ee787", "36": "#79c0ff", "1": "#ffffff"}
SGR = re.compile(r"\x1b\[([0-9;]*)m")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]|.*\r(?=[^\n])")


def recorded(command: list[str]) -> list[tuple[float, str]]:
    """Run the command on a terminal of its own; return its lines with the seconds since its start."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"COLUMNS": str(COLUMNS), "LINES": str(ROWS), "TERM": "xterm-256color"}
        os.execvp(command[0], command)
    began, lines, rest = time.monotonic(), [], ""
    while True:
        try:
            data = os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # the terminal is gone with its last process
            break
        *whole, rest = (rest + data).replace("\r\n", "\n").split("\n")
        lines += [(time.monotonic() - began, CONTROL.sub("", line)) for line in whole]
    os.waitpid(pid, 0)
    return lines


def shortened(lines: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return the lines with long pauses cut."""
    result, at, before = [], 0.0, 0.0
    for moment, line in lines:
        at += min(moment - before, LONGEST_PAUSE)
        before = moment
        result.append((at, line))
    return result


def spans(line: str) -> str:
    """Return a line's text with its colours as SVG."""
    parts, colour = [], ""
    for number, piece in enumerate(SGR.split(line)):
        if number % 2:
            colour = next((COLOURS[code] for code in piece.split(";") if code in COLOURS), "")
        elif piece:
            fill = f' fill="{colour}"' if colour else ""
            parts.append(f"<tspan{fill}>{escape(piece)}</tspan>")
    return "".join(parts)


def svg(command: list[str], lines: list[tuple[float, str]]) -> str:
    """Return the recording as one SVG."""
    shown = [(0.0, f"\x1b[1m$ {shlex.join(command)}"), *lines]
    width = round(2 * MARGIN + ADVANCE * max(len(SGR.sub("", line)) for _, line in shown))
    height = 2 * MARGIN + LEADING * len(shown)
    total = shown[-1][0] + HOLD
    rows = "\n".join(
        f'<text y="{MARGIN + LEADING * (number + 0.75):g}" x="{MARGIN}" xml:space="preserve">{spans(line)}'
        f'<animate attributeName="opacity" dur="{total:.2f}s" repeatCount="indefinite" calcMode="discrete" '
        f'values="0;1" keyTimes="0;{at / total:.4f}"/></text>'
        if at
        else f'<text y="{MARGIN + LEADING * (number + 0.75):g}" x="{MARGIN}" xml:space="preserve">{spans(line)}</text>'
        for number, (at, line) in enumerate(shown)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">\n'
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n'
        f'<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" fill="#c9d1d9">\n{rows}\n</g>\n'
        "</svg>\n"
    )


def main() -> None:
    """Record the command of the arguments."""
    out, *command = sys.argv[1:]
    Path(out).write_text(svg(command, shortened(recorded(command))), encoding="utf-8")


if __name__ == "__main__":
    main()
