"""An answer on a terminal, or in a pipe: as it comes, and what is waited for before it."""

import os
import sys
from contextlib import suppress
from typing import Final, final

import click

from mesh.cli.output import is_encodable, plain, say
from mesh.cli.serving.chatting import Note, Piece
from mesh.cli.serving.painting import CLEAR_LINE, DIM, RESET, Painter, tame
from mesh.cli.table import shortened


@final
class Screen:
    """Where an answer is shown. `quiet`: it is kept for a program instead."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet: Final = quiet
        self._tty: Final = sys.stdout.isatty()
        self._live: Final = not quiet and sys.stderr.isatty()
        self._styled: Final = self._tty and is_coloured()
        self._noted = False
        self.begin()

    def begin(self) -> None:
        """A new answer."""
        self._painter = Painter()
        self._thinks = False
        self.answer = self.thoughts = ""

    def shows(self, one: Piece | Note) -> None:
        """Some of an answer, or what it waits for."""
        if isinstance(one, Note):
            self.notes(one.text)
            return
        self._unnote()
        text = tame(one.text)
        if one.thought:
            self.thoughts += text
            self._thought(text)
            return
        self._thoughts_end()
        text = text if self.answer else text.lstrip()
        self.answer += text
        self._write(self._painter.feed(text) if self._styled else text)

    def notes(self, text: str) -> None:
        """One line that the next one is written over."""
        line = tame(text).replace("\n", " ")
        if self._live:
            self._noted = True
            _over(shortened(line, _columns() - 1))
        elif not self._quiet:
            say(line, err=True)

    def ends(self) -> None:
        """The answer is over, or was stopped."""
        self._unnote()
        self._thoughts_end()
        self._write(self._painter.end() if self._styled else "")
        if self.answer and not self.answer.endswith("\n"):
            self._write("\n")

    def tells(self, text: str) -> None:
        """A line of ours below an answer."""
        if text and not self._quiet:
            dim = self._live and is_coloured()
            say(f"{DIM}{text}{RESET}" if dim else text, err=True)

    def _thought(self, text: str) -> None:
        """Reasoning is for a person at a terminal alone."""
        if not self._tty:
            return
        begins, self._thinks = not self._thinks, True
        first = DIM if self._styled else "[thinking]\n"
        self._write((first if begins else "") + text)

    def _thoughts_end(self) -> None:
        if self._thinks:
            self._thinks = False
            self._write(f"{RESET}\n\n" if self._styled else "\n[answer]\n")

    def _unnote(self) -> None:
        if self._noted:
            self._noted = False
            _over("")

    def _write(self, text: str) -> None:
        if text and not self._quiet:
            click.echo(text if is_encodable(text) else plain(text), nl=False, color=self._styled)
            sys.stdout.flush()


def is_coloured() -> bool:
    """Whether colours are allowed: no-color.org, and terminals that have none."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _columns() -> int:
    with suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns
    return 80


def _over(text: str) -> None:
    """Write over the line that was noted last."""
    shown = text if is_encodable(text) else plain(text)
    click.echo(CLEAR_LINE + shown, nl=False, err=True, color=True)
