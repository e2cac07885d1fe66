"""Keys: made here, shown once, and found again by their secrets' hashes alone."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, final

from mesh.api.errors import RequestError
from mesh.api.rows import Row, peer_name
from mesh.api.serving.keys import find_key, key_row, key_rows, parse_key
from mesh.api.serving.usage import usage_report
from mesh.ledger.event import Event
from mesh.state.facts.fact import encode
from mesh.state.facts.serving import KeyAdded, KeyRevoked, UsageRow, UsageSummarised
from mesh.state.members import ADMIN
from mesh.state.peer_id import short_id
from mesh.state.serving.keys import MAX_KEYS, KeyView
from mesh.state.serving.rows import bounded_rows
from mesh.state.state import State

PREFIX: Final = "fl-"  # so that scanners of source code can tell what they found
SECRET_BYTES: Final = 32  # random: nobody guesses it, so its hash needs no salt and no slowness
ID_BYTES: Final = 4  # random, beside the author's short id: a peer has a thousand keys at most
LOOK_MS: Final = 1000  # how long a verdict on a key's author may take to reach its requests

Emit = Callable[[str, str, dict[str, object]], Awaitable[Event]]


def hash_of(secret: str) -> str:
    """What the ledger keeps of a secret: blake2b-256, hex."""
    raw = secret.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(raw, digest_size=32).hexdigest()


def find_by_secret(keys: Iterable[KeyView], secret: str) -> KeyView | None:
    """The key that has this secret, also one that works no more; None for none. Every key is
    compared in full, so the time it takes tells nothing of any."""
    if not secret.startswith(PREFIX):
        return None  # tools send what they make up where no key is needed
    wanted, found = hash_of(secret).encode(), None
    for one in keys:
        if hmac.compare_digest(one.hash.encode(), wanted):
            found = one if found is None or one.works else found
    return found


@final
class Keys:
    """One peer's side of keys and usage. `device_id` stands in events that are about no device."""

    def __init__(
        self,
        author: str,
        device_id: str,
        state: Callable[[], State],
        emit: Emit,
        now: Callable[[], int],
    ) -> None:
        self._author, self._device_id = author, device_id
        self._state, self._emit, self._now = state, emit, now
        # As of an event and a second: not every request gathers the keys and adds up the usage.
        self._as_of: tuple[int, int, int] = (0, 0, 0)
        self._views: tuple[KeyView, ...] = ()
        self._spent: dict[tuple[str, str], int] = {}

    def find(self, secret: str) -> KeyView | None:
        """The key that a client showed, also one that works no more; None where nobody made it."""
        self._look()
        return find_by_secret(self._views, secret)

    def spent_nusd(self, key: KeyView) -> int:
        """What a key spent in the time of its budget, as the ledger has it."""
        self._look()
        asked = (key.key_id, key.budget_per)
        if asked not in self._spent:
            self._spent[asked] = self._state().spent_nusd(*asked, self._now())
        return self._spent[asked]

    def _look(self) -> None:
        """Gather the keys anew, and forget what they spent, where the ledger or the second is
        another: an author's events may be folded again without a new one."""
        state = self._state()
        as_of = (id(state), state.event_count, self._now() // LOOK_MS)
        if as_of != self._as_of:
            self._as_of, self._spent = as_of, {}
            self._views = tuple(state.keys.values())

    def rows(self) -> list[Row]:
        """Every key of the fleet."""
        return key_rows(self._state(), self._now())

    def usage(self, by: str, since_ms: int) -> Row:
        """What requests used."""
        return usage_report(self._state(), by, since_ms)

    async def add(self, body: Mapping[str, object]) -> Row:
        """Make a key; its id and its secret, which is told this once."""
        asked, state = parse_key(body), self._state()
        if any(one.works and one.name == asked.name for one in state.keys.values()):
            text = f"there is a key called {asked.name}"
            raise RequestError("KeyExists", text, f"fleet keys revoke {asked.name}", 409)
        self._refuse_too_many(state)
        secret = PREFIX + secrets.token_hex(SECRET_BYTES)
        key_id = f"k-{short_id(self._author)}-{secrets.token_hex(ID_BYTES)}"
        fact = KeyAdded(
            key_id=key_id,
            name=asked.name,
            hash=hash_of(secret),
            models=asked.models,
            rate_per_min=asked.rate_per_min,
            budget_nusd=asked.budget_nusd,
            budget_per=asked.budget_per,
        )
        await self._emit("key_added", self._device_id, encode(fact))
        return {"key_id": key_id, "name": asked.name, "secret": secret}

    def _refuse_too_many(self, state: State) -> None:
        """The ledger keeps the newest MAX_KEYS of a peer: the next one must push out none that
        works."""
        own = [one for one in state.keys.values() if one.author == self._author]
        oldest = min(own, key=lambda one: one.added_ms, default=None)
        if len(own) >= MAX_KEYS and oldest is not None and oldest.works:
            text = f"this peer made {MAX_KEYS} keys, and the oldest, {oldest.name}, still works"
            raise RequestError("TooMany", text, f"fleet keys revoke {oldest.key_id}", 409)

    async def revoke(self, wanted: str, role: str) -> Row:
        """Take a key back: one of this peer's, or as an admin anybody's. Said twice is once."""
        state = self._state()
        key = find_key(state, wanted)
        if key.author != self._author and role != ADMIN:
            whose = peer_name(state, key.author)
            text = f"{key.name} is a key of {whose}: it or an admin may revoke it"
            raise RequestError("NotOwner", text, f"there: fleet keys revoke {key.key_id}", 403)
        if not key.revoked_ms:
            fact = encode(KeyRevoked(key_id=key.key_id))
            await self._emit("key_revoked", self._device_id, fact)
        return key_row(self._state(), self._state().keys[key.key_id], self._now())

    async def tell_usage(self, begun_ms: int, span_ms: int, rows: Iterable[UsageRow]) -> bool:
        """Sign what requests used of this peer's own devices, once a minute at most; False where
        there was nothing. Rows beyond what one event holds become one for each device."""
        told = bounded_rows(rows)
        if told:
            fact = UsageSummarised(begun_ms=begun_ms, span_ms=span_ms, rows=told)
            await self._emit("usage_summarised", self._device_id, encode(fact))
        return bool(told)
