"""Who was invited and who waits to be let in: kept on disk, so that a restart forgets nothing."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

import msgspec

from mesh.edge.disk import StoreError, explained, write_private
from mesh.edge.transport.anteroom import place_of
from mesh.policy import pairing

BOOK_FILE: Final = "pairing.json"
# Invites a person has open at a time; a script that makes more should reuse one with --uses.
MAX_INVITES: Final = 64
# Strangers who asked to be let in: enough for a classroom, 32 KiB in all.
MAX_PENDING: Final = 64
# From one address, so that one machine can't fill the list for the others.
MAX_PENDING_PER_ADDRESS: Final = 4
MAX_IGNORED: Final = 256
# Who asked and went away is forgotten; who still asks does so every few seconds.
PENDING_MS: Final = 3_600_000


class Invite(msgspec.Struct, kw_only=True):
    """An open invitation. `used_by` are keys (hex) that came in with it."""

    secret: str
    role: str
    expires_ms: int
    uses: int
    used_by: list[str]


class Pending(msgspec.Struct, kw_only=True, frozen=True):
    """A stranger who asks to be let in."""

    key: str
    name: str
    tls: str
    address: str
    port: int
    asked_ms: int


class _Pages(msgspec.Struct, kw_only=True):
    invites: dict[str, Invite] = {}
    pending: dict[str, Pending] = {}
    ignored: list[str] = []


class PairingBook:
    """The invites and the waiting strangers of one peer; every change is on disk at once."""

    def __init__(self, home: Path) -> None:
        self._path: Final = home / BOOK_FILE
        self._pages = _read(self._path)

    def invite(self, role: str, ttl_ms: int, uses: int, now: int) -> Invite | None:
        """A new invite, or None where too many are open."""
        self._forget(now)
        if len(self._pages.invites) >= MAX_INVITES:
            return None
        secret = secrets.token_bytes(pairing.SECRET_BYTES)
        made = Invite(
            secret=secret.hex(), role=role, expires_ms=now + ttl_ms, uses=uses, used_by=[]
        )
        self._pages.invites[pairing.invite_id(secret)] = made
        self._save()
        return made

    def find(self, invite_id: str) -> Invite | None:
        """The invite of that id, expired and used-up ones too until they are forgotten."""
        return self._pages.invites.get(invite_id)

    def use(self, invite: Invite, key: str) -> None:
        """Count a use, before the guest hears of it; the same guest counts once."""
        if key not in invite.used_by:
            invite.used_by.append(key)
            self._save()

    def give_back(self, invite: Invite, key: str) -> None:
        """The use came to nothing on our side."""
        if key in invite.used_by:
            invite.used_by.remove(key)
            self._save()

    def ask(self, asked: Pending, now: int) -> str:
        """Note that a stranger waits; "" or why it can't."""
        self._forget(now)
        pending = self._pages.pending
        if asked.key in self._pages.ignored:
            return "ignored"
        others = [one for one in pending.values() if one.key != asked.key]
        near = sum(place_of(one.address) == place_of(asked.address) for one in others)
        if len(others) >= MAX_PENDING or near >= MAX_PENDING_PER_ADDRESS:
            return "too many are waiting already"
        new = asked.key not in pending
        pending[asked.key] = asked
        if new:
            self._save()
        return ""

    def waiting(self, now: int) -> list[Pending]:
        """Everyone who waits, the longest first."""
        self._forget(now)
        return list(self._pages.pending.values())

    def settle(self, key: str) -> Pending | None:
        """Take a stranger off the list: it was let in."""
        found = self._pages.pending.pop(key, None)
        if key in self._pages.ignored:
            self._pages.ignored.remove(key)
        self._save()
        return found

    def ignore(self, key: str) -> bool:
        """Neither show nor answer this stranger again."""
        found = self._pages.pending.pop(key, None)
        if found is not None:
            self._pages.ignored = [*self._pages.ignored, key][-MAX_IGNORED:]
            self._save()
        return found is not None

    def open_invites(self, now: int) -> list[Invite]:
        """Invites that would still let somebody in."""
        found = self._pages.invites.values()
        return [one for one in found if now < one.expires_ms and len(one.used_by) < one.uses]

    def _forget(self, now: int) -> None:
        """Drop what is a day past its end: until then a late guest hears why."""
        pages = self._pages
        pages.invites = {
            k: one for k, one in pages.invites.items() if now < one.expires_ms + 86_400_000
        }
        pages.pending = {
            k: one for k, one in pages.pending.items() if now < one.asked_ms + PENDING_MS
        }

    def _save(self) -> None:
        """On disk, or not at all: what the disk refuses is forgotten here too."""
        try:
            with explained("cannot keep who was invited"):
                write_private(self._path, msgspec.json.encode(self._pages).decode())
        except StoreError:
            self._pages = _read(self._path)
            raise


def _read(path: Path) -> _Pages:
    """What was kept; a damaged book is an empty one: invites can be made again."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Pages)
    except (OSError, msgspec.MsgspecError, RecursionError):
        return _Pages()
