"""What hosted APIs charge for tokens, as it was on a day: data/api_prices.csv, shipped with us.

They grow old: whoever shows one shows its dates. `data/README.md` says where they are from.
"""

from dataclasses import dataclass
from typing import final

from mathcore.data import read_rows
from mathcore.market.days import day_ms

COLUMNS: tuple[str, ...] = (
    "provider", "name", "model", "input_nusd_per_million", "cached_nusd_per_million",
    "output_nusd_per_million", "written", "seen", "page", "source",
)  # fmt: skip
MILLION = 1_000_000  # tokens


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ApiPrice:
    """What a provider charges for a model, in nano-dollars of a million tokens."""

    provider: str
    name: str  # as the provider calls it
    model: str  # the catalogue's name of it; "" = closed: a yardstick, never the same model
    input_nusd_per_million: int
    cached_nusd_per_million: int | None  # of input that it has in its cache; None = not told
    output_nusd_per_million: int
    written_ms: int  # begin of the day on which the source wrote it down, UTC
    seen_ms: int  # of the last day on which the source had it so
    page: str  # the provider's page that the source names
    source: str


def _price(row: dict[str, str]) -> ApiPrice:
    cached = row["cached_nusd_per_million"]
    return ApiPrice(
        provider=row["provider"],
        name=row["name"],
        model=row["model"],
        input_nusd_per_million=int(row["input_nusd_per_million"]),
        cached_nusd_per_million=int(cached) if cached else None,
        output_nusd_per_million=int(row["output_nusd_per_million"]),
        written_ms=day_ms(row["written"]),
        seen_ms=day_ms(row["seen"]),
        page=row["page"],
        source=row["source"],
    )


_READ: dict[str, tuple[ApiPrice, ...]] = {}


def api_prices() -> tuple[ApiPrice, ...]:
    """Every row, read once."""
    if "all" not in _READ:
        _READ["all"] = tuple([_price(row) for row in read_rows("market", "api_prices.csv")])
    return _READ["all"]


def prices_of(model: str) -> list[ApiPrice]:
    """Who serves the catalogue's model of this name; [] of none."""
    return [one for one in api_prices() if model and one.model == model]


def yardsticks() -> list[ApiPrice]:
    """Closed models, for scale."""
    return [one for one in api_prices() if not one.model]
