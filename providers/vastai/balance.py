"""What is left on the account, `GET /api/v0/users/current`."""

from __future__ import annotations

from providers.rental.contract import Balance, Reply, Request, Unread
from providers.rental.reading import mapping
from providers.rental.units import usd
from providers.vastai.errors import failure


def balance_request() -> Request:
    """Ask for the account."""
    return Request(op="balance", method="GET", path="/api/v0/users/current")


def balance_from(reply: Reply) -> Balance | Unread:
    """`credit` where it is given, which is what was paid in and not yet spent; else `balance`, the
    one that its API's description names. None where neither is a sum."""
    if (failed := failure(reply)) is not None:
        return failed
    body = mapping(reply.body)
    credit = usd(body.get("credit"))
    return Balance(left_nusd=usd(body.get("balance")) if credit is None else credit)
