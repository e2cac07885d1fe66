"""Bills as CSV, and with the columns of FOCUS 1.2, the FinOps Foundation's format for bills."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from mesh.api.bills.cents import hours, plain, table, usd
from mesh.state.bills.calendar import bounds_ms, day_of
from mesh.state.bills.inputs import NOBODY, Who
from mesh.state.bills.lines import POWER, WEAR, Line, Sum, sums

# All that FOCUS 1.2 demands, some that it allows, and two of ours, which begin with x_ as it asks.
FOCUS: Final = (
    "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodStart",
    "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "ChargeClass",
    "ChargeDescription", "ChargeFrequency", "BilledCost", "EffectiveCost", "ListCost",
    "ContractedCost", "ConsumedQuantity", "ConsumedUnit", "PricingCategory", "PricingQuantity",
    "PricingUnit", "ProviderName", "PublisherName", "InvoiceIssuerName", "ResourceId",
    "ResourceName", "ResourceType", "ServiceCategory", "ServiceSubcategory", "ServiceName",
    "SkuId", "SubAccountId", "Tags", "x_Basis", "x_UnknownMs",
)  # fmt: skip
OWN: Final = frozenset({WEAR, POWER})  # nobody bills these to the fleet, but for an invoice
INVOICED: Final = "invoiced"
SELF: Final = "self"
# The header of an answer that tells the time which is in none of its rows, in milliseconds.
LEFT_OUT: Final = "X-Fleet-Left-Out-Ms"
NUMBERS: Final = frozenset({
    "BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "ConsumedQuantity",
    "PricingQuantity",
})  # fmt: skip
Cell = str | int | None
Group = tuple[str, str, str, str, bool]  # day, device, part, component, whether it was invoiced


def _groups(lines: Iterable[Line], zone: ZoneInfo) -> list[tuple[Group, Sum]]:
    def key(one: Line) -> Group:
        invoiced = one.basis == INVOICED
        return day_of(one.at_ms, zone), one.device, one.part, one.component, invoiced

    return sorted(sums(lines, key).items(), key=lambda one: one[0])


class Focus(NamedTuple):
    """FOCUS rows, and the time that is in none of them because nobody knows its price."""

    rows: list[dict[str, Cell]]
    left_out_ms: int

    def csv(self) -> str:
        """The rows under the names of their columns; null is an empty cell."""
        return table(FOCUS, [[_cell(name, row[name]) for name in FOCUS] for row in self.rows])


def _cell(name: str, value: Cell) -> Cell:
    if value is None:
        return ""
    return plain(value) if isinstance(value, str) and name not in NUMBERS else value


def focus(
    lines: Iterable[Line],
    zone: ZoneInfo,
    fleet: str,
    providers: Mapping[str, str],
    whose: Mapping[str, Who],
) -> Focus:
    """A row for each local day, device, part and component, what was invoiced apart.

    `providers`: who rents out a device, asked once all lines are read; FOCUS wants a name also
    where nobody said it. It allows no empty cost, and unknown is not 0: rows without a known amount
    are left out, and their time is told.
    """
    rows, left_out = [], 0
    for group, one in _groups(lines, zone):
        if one.amount is None:
            left_out += one.unknown_ms
            continue
        provider = SELF if group[3] in OWN else providers.get(group[1]) or SELF
        row = {
            **_account(fleet, provider),
            **_periods(group[0], zone),
            **_costs(one, component=group[3], billed=group[4] or group[3] not in OWN),
            **_what(group, whose.get(group[2], NOBODY)),
            "x_Basis": one.basis,
            "x_UnknownMs": one.unknown_ms,
        }
        rows.append({name: row[name] for name in FOCUS})
    return Focus(rows, left_out)


def _account(fleet: str, provider: str) -> dict[str, Cell]:
    return {
        "BillingAccountId": fleet,
        "BillingAccountName": fleet,
        "BillingCurrency": "USD",
        "ProviderName": provider,
        "PublisherName": provider,
        "InvoiceIssuerName": provider,
    }


def _periods(day: str, zone: ZoneInfo) -> dict[str, Cell]:
    """The local day a row is of and the local month it is billed in; both end where the next
    begins."""
    (start, end), (first, after) = bounds_ms(day, zone), bounds_ms(day[:7], zone)
    return {
        "BillingPeriodStart": _utc(first),
        "BillingPeriodEnd": _utc(after),
        "ChargePeriodStart": _utc(start),
        "ChargePeriodEnd": _utc(end),
    }


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _costs(one: Sum, *, component: str, billed: bool) -> dict[str, Cell]:
    """Nobody bills wear and power that no invoice tells of: their BilledCost is 0, and
    EffectiveCost carries them."""
    cost, held = usd(one.nusd), one.unit_ms > 0
    return {
        "BilledCost": cost if billed else usd(0),
        "EffectiveCost": cost,
        "ListCost": cost,
        "ContractedCost": cost,
        "ConsumedQuantity": hours(one.unit_ms) if held else None,
        "ConsumedUnit": "Hours" if held else None,
        "PricingCategory": "Standard",
        "PricingQuantity": hours(one.unit_ms) if held else "1",
        "PricingUnit": "Hours" if held else "Units",
        "ChargeCategory": "Usage",
        "ChargeClass": None,  # no correction of a bill that was closed
        "ChargeFrequency": "Recurring" if component in (WEAR, "disk") else "Usage-Based",
    }


def _what(group: Group, who: Who) -> dict[str, Cell]:
    _, device, part, component, _ = group
    is_model = any(who.tokens)
    tags = {"engine": who.engine, "key": who.key, "model": who.model, "part": part}
    return {
        "ChargeDescription": f"{component} of {device}, {part}",
        "ResourceId": device,
        "ResourceName": device,
        "ResourceType": "Device",
        "ServiceCategory": "AI and Machine Learning" if is_model else "Compute",
        "ServiceSubcategory": "Generative AI" if is_model else "Other (Compute)",
        "ServiceName": component,
        "SkuId": component,
        "SubAccountId": who.user or None,
        "Tags": json.dumps({k: v for k, v in tags.items() if v}, sort_keys=True),
    }
