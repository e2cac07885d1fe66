"""Who says what about which device, and whose word it is.

An id that carries a key's short id belongs to that key. Any other id belongs to the most senior of
those who registered it. No clock decides: who signs an older date gains nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mesh.ledger.event import Event, order_key
from mesh.state.facts.device import DeviceRegistered
from mesh.state.facts.fact import decode
from mesh.state.fleet import DeviceView
from mesh.state.jobs import Key
from mesh.state.peer_id import is_named_for, short_id
from mesh.state.trust.verdicts import Seniority


@dataclass(frozen=True, slots=True)
class Claim:
    """One author's latest word on a device; `view` is None where it took the device away."""

    key: Key
    model: str  # as it last registered it
    model_key: Key
    view: DeviceView | None


@dataclass(slots=True)
class Devices:
    """Every author's claim on every device, and the last time an admin took one away."""

    claims: dict[str, dict[str, Claim]] = field(default_factory=dict)  # by device, then author
    taken_away: dict[str, dict[str, Key]] = field(default_factory=dict)  # by device, then admin
    # By device, then author: removals of what it did not register yet, on another branch it did.
    early: dict[str, dict[str, Key]] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)  # ids claimed by more than one

    def owner(self, device_id: str, seniority: Callable[[str], Seniority]) -> str:
        """Whose device it is; "" where nobody registered it."""
        claims = self.claims.get(device_id, {})
        if len(claims) < 2:
            return next(iter(claims), "")
        return min(claims, key=lambda one: (*title(one, device_id), seniority(one), one))

    def register(self, event: Event) -> None:
        """Its author says what a device is; of one author the latest word counts."""
        key, facts = order_key(event), decode(DeviceRegistered, event.payload)
        claims = self.claims.setdefault(event.device_id, {})
        known = claims.get(event.author)
        if known is not None and key < known.key:
            if key > known.model_key:
                claims[event.author] = replace(known, model=facts.model, model_key=key)
            return
        view = DeviceView(
            device_id=event.device_id,
            name=facts.name or event.device_id,
            owner=event.author,
            seen_ms=key[0],
            payload=event.payload,
        )
        gone = self.early.get(event.device_id, {}).pop(event.author, key)
        shown = view if gone <= key else None
        claims[event.author] = Claim(max(key, gone), facts.model, key, shown)
        if len(claims) > 1:
            self.shared.add(event.device_id)

    def remove(self, event: Event, *, admin: bool) -> bool:
        """Its author takes a device away: its own, or as an admin anybody's; False for neither."""
        key = order_key(event)
        own = self.claims.get(event.device_id, {}).get(event.author)
        if own is None:
            _latest(self.early.setdefault(event.device_id, {}), event.author, key)
        elif key > own.key:
            self.claims[event.device_id][event.author] = replace(own, key=key, view=None)
        if admin:
            _latest(self.taken_away.setdefault(event.device_id, {}), event.author, key)
        return own is not None or admin

    def view(self, device_id: str, owner: str) -> DeviceView | None:
        """The device as its owner registered it; None where it is gone."""
        claim = self.claims.get(device_id, {}).get(owner)
        away = self.taken_away.get(device_id, {})
        if claim is None or any(key > claim.key for key in away.values()):
            return None
        return claim.view

    def model(self, device_id: str, owner: str) -> str:
        """What the owner last called its hardware, also once the device is gone."""
        claim = self.claims.get(device_id, {}).get(owner)
        return claim.model if claim is not None else ""

    def drop(self, author: str) -> list[str]:
        """Forget what an author said; the devices that touches."""
        touched = [one for one, claims in self.claims.items() if claims.pop(author, None)]
        touched += [one for one, away in self.taken_away.items() if away.pop(author, None)]
        for away in self.early.values():
            away.pop(author, None)
        return touched


def _latest(keys: dict[str, Key], author: str, key: Key) -> None:
    keys[author] = max(key, keys.get(author, key))


def own_id(devices: Devices, author: str, device_id: str) -> str:
    """The id under which an author registers a device: one that is nobody else's.

    A device it registered without its short id, by an older version, keeps its name in old bills.
    """
    if author in devices.claims.get(device_id, {}) or is_named_for(author, device_id):
        return device_id
    return f"dev-{short_id(author)}-{device_id.removeprefix('dev-')}"


def title(author: str, name: str) -> tuple[bool]:
    """Orders claims on an id: whoever it is named for comes first."""
    return (not is_named_for(author, name),)
