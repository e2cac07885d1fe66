"""A launch, and what came of it. One request makes one instance, and nothing makes it idempotent:
what is unclear is looked for by its name and its tag."""

from __future__ import annotations

from typing import Final

from providers.lambdalabs.errors import failed
from providers.lambdalabs.listing import LABEL_TAG, LOGIN
from providers.lambdalabs.offers import type_and_region
from providers.lambdalabs.profile import API
from providers.lambdalabs.reading import items, word
from providers.rental import boot
from providers.rental.contract import Created, Made, Order, Refused, Reply, Request
from providers.rental.reading import mapping

# Our own words for a launch that was never asked for.
ODD_OFFER: Final = "fleet/odd-offer"


def request(order: Order, key_name: str) -> Request | Refused:
    """The launch. The order's image is a container's and is not used: this is a machine with its
    own system, Lambda Stack, and so is its disk, which the type has."""
    where = type_and_region(order.offer.offer_id)
    if where is None:
        return Refused(code=ODD_OFFER, text="the offer names no instance type and region")
    body = {
        "instance_type_name": where[0],
        "region_name": where[1],
        "ssh_key_names": [key_name],
        "name": order.label,
        "tags": [{"key": LABEL_TAG, "value": order.label}],
        # cloud-init runs what begins with "#!" as root, at the end of the first boot.
        "user_data": boot.script(order, None, user=LOGIN),
    }
    path = f"{API}/instance-operations/launch"
    return Request(op="create", method="POST", path=path, body=body)


def read(reply: Reply) -> Created:
    """What was made. Of several instances the lowest id is it; the label finds the others."""
    data = mapping(mapping(reply.body).get("data"))
    ids = [word(one) for one in items(data.get("instance_ids")) or []]
    if 200 <= reply.status < 300 and ids and all(ids):
        return Made(instance_id=min(ids))
    return failed(reply)
