"""Which of several things a person means by a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from mesh.api.errors import RequestError

T = TypeVar("T")


def only_one(
    named: Sequence[T], wanted: str, *, kind: str, hint: str, id_of: Callable[[T], str]
) -> T:
    """The only one of this name; RequestError for none, and for several, with their ids.

    `kind` is what such things are called, `hint` where they are listed.
    """
    if not named:
        raise RequestError("NotFound", f"no {kind} is called {wanted[:80]!r}", hint, 404)
    if len(named) > 1:
        ids = " or ".join(sorted(map(id_of, named))[:4])
        text = f"{len(named)} {kind}s are called {wanted[:80]}"
        raise RequestError("Ambiguous", text, f"its id: {ids}", 409)
    return named[0]
