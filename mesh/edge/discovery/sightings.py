"""Where each peer was seen, by which source, and how the last dial there ended.

A sighting is a hint, never trust: it says where to knock. Sources don't know each other.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from mesh.edge.disk import parse_json, whole_number, write_private
from mesh.state.address import Address

MAX_PORT: Final = 65535
ADDRESS_FILE: Final = "addresses.json"
MDNS, TAILNET, REMEMBERED, GIVEN, LEDGER, PAIRING = (
    "mdns",
    "tailnet",
    "remembered",
    "given",
    "ledger",
    "pairing",
)
# Tried in this order: what was seen this minute before what was written down.
SOURCES: Final = (MDNS, PAIRING, REMEMBERED, GIVEN, LEDGER, TAILNET)
# Anyone on the LAN may announce anything: this many sightings in all, the oldest forgotten.
MAX_SIGHTINGS: Final = 512
MAX_REMEMBERED: Final = 4  # addresses per peer that once worked
MAX_TRIED: Final = 1024


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A peer, or something that may be one (`peer_id` ""), seen at an address."""

    source: str
    peer_id: str
    name: str
    address: Address
    pairing_port: int
    seen_ms: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """How a dial ended; `text` is "" where it worked."""

    address: Address
    source: str
    at_ms: int
    text: str


class Sightings:
    """Everything the sources saw. Addresses that worked are kept on disk."""

    def __init__(self, home: Path, given: Iterable[Address] = ()) -> None:
        self._path: Final = home / ADDRESS_FILE
        self._seen: OrderedDict[tuple[str, str, Address], Sighting] = OrderedDict()
        self._tried: OrderedDict[Address, Tried] = OrderedDict()
        self._remembered, by_hand = _read(self._path)
        self._given: list[Address] = list(dict.fromkeys([*given, *by_hand]))
        self._by_hand = by_hand

    def see(self, sighting: Sighting) -> bool:
        """Note a sighting; True where the place is news."""
        key = (sighting.source, sighting.peer_id, sighting.address)
        new = self._seen.pop(key, None) is None
        self._seen[key] = sighting
        if len(self._seen) > MAX_SIGHTINGS:
            self._seen.popitem(last=False)
        return new

    def lose(self, source: str, peer_id: str) -> None:
        """A source says the peer said goodbye."""
        for key in [key for key in self._seen if key[:2] == (source, peer_id)]:
            del self._seen[key]

    def of(self, peer_id: str) -> list[Sighting]:
        """Every sighting of one peer."""
        return [one for one in self._seen.values() if one.peer_id == peer_id]

    def nameless(self) -> list[Address]:
        """Places where a member may be, seen by a source that can't say who is there."""
        return [one.address for one in self._seen.values() if not one.peer_id]

    def strangers(self) -> list[Sighting]:
        """The newest sighting of each peer id, and those without one."""
        return list({one.peer_id or one.address: one for one in self._seen.values()}.values())

    def remember(self, peer_id: str, address: Address, now: int) -> None:
        """A dial there reached this peer."""
        known = self._remembered.setdefault(peer_id, {})
        new = address not in known
        known.pop(address, None)
        known[address] = now
        while len(known) > MAX_REMEMBERED:
            del known[next(iter(known))]
        if new:
            self._save()

    def met_at(self, peer_id: str) -> list[Address]:
        """Where dials reached this peer."""
        return list(self._remembered.get(peer_id, {}))

    def last_met_ms(self, peer_id: str) -> int:
        """When a dial last reached this peer; 0 for never."""
        return max(self._remembered.get(peer_id, {}).values(), default=0)

    def add_given(self, address: Address) -> bool:
        """An address a person typed; False where it is known already."""
        if address in self._given:
            return False
        self._given.append(address)
        self._by_hand.append(address)
        self._save()
        return True

    def given(self) -> list[Address]:
        """Addresses people wrote down; who listens there is found out by dialling."""
        return list(self._given)

    def candidates(self, peer_id: str, ledger: Iterable[Address]) -> Iterator[tuple[Address, str]]:
        """(address, source) where this peer may be, the likeliest first, each address once.

        The first of every source, then the second of each: anyone may announce a hundred places
        in a peer's name, and they must not come before the one where it was met.
        """
        found = [(one.address, one.source) for one in reversed(self.of(peer_id))]
        found += [(at, REMEMBERED) for at in reversed(self._remembered.get(peer_id, {}))]
        found += [(at, LEDGER) for at in ledger]
        seen: Counter[str] = Counter()
        ranked: list[tuple[int, int, Address, str]] = []
        for address, source in found:
            ranked.append((seen[source], SOURCES.index(source), address, source))
            seen[source] += 1
        known: set[Address] = set()
        for _, _, address, source in sorted(ranked):
            if address not in known:
                known.add(address)
                yield address, source

    def try_ended(self, address: Address, source: str, now: int, text: str = "") -> None:
        """How a dial ended."""
        self._tried.pop(address, None)
        self._tried[address] = Tried(address=address, source=source, at_ms=now, text=text)
        if len(self._tried) > MAX_TRIED:
            self._tried.popitem(last=False)

    def tried(self, address: Address) -> Tried | None:
        """The last dial of an address."""
        return self._tried.get(address)

    def flush(self) -> None:
        """Write down when each address last worked; done at the end, not at every heartbeat."""
        if self._remembered or self._by_hand:
            self._save()

    def _save(self) -> None:
        peers = {
            peer: [[*address, at] for address, at in known.items()]
            for peer, known in self._remembered.items()
        }
        text = json.dumps({"given": self._by_hand, "peers": peers}, indent=1)
        with suppress(OSError):  # a full disk costs no link: written at the next change, or the end
            write_private(self._path, text)


def _read(path: Path) -> tuple[dict[str, dict[Address, int]], list[Address]]:
    """(remembered, given by hand); a damaged file only means knocking elsewhere first."""
    try:
        said = parse_json(path.read_bytes())
        peers = {
            str(peer): {_address(host, port): whole_number(at) for host, port, at in known}
            for peer, known in said["peers"].items()
        }
        return peers, [_address(host, port) for host, port in said["given"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, []


def _address(host: object, port: object) -> Address:
    return str(host), whole_number(port, MAX_PORT)
