"""Vast.ai's listing, `GET /api/v1/instances/`: at most 25 machines a page, the total named.

The v0 listing is retired. A page is believed as a whole or not at all: one odd row, a count that
does not match, and it proves nothing.
"""

from __future__ import annotations

import json
import re
from typing import Final

from providers.rental.contract import Page, Reply, Request, Row, SshAt, Status, Unread
from providers.rental.reading import identity, items, mapping, text, unread
from providers.rental.units import decimal_of, usd_per_hour, whole
from providers.vastai.errors import failure
from providers.vastai.money import storage_nusd

PAGE: Final = 25  # the most it gives
MAX_TOKEN: Final = 2000
MAX_LABEL: Final = 256
USER: Final = "root"
_SSH_PORT: Final = "22/tcp"
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")
_BOOTS: Final[dict[str | None, Status]] = {
    None: "placing",
    "loading": "image",
    "created": "container",
    "running": "up",
    "exited": "exited",
    "stopped": "stopped",
}  # "offline", "unknown" and words not known here: error
_DEAD: Final = "OCI runtime create failed"  # stays "created" for good
_STOPPED: Final = "stopped"


def page_request(after: str) -> Request:
    """Ask for all machines of the account, by id; `after` is the token of the page before."""
    query = {
        "select_filters": "{}",
        "order_by": json.dumps([{"col": "id", "dir": "asc"}]),
        "limit": str(PAGE),
    }
    if after:
        query["after_token"] = after
    return Request(op="list", method="GET", path="/api/v1/instances/", query=query)


def page_from(reply: Reply) -> Page | Unread:
    """One page, or why it is none."""
    if (failed := failure(reply)) is not None:
        return failed
    body = mapping(reply.body)
    found, after = body.get("instances"), body.get("next_token") or ""
    if not isinstance(found, list) or not isinstance(after, str) or len(after) > MAX_TOKEN:
        return unread(reply)
    rows = [row for one in found if (row := _row(mapping(one))) is not None]
    said, total = body.get("instances_found"), whole(body.get("total_instances"))
    odd = len(rows) != len(found) or (said is not None and whole(said) != len(rows))
    # No page without machines leads to another: that would have no end.
    if odd or (after and not rows) or (total is None and body.get("total_instances") is not None):
        return unread(reply)
    if total is not None and total < len(rows):
        return unread(reply)
    return Page(rows=tuple(rows), after=after, total=total)


def _row(one: dict[str, object]) -> Row | None:
    """None: not a machine as it lists them."""
    instance_id, label = identity(one.get("id")), one.get("label")
    words = [one.get(k) for k in ("actual_status", "intended_status", "cur_state", "next_state")]
    if not instance_id or not all(w is None or isinstance(w, str) for w in (label, *words)):
        return None
    status, price = _status(one), usd_per_hour(one.get("dph_total")) or 0
    storage = _storage(one)
    return Row(
        instance_id=instance_id,
        label=text(label, MAX_LABEL),
        status=status,
        price_nusd=price,
        rate_nusd=(price or None) if status == "up" or storage is None else storage,
        ssh=_ssh(one) if status == "up" else None,
        note=text(one.get("status_msg")),
    )


def _status(one: dict[str, object]) -> Status:
    """Its own words for it; "stopped" in what is meant or in both states is an outbid machine, or
    one that somebody stopped."""
    both = one.get("cur_state") == _STOPPED and one.get("next_state") == _STOPPED
    if one.get("intended_status") == _STOPPED or both:
        return "stopped"
    actual = one.get("actual_status")
    if actual == "created" and _DEAD in str(one.get("status_msg"))[:1000]:
        return "error"
    return _BOOTS.get(actual if isinstance(actual, str) else None, "error")


def _storage(one: dict[str, object]) -> int | None:
    """Nano-dollars an hour of its disk: worked out, else as it says, else what is left over."""
    exact = storage_nusd(one.get("storage_cost"), one.get("disk_space"))
    if exact is not None:
        return exact
    said, total, base = (
        decimal_of(one.get(k)) for k in ("storage_total_cost", "dph_total", "dph_base")
    )
    if said is None and total is not None and base is not None:
        said = total - base
    return None if said is None or said < 0 else usd_per_hour(said) or 0


def _ssh(one: dict[str, object]) -> SshAt | None:
    """Straight to the machine where a port of it is open, else through Vast.ai's proxy."""
    mapped = items(mapping(one.get("ports")).get(_SSH_PORT))
    port = mapping(mapped[0]).get("HostPort") if mapped else None
    return _at(one.get("public_ipaddr"), port) or _at(one.get("ssh_host"), one.get("ssh_port"))


def _at(host: object, port: object) -> SshAt | None:
    number = whole(port)
    if not isinstance(host, str) or number is None or not 0 < number < 1 << 16:
        return None
    name = host.strip()
    return SshAt(host=name, port=number, user=USER) if _HOST.fullmatch(name) else None
