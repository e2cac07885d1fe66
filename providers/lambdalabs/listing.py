"""The account's instances. One row that can't be read makes the whole listing none: it could be
ours, and a listing must prove that a machine is not there."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from providers.lambdalabs.errors import unread
from providers.lambdalabs.profile import API
from providers.lambdalabs.reading import items, text, word
from providers.rental.contract import Page, Reply, Request, Row, SshAt, Status, Unread
from providers.rental.labels import is_ours
from providers.rental.reading import mapping
from providers.rental.units import cents_per_hour

LOGIN: Final = "ubuntu"
SSH_PORT: Final = 22
# A name can be changed by whoever has the account; so a tag says the label, too.
LABEL_TAG: Final = "fleet-label"
BOOTING: Final = "booting"
ENDED: Final = "terminated"  # no machine any more, and no cost
NOT_LAUNCHED: Final = "vm-has-not-launched"
MAX_ROWS: Final = 5_000  # in a page; who has more is not read
MAX_TOKEN: Final = 2_000  # characters of what asks for the next page
_WORDS: Final[Mapping[str, Status]] = {
    "active": "up",
    "unhealthy": "error",
    "preempted": "preempted",
    "terminating": "terminating",
}


def request(after: str) -> Request:
    """A page; its OpenAPI knows one page alone, and some of its lists have `page_token`."""
    query = {"page_token": after} if after else {}
    return Request(op="list", method="GET", path=f"{API}/instances", query=query)


def read(reply: Reply, ssh_port: int = SSH_PORT) -> Page | Unread:
    """The page, whole and well-formed, or why it is none."""
    body = mapping(reply.body)
    data = items(body.get("data"))
    if reply.status != 200 or data is None or "error" in body:
        return unread(reply)
    if len(data) > MAX_ROWS:
        return Unread(why="malformed", text=f"{len(data)} instances in a page")
    after = _after(body)
    if after is None:
        return Unread(why="malformed", text="a page token that is no text")
    rows = []
    for one in data:
        row = _row(mapping(one), ssh_port)
        if row is None:
            return Unread(why="malformed", text="an instance without an id or a status")
        if mapping(one).get("status") != ENDED:
            rows.append(row)
    return Page(rows=tuple(rows), after=after)


def _after(body: Mapping[str, object]) -> str | None:
    """What asks for the next page, "" at the last; None where nobody could tell."""
    token = body.get("page_token")
    if token is None:
        return ""
    return token if isinstance(token, str) and len(token) <= MAX_TOKEN else None


def _row(one: Mapping[str, object], ssh_port: int) -> Row | None:
    instance_id, said = word(one.get("id")), one.get("status")
    if not instance_id or not isinstance(said, str) or not said:
        return None
    price = cents_per_hour(mapping(one.get("instance_type")).get("price_cents_per_hour")) or 0
    host = _host(one)
    return Row(
        instance_id=instance_id,
        label=_label(one),
        status=_status(said, one, has_host=bool(host)),
        price_nusd=price,
        # Nothing until it has passed its health checks, then its price whatever its state.
        rate_nusd=0 if said == BOOTING else price or None,
        ssh=SshAt(host=host, port=ssh_port, user=LOGIN) if host else None,
        note=_note(said, one),
    )


def _status(said: str, one: Mapping[str, object], *, has_host: bool) -> Status:
    """What a status word means. An unknown one is taken for a machine on its way, whose budgets
    run: to take it for a bad one would end machines that work."""
    if said in _WORDS:
        return _WORDS[said]
    if _blocked(one) == NOT_LAUNCHED:
        return "placing"
    return "container" if has_host else "image" if said == BOOTING else "placing"


def _blocked(one: Mapping[str, object]) -> str:
    """Why it can't be terminated now; "" where it can, or nothing is said."""
    action = mapping(mapping(one.get("actions")).get("terminate"))
    if action.get("available") is not False:
        return ""
    return word(action.get("reason_code")) or "it does not say why"


def _host(one: Mapping[str, object]) -> str:
    """Its public address, "" until it has one that is an address."""
    said = word(one.get("ip"))
    try:
        return str(ip_address(said))
    except ValueError:
        return ""


def _label(one: Mapping[str, object]) -> str:
    """Its name, or the label in its tags where the name is none of ours."""
    name = text(one.get("name"))
    if is_ours(name):
        return name
    tags = [mapping(tag) for tag in items(one.get("tags")) or []]
    told = [text(tag.get("value")) for tag in tags if tag.get("key") == LABEL_TAG]
    return next((value for value in told if is_ours(value)), name)


def _note(said: str, one: Mapping[str, object]) -> str:
    """Its own word for the state, and why it can't be ended yet."""
    blocked = _blocked(one)
    return text(f"{said}; can't be terminated: {blocked}" if blocked else said)
