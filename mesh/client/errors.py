"""What goes wrong, in the daemon's own words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from mesh.api.errors import RequestError
from mesh.cli.exits import Stop

ANOTHER: Final = "fleet down, then fleet up --detach"


class FleetError(Exception):
    """The daemon refused, or is not there. `code` is a word for programs, "NoDaemon" for the
    latter, "NotJson" or "BadAnswer" where it answers in another form; `hint` says what to try."""

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
    except UnicodeEncodeError as error:
        raise FleetError("BadPath", f"{error.object!r} is not text", "") from error


def field(answer: Mapping[str, Any], name: str) -> Any:
    """What an answer says under a name; FleetError where it is not there."""
    try:
        return answer[name]
    except (KeyError, TypeError) as error:
        text = f"the daemon's answer has no {name}: it may be another version's"
        raise FleetError("BadAnswer", text, ANOTHER) from error


def an_object(answer: object) -> dict[str, Any]:
    """An answer that is a JSON object; FleetError for any other."""
    if isinstance(answer, dict):
        return answer
    text = "the daemon's answer is no JSON object: it may be another version's"
    raise FleetError("BadAnswer", text, ANOTHER)
