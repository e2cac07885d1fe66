"""One create, `PUT /api/v0/asks/{offer}/`, and what came of it.

A `price` makes it a bid: dollars an hour for the machine, its disk not counted. A reply that is an
error may still name a `new_contract`, a stopped machine whose disk is paid for: it was made.
"""

from __future__ import annotations

from typing import Final

from providers.rental.boot import PORT, SelfEnd, script
from providers.rental.contract import Created, Made, Order, Refused, Reply, Request, Unclear
from providers.rental.reading import identity, mapping, silent
from providers.rental.units import NUSD
from providers.vastai.errors import AUTH, NO_SUCH_ASK, good, problem
from providers.vastai.money import LEAST_BID_NUSD, MOST_BID_NUSD, bid_nusd, disk_gb
from providers.vastai.profile import PROFILE

MAX_ONSTART: Final = 4096  # characters, of onstart and args together
MAX_IMAGE: Final = 1024
# With these nothing was made; any other is unclear.
_NO: Final = frozenset(
    {AUTH, NO_SUCH_ASK, "invalid_args", "invalid_price", "no_ssh_key_for_vm", "missing_billing"}
)


def self_end(base_url: str) -> SelfEnd:
    """How a machine ends itself, with the key in its environment that can do nothing else."""
    return SelfEnd(
        method="DELETE",
        url=f"{base_url}/api/v0/instances/$CONTAINER_ID/",
        header="Authorization: Bearer $CONTAINER_API_KEY",
        body="{}",
    )


def create_request(order: Order, base_url: str) -> Request | Refused:
    """The request, or why it would be refused: then nothing is sent. `base_url` is where the
    machine asks for its own end."""
    offer_id, onstart = identity(order.offer.offer_id), script(order, self_end(base_url))
    if not offer_id:
        return Refused(code="invalid_args", text="the offer's id is none")
    if len(onstart) > MAX_ONSTART:
        return Refused(
            code="invalid_args", text=f"the boot script exceeds {MAX_ONSTART} characters"
        )
    if len(order.label.encode()) > PROFILE.label_bytes or len(order.image) > MAX_IMAGE:
        return Refused(code="invalid_args", text="the label or the image's name is too long")
    body: dict[str, object] = {
        "client_id": "me",
        "image": order.image,
        "label": order.label,
        "disk": disk_gb(order.disk_bytes),
        "runtype": "ssh_direct",
        "onstart": onstart,
        "env": {f"-p {PORT}:{PORT}": "1"},
        "target_state": "running",
        "cancel_unavail": True,  # else a machine that can't start now is left stopped, and paid for
    }
    if order.offer.spot:
        bid = _bid(order)
        if not LEAST_BID_NUSD <= bid <= MOST_BID_NUSD:
            return Refused(code="invalid_price", text="the bid is outside of what Vast.ai takes")
        body["price"] = bid / NUSD  # steps of $0.0001: the float's text is exact
    return Request(op="create", method="PUT", path=f"/api/v0/asks/{offer_id}/", body=body)


def _bid(order: Order) -> int:
    """The accelerators' part of what is paid at most; the disk comes on top of it."""
    most = order.bid_hourly_nusd
    return bid_nusd(
        (order.offer.hourly_nusd if most is None else most) - order.offer.stopped_hourly_nusd
    )


def created_from(reply: Reply) -> Created:
    """What a create came to."""
    said, words = problem(reply)
    made = _contract(mapping(reply.body))
    if made:
        return Made(instance_id=made, code="" if good(reply) else said or f"http_{reply.status}")
    if silent(reply):
        return Unclear(code=silent(reply))
    if reply.status == 401:
        return Refused(code=AUTH, text=words)
    return Refused(code=said, text=words) if said in _NO else Unclear(code="odd_reply")


def _contract(body: dict[str, object]) -> str:
    """The new machine's id, wherever the reply has it."""
    places = (body, mapping(body.get("error")), mapping(body.get("details")))
    return next((i for p in places if (i := identity(p.get("new_contract")))), "")
