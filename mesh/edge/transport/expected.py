"""Addresses where members may be: their connections have room that strangers can't use up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, final

from mesh.edge.discovery.sightings import Sightings
from mesh.edge.transport.anteroom import place_of
from mesh.edge.transport.links import Links
from mesh.state.address import Address
from mesh.state.peer_id import peer_id

# Looked up anew at most this often: a thousand members take some milliseconds, and connections
# may come by the hundred a second.
FRESH_S: Final = 2.0

# Every other member, and the addresses it wrote into the ledger.
Placed = Callable[[], list[tuple[bytes, list[Address]]]]


@final
class Expected:
    """Where members dialled us from, were reached by us, or say that they are.

    What anyone on the network may announce is not asked: a stranger would name its own address.
    """

    def __init__(self, links: Links, sightings: Sightings, placed: Placed) -> None:
        self._links, self._sightings, self._placed = links, sightings, placed
        self._places: frozenset[str] = frozenset()
        self._looked_s = float("-inf")

    def is_place(self, address: str) -> bool:
        """Whether a member may be at an address."""
        now_s = time.monotonic()
        if now_s >= self._looked_s + FRESH_S:
            self._places, self._looked_s = frozenset(self._look()), now_s
        return place_of(address) in self._places

    def _look(self) -> set[str]:
        found = {place_of(address) for address in self._links.came_from.values()}
        for key, written in self._placed():
            met = self._sightings.met_at(peer_id(key.hex()))
            found |= {place_of(host) for host, _ in (*met, *written)}
        return found
