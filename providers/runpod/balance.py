"""What is left to spend. REST v2 has no balance; GraphQL has, and says failures with a 200."""

from __future__ import annotations

from typing import Final

from providers.rental.contract import Balance, Reply, Request, Unread
from providers.rental.reading import mapping
from providers.rental.units import usd
from providers.runpod.replies import said, unread

QUERY: Final = "query { myself { clientBalance currentSpendPerHr } }"
AUTH_CODES: Final = ("UNAUTHENTICATED", "FORBIDDEN")


def balance_request() -> Request:
    """Ask for the account's balance."""
    return Request(op="balance", method="POST", path="/graphql", body={"query": QUERY})


def balance_from(reply: Reply) -> Balance | Unread:
    """Dollars left and dollars an hour going; None for what is not said."""
    if (failed := unread(reply)) is not None:
        return failed
    body = mapping(reply.body)
    errors = body.get("errors")
    if errors:
        return _error(errors)
    me = mapping(body.get("data")).get("myself")
    if not isinstance(me, dict):
        return Unread(why="malformed")
    return Balance(left_nusd=usd(me.get("clientBalance")), hourly_nusd=_spent(me))


def _spent(me: dict[str, object]) -> int | None:
    found = usd(me.get("currentSpendPerHr"))
    return found if found is not None and found >= 0 else None


def _error(errors: object) -> Unread:
    first = mapping(errors[0]) if isinstance(errors, list) else {}
    code = said(mapping(first.get("extensions")).get("code"), 60)
    text = said(first.get("message"))
    is_auth = code in AUTH_CODES or "unauthorized" in text.lower()
    return Unread(why="auth" if is_auth else code or "malformed", text=text)
