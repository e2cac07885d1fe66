"""What goes wrong, in the daemon's own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mesh.api.errors import RequestError
from mesh.cli.exits import Stop


class FleetError(Exception):
    """The daemon refused, or is not there. `code` is a word for programs, "NoDaemon" for the
    latter; `hint` says what to try."""

    def __init__(self, code: str, text: str, hint: str) -> None:
        super().__init__(f"{text}. try: {hint}" if hint else text)
        self.code: Final = code
        self.text: Final = text
        self.hint: Final = hint


@contextmanager
def told() -> Iterator[None]:
    """What the command line ends with is raised here as a FleetError."""
    try:
        yield
    except RequestError as error:
        raise FleetError(error.code, error.text, error.hint) from error
    except Stop as error:
        raise FleetError("NoDaemon", error.text, error.hint) from error
