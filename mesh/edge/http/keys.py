"""Routes about keys and usage: on loopback alone, and no answer holds a hash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from aiohttp import web

from mesh.edge.http.guard import HttpRefusal, answer, read_body, refuse_unknown
from mesh.edge.http.roles import ROLE, Route
from mesh.state.members import MEMBER, VIEWER

MAX_MS_DIGITS: Final = 15  # an instant in milliseconds; longer is none


class ServedKeys(Protocol):
    """What the routes need of whoever looks after keys."""

    def rows(self) -> list[dict[str, object]]:
        """Every key of the fleet."""

    def usage(self, by: str, since_ms: int) -> dict[str, object]:
        """What requests used."""

    async def add(self, body: Mapping[str, object]) -> dict[str, object]:
        """Make a key."""

    async def revoke(self, wanted: str, role: str) -> dict[str, object]:
        """Take a key back."""


def key_routes(keys: ServedKeys) -> list[Route]:
    """A secret is told to this machine's own user alone; what its key may do, the ledger tells."""

    async def get_keys(request: web.Request) -> web.Response:
        """Every key of the fleet; no secret and no hash."""
        refuse_unknown(request.query, ())
        return answer({"keys": keys.rows()})

    async def post_key(request: web.Request) -> web.Response:
        """Make a key; 201 with its secret, this once."""
        return answer(await keys.add(await read_body(request)), 201)

    async def post_revoke(request: web.Request) -> web.Response:
        """Take a key back."""
        refuse_unknown(await read_body(request), ())
        return answer(await keys.revoke(request.match_info["id"], request[ROLE]))

    async def get_usage(request: web.Request) -> web.Response:
        """What requests to served models used."""
        refuse_unknown(request.query, ("by", "since"))
        return answer(keys.usage(request.query.get("by", "key"), _since(request)))

    return [
        Route("GET", "/v1/keys", VIEWER, get_keys),
        Route("POST", "/v1/keys", MEMBER, post_key),
        Route("POST", "/v1/keys/{id}/revoke", MEMBER, post_revoke),
        Route("GET", "/v1/usage", VIEWER, get_usage),
    ]


def _since(request: web.Request) -> int:
    """Milliseconds UTC; 0 for always."""
    text = request.query.get("since", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_MS_DIGITS):
        raise HttpRefusal(400, "BadField", f"since={text[:40]!r}", "milliseconds UTC")
    return int(text)
