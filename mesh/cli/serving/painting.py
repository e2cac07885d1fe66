"""A model's words for a terminal: no control characters, and a little Markdown as they come.

Headings, lists, code and bold are painted; all else stands as it was written. A few characters are
held back while they may still become a mark.
"""

import re
from typing import Final, final

# ECMA-48, 8.3.117.
RESET: Final = "\x1b[0m"
BOLD: Final = "\x1b[1m"
DIM: Final = "\x1b[2m"
CYAN: Final = "\x1b[36m"
CLEAR_LINE: Final = "\r\x1b[K"
FENCE: Final = "```"
# Invisible, and parts of words and pictures: joiners of Persian and of emoji.
JOINERS: Final = "\u200c\u200d"
# What a line begins with while it may still be a heading, an item or a fence.
MAYBE: Final = re.compile(r" {0,8}(#{0,6}|[-*+]|`{0,2})")
HEADING: Final = re.compile(r" {0,3}#{1,6} ")
ITEM: Final = re.compile(r"( {0,8})[-*+] ")


def tame(text: str) -> str:
    """The text without control characters: a model must not move a person's cursor."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" or c in JOINERS else _blank(c) for c in text)


def _blank(c: str) -> str:
    """A blank of any width stays one; what is no blank goes."""
    return " " if c != "\r" and c.isspace() else ""


@final
class Painter:
    """Paints a text that comes in pieces."""

    def __init__(self) -> None:
        self._held = ""  # may still become a mark
        self._begins = True  # nothing of the line was decided
        self._fenced = False
        self._marks: dict[str, bool] = {}  # style -> whether it is on

    def feed(self, text: str) -> str:
        """What to print now."""
        return "".join(map(self._step, text))

    def end(self) -> str:
        """What was held back, and the end of every style."""
        if self._is_fence():
            self._held = ""
        said = self._plain() if self._begins else ""
        said += self._inline(last=True) if self._held else ""
        styled, self._marks = any(self._marks.values()), {}
        self._begins = True
        return said + (RESET if styled else "")

    def _step(self, c: str) -> str:
        if c == "\n":
            return self._line_ends()
        self._held += c
        if self._begins:
            return self._begin()
        return self._inline()

    def _line_ends(self) -> str:
        if self._is_fence():
            return self._fence()
        return self.end() + "\n"

    def _is_fence(self) -> bool:
        return self._begins and self._held.strip().startswith(FENCE)

    def _fence(self) -> str:
        """A line that begins or ends a piece of code: its language is worth a word."""
        name, self._held = self._held.strip().strip("`").strip(), ""
        self._fenced = not self._fenced
        return f"{DIM}{name}{RESET}\n" if name else "\n" if self._fenced else ""

    def _begin(self) -> str:
        """Look whether the line is a heading, an item or a fence; "" while nobody knows."""
        held = self._held
        if self._is_fence() or MAYBE.fullmatch(held):
            return ""
        if not self._fenced and HEADING.fullmatch(held):
            self._held, self._begins = "", False
            return self._turned(BOLD)
        found = None if self._fenced else ITEM.fullmatch(held)
        if found:
            self._held, self._begins = "", False
            return f"{found[1]}• "
        return self._plain()

    def _plain(self) -> str:
        """The line is one like any other."""
        text, self._held, self._begins = self._held, "", False
        if self._fenced:
            return self._turned(CYAN) + text if text else ""
        return "".join(map(self._next, text))

    def _next(self, c: str) -> str:
        self._held += c
        return self._inline()

    def _inline(self, *, last: bool = False) -> str:
        """Bold and code, as far as what is held says which."""
        held = self._held
        if self._fenced:
            return self._said(held)
        if held == "`":
            self._held = ""
            return self._turned(CYAN)
        if self._marks.get(CYAN) or not held.startswith("*"):
            return self._said(held)
        if len(held) < 3 and not last and held in ("*", "**"):
            return ""
        return self._stars(held)

    def _stars(self, held: str) -> str:
        """Two stars before a word begin what is bold, two after one end it; one is a star."""
        if not held.startswith("**"):
            return self._said(held)
        rest = held[2:]
        if not self._marks.get(BOLD) and (not rest or rest.isspace()):
            return self._said(held)
        self._held = ""
        return self._turned(BOLD) + "".join(map(self._next, rest))

    def _said(self, text: str) -> str:
        self._held = ""
        return text

    def _turned(self, style: str) -> str:
        """A style on or off; those that stay on are said again."""
        self._marks[style] = not self._marks.get(style, False)
        if self._marks[style]:
            return style
        return RESET + "".join(one for one, on in self._marks.items() if on)
