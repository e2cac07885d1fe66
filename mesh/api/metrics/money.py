"""Money as metrics. Here alone it is dollars in floats: Prometheus knows no integers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mathcore.units import NUSD
from mesh.api.metrics.text import Family, Sample, counter, gauge
from mesh.state.market.quotes import Quote
from mesh.state.state import State

Row = Mapping[str, Any]


def cost_families(report: Row, state: State) -> Iterator[Family]:
    """A bill by device: what jobs used, what was idle, and how long nobody knows a price."""
    rows = [device for group in report["groups"] for device in group["devices"]]
    named = [(_device(state, str(row["device_id"])), row) for row in rows]
    yield counter(
        "fleet_job_cost_usd_total",
        "Dollars that jobs used.",
        ((labels, row["cost_nusd"] / NUSD) for labels, row in named if _is_known(row, "cost_nusd")),
    )
    yield counter(
        "fleet_idle_cost_usd_total",
        "Dollars of the time in which nobody used it.",
        ((labels, row["idle_nusd"] / NUSD) for labels, row in named if _is_known(row, "idle_nusd")),
    )
    yield counter(
        "fleet_cost_unpriced_seconds_total",
        "Time without a price, for each part of a cost; above 0 the dollars are a lower bound.",
        ((labels, row["unknown_ms"] / 1000) for labels, row in named),
    )


def rental_families(rows: Iterable[Row]) -> Iterator[Family]:
    """Machines that are rented now, by provider."""
    count: dict[str, int] = {}
    hourly: dict[str, int] = {}
    for row in rows:
        count[row["provider"]] = count.get(row["provider"], 0) + 1
        hourly[row["provider"]] = hourly.get(row["provider"], 0) + row["rate_nusd"]
    yield gauge(
        "fleet_rentals_open",
        "Rented machines whose absence is not proved yet.",
        (({"provider": name}, n) for name, n in count.items()),
    )
    yield gauge(
        "fleet_rentals_usd_per_hour",
        "Dollars an hour that they cost now.",
        (({"provider": name}, nusd / NUSD) for name, nusd in hourly.items()),
    )


def budget_families(rows: Iterable[Row]) -> Iterator[Family]:
    """Budgets of the period that is now."""
    every = [({"budget": str(row["name"]), "owner": str(row["owner"])}, row) for row in rows]
    for what, text in (
        ("cap", "Dollars a budget allows in this period."),
        ("held", "Dollars of it that are held for what runs."),
        ("spent", "Dollars of it that are spent."),
    ):
        known = (one for one in every if one[1][f"{what}_nusd"] is not None)
        yield gauge(
            f"fleet_budget_{what}_usd",
            text,
            ((labels, row[f"{what}_nusd"] / NUSD) for labels, row in known),
        )


def price_families(quotes: Iterable[Quote], now_ms: int) -> Iterator[Family]:
    """How old the youngest known price of each provider is."""
    newest: dict[str, int] = {}
    for quote in quotes:
        newest[quote.provider] = max(newest.get(quote.provider, 0), quote.at_ms)
    samples: list[Sample] = [
        ({"provider": name}, max(0, now_ms - at_ms) / 1000) for name, at_ms in newest.items()
    ]
    yield gauge("fleet_price_age_seconds", "Age of the youngest price of a provider.", samples)


def _is_known(row: Row, name: str) -> bool:
    return row[name] is not None


def _device(state: State, device_id: str) -> dict[str, str]:
    known = state.devices.get(device_id)
    return {"device": device_id if known is None else known.name, "device_id": device_id}
