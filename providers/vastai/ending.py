"""A machine's end, `DELETE /api/v0/instances/{id}/`. No answer proves it; listings do."""

from __future__ import annotations

from typing import Final

from providers.rental.contract import Accepted, Ended, Refused, Reply, Request, Unclear
from providers.rental.reading import identity, silent
from providers.vastai.errors import AUTH, good, problem

_GONE: Final = frozenset({"no_such_instance", "not_found"})


def end_request(instance_id: str) -> Request | Refused:
    """The request; refused here where the id is none that can stand in a path."""
    if not identity(instance_id):
        return Refused(code="invalid_args", text="the machine's id is none")
    path = f"/api/v0/instances/{instance_id}/"
    return Request(op="terminate", method="DELETE", path=path, body={})


def ended_from(reply: Reply) -> Ended:
    """Whether the end was taken. A reply without a clear word is unclear, and asked again."""
    said, words = problem(reply)
    if silent(reply):
        return Unclear(code=silent(reply))
    if good(reply):
        return Accepted()
    if said in _GONE:
        return Accepted(gone=True)
    if said or reply.status in (401, 403):
        return Refused(code=said or AUTH, text=words)
    return Unclear(code="odd_reply")
