"""Everything this peer knows of the fleet, gathered for one scrape.

One peer tells the whole fleet: the API is on loopback, so whoever scrapes stands beside one daemon.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Final, Protocol, final

from mesh.api.bills.asked import BillAsked, parse_bill
from mesh.api.metrics.devices import device_families
from mesh.api.metrics.fleet import (
    job_families,
    ledger_families,
    peer_families,
    served_families,
)
from mesh.api.metrics.money import (
    budget_families,
    cost_families,
    price_families,
    rental_families,
)
from mesh.api.metrics.text import Family, exposition
from mesh.api.telemetry import FleetNow
from mesh.state.market.quotes import Quote
from mesh.state.state import State


class Node(Protocol):
    """The node, as a scrape needs it."""

    @property
    def state(self) -> State:
        """What the ledger says."""

    def now(self) -> int:
        """Milliseconds UTC."""


class Telemetry(Protocol):
    """Who reads devices."""

    async def once(self) -> FleetNow:
        """The whole fleet, once; waits a second at most for peers that are slow."""


class Peers(Protocol):
    """The fleet around the node."""

    def peers(self) -> list[dict[str, Any]]:
        """Every peer."""


class Bills(Protocol):
    """Who keeps bills."""

    async def ask(self, asked: BillAsked) -> dict[str, Any]:
        """A bill."""


class Clouds(Protocol):
    """Who rents."""

    def rows(self, *, ended: bool) -> dict[str, Any]:
        """Rentals."""

    def known(self) -> tuple[Quote, ...]:
        """Prices."""


class Budgets(Protocol):
    """Who looks after budgets."""

    def rows(self) -> dict[str, Any]:
        """Budgets."""


@final
class Metrics:
    """What a scrape asks; `peers` is None where this peer listens to no other."""

    def __init__(
        self,
        node: Node,
        telemetry: Telemetry,
        peers: Peers | None,
        bills: Bills,
        clouds: Clouds,
        budgets: Budgets,
    ) -> None:
        self._node: Final = node
        self._telemetry: Final = telemetry
        self._peers: Final = peers
        self._bills: Final = bills
        self._clouds: Final = clouds
        self._budgets: Final = budgets

    async def text(self) -> str:
        """One scrape's answer."""
        lag_s = await _lag_s()
        by_device = parse_bill({"by": "device"})
        now, bill = await asyncio.gather(self._telemetry.once(), self._bills.ask(by_device))
        return exposition(self._families(now, bill, lag_s))

    def _families(self, now: FleetNow, bill: dict[str, Any], lag_s: float) -> Iterator[Family]:
        """The few first: were there ever too many series, devices are left out, not money."""
        state = self._node.state
        yield from ledger_families(state, lag_s)
        yield from job_families(state)
        yield from peer_families([] if self._peers is None else self._peers.peers())
        yield from budget_families(self._budgets.rows()["budgets"])
        yield from rental_families(self._clouds.rows(ended=False)["rentals"])
        yield from price_families(self._clouds.known(), self._node.now())
        yield from cost_families(bill, state)
        yield from served_families(state)
        yield from device_families(now)


async def _lag_s() -> float:
    """How long the loop takes to come round once."""
    begun_s = time.monotonic()
    await asyncio.sleep(0)
    return time.monotonic() - begun_s
