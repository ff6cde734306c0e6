"""What the terminal can show: its width, colour or not, block characters or ASCII.

Made once from a stream and the environment variables COLUMNS, NO_COLOR (https://no-color.org),
FORCE_COLOR and TERM; the renderers only ask this object. It knows nothing of what is shown.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_WIDTH = 80
MIN_WIDTH = 40
_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_PROBE = "█▏…·"


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """`width` in columns; `colour` and `unicode` say what may be used."""

    width: int = DEFAULT_WIDTH
    colour: bool = False
    unicode: bool = True

    def paint(self, style: str, text: str) -> str:
        """`text` in a style: names of colours, joined with "+", or "" for none."""
        if not self.colour or not style or not text.strip():
            return text
        codes = ";".join(_CODES[name] for name in style.split("+"))
        return f"\x1b[{codes}m{text}\x1b[0m"

    @property
    def ellipsis(self) -> str:
        """What stands for text that was cut."""
        return "…" if self.unicode else ".."

    @property
    def dot(self) -> str:
        """What separates short facts in one line."""
        return "·" if self.unicode else "-"

    def cut(self, text: str, width: int) -> str:
        """`text` in at most `width` columns, with an ellipsis where it was cut."""
        if cells(text) <= width:
            return text
        end = self.ellipsis
        room = max(0, width - len(end))
        while cells(text) > room:
            text = text[:-1]
        return (text.rstrip() + end)[:width]

    def squeeze(self, text: str, width: int) -> str:
        """`text` in exactly `width` columns; what is too long loses its middle, because names have
        what tells them apart at their ends."""
        if cells(text) > width and text.isascii():
            indent = len(text) - len(text.lstrip())
            kept = max(0, width - indent - len(self.ellipsis))
            tail = kept * 2 // 5
            text = text[: indent + kept - tail] + self.ellipsis + text[len(text) - tail :]
        return self.pad(text, width)

    def pad(self, text: str, width: int) -> str:
        """`text` in exactly `width` columns, cut or filled on the right."""
        text = self.cut(text, width)
        return text + " " * (width - cells(text))

    def bar(self, start: float, length: float, width: int) -> str:
        """A bar in `width` columns; `start` and `length` are parts of the whole, 0 to 1.

        What is too short to be seen still gets the thinnest mark, so nothing disappears.
        """
        first = min(int(start * width), width - 1)
        eighths = max(1, round(length * width * 8))
        eighths = min(eighths, (width - first) * 8)
        full, rest = divmod(eighths, 8)
        if self.unicode:
            drawn = _EIGHTHS[8] * full + (_EIGHTHS[rest] if rest else "")
        else:
            drawn = "#" * full + ("#" if rest >= 4 else "" if full else "|")
        return (" " * first + drawn).ljust(width)


def terminal_for(stream: TextIO, environ: Mapping[str, str]) -> Terminal:
    """The terminal behind `stream`; sensible values where it is a file or a pipe."""
    return Terminal(
        width=_width(stream, environ),
        colour=_colour(stream, environ),
        unicode=_can_encode(stream),
    )


def cells(text: str) -> int:
    """How many columns `text` takes: East Asian wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cell_width(char) for char in text)


def plain(text: str) -> str:
    """`text` on one line, without control characters: names come from the user's program."""
    return "".join(char if char.isprintable() else " " for char in text)


def _cell_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _width(stream: TextIO, environ: Mapping[str, str]) -> int:
    columns = environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns) > 0:
        return max(MIN_WIDTH, int(columns))
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError, AttributeError):
        width = 0
    return max(MIN_WIDTH, width) if width else DEFAULT_WIDTH


def _colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    if environ.get("NO_COLOR"):
        return False
    forced = environ.get("FORCE_COLOR", "")
    if forced:
        return forced != "0"
    return stream.isatty() and environ.get("TERM") != "dumb"


def _can_encode(stream: TextIO) -> bool:
    try:
        _PROBE.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
