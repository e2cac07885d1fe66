"""A machine's end: asked for as often as it takes, and refused while the machine boots."""

from __future__ import annotations

from providers.lambdalabs.errors import NOT_THERE, REASONS, code_of, failed, text_of
from providers.lambdalabs.profile import API
from providers.lambdalabs.reading import items, word
from providers.rental.contract import Accepted, Ended, Refused, Reply, Request
from providers.rental.reading import mapping


def request(instance_id: str) -> Request:
    """Ask for one machine's end."""
    path = f"{API}/instance-operations/terminate"
    return Request(op="terminate", method="POST", path=path, body={"instance_ids": [instance_id]})


def read(reply: Reply, instance_id: str) -> Ended:
    """Whether it was taken. Not there any more is taken, too, with status 404 or 400 alike; a
    success that does not name this machine is none."""
    data = mapping(mapping(reply.body).get("data"))
    ended = [word(mapping(one).get("id")) for one in items(data.get("terminated_instances")) or []]
    if 200 <= reply.status < 300 and instance_id in ended:
        return Accepted()
    if reply.status in (400, 404) and code_of(reply) == NOT_THERE:
        return Accepted(gone=True)
    result = failed(reply)
    if isinstance(result, Refused) and (reason := _reason(reply)):
        return Refused(code=reason, text=result.text)
    return result


def _reason(reply: Reply) -> str:
    """Why, in the words that listings have for it; "" where the error says none of them."""
    said = text_of(reply)
    return next((reason for reason in REASONS if reason in said), "")
