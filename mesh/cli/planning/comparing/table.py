"""A comparison as CSV: a line a row, amounts in nano-dollars; an empty cell is unknown."""

import sys
from collections.abc import Mapping
from typing import Any, Final

from mesh.api.bills.cents import csv_lines, named_rows

Row = Mapping[str, Any]

PLAIN: Final = ("kind", "name", "provider", "engine", "quant", "makes", "made_tokens")
BANDS: Final = (
    "tokens_per_s",
    "at_most_tokens",
    "busy_ms",
    "start_ms",
    "day_nusd",
    "fixed_nusd",
    "use_nusd",
    "month_nusd",
    "million_nusd",
    "total_nusd",
)
ENDS: Final = ("p10", "p50", "p90")
API: Final = ("input_nusd_per_million", "cached_nusd_per_million", "output_nusd_per_million")
FIELDS: Final = (
    *PLAIN,
    *(f"{name}_{end}" for name in BANDS for end in ENDS),
    *(f"kept_day_nusd_{end}" for end in ENDS),
    "price_nusd",
    "hourly_nusd",
    *API,
    "lacks",
)


def emit_csv(found: Row) -> None:
    """Every row."""
    rows = named_rows(FIELDS, (flat(row) for row in found["rows"]))
    sys.stdout.writelines(csv_lines(FIELDS, rows))


def flat(row: Row) -> dict[str, object]:
    """A row in one line."""
    cells: dict[str, object] = {name: row[name] for name in PLAIN}
    for name in BANDS:
        cells |= {f"{name}_{end}": (row[name] or {}).get(end) for end in ENDS}
    kept = (row["kept"] or {}).get("day_nusd") or {}
    cells |= {f"kept_day_nusd_{end}": kept.get(end) for end in ENDS}
    cells["price_nusd"] = (row["owned"] or {}).get("price_nusd")
    cells["hourly_nusd"] = (row["offer"] or {}).get("hourly_nusd")
    cells |= {name: (row["api"] or {}).get(name) for name in API}
    cells["lacks"] = " ".join(name.replace(" ", "_") for name in row["lacks"])
    return cells
