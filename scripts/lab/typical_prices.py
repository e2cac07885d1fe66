"""Writes mathcore/market/data/prices.csv from a daily series of offers by provider and GPU.

python -m scripts.lab.typical_prices SERIES.csv.gz

The series has a median per day, provider, GPU, count, region and kind, in dollars an hour for one
GPU. A price of ours is the median of those medians over the newest days, times the count.
"""

import csv
import gzip
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mathcore.market.typical import COLUMNS

TABLE: Final = Path(__file__).parents[2] / "mathcore" / "market" / "data" / "prices.csv"
SOURCE: Final = "cherielilili/gpu-pricing-tracker@04891eb"
DAYS: Final = 7  # the newest ones it has; some are missing between them
LEAST_ROWS: Final = 4  # one or two offers in a week are no typical price
# Providers with a list of prices: rows of theirs that are this far apart mix several machines.
LISTED: Final = {"runpod", "lambdalabs"}
MAX_SPREAD: Final = 1.5
PROVIDERS: Final = {"vast.ai": "vastai", "runpod": "runpod", "lambda": "lambdalabs"}
# The series' names: ours, and GiB as sold.
GPUS: Final = {
    "A100_PCIE_40GB": ("A100 PCIe 40GB", 40),
    "A100_PCIE_80GB": ("A100 PCIe 80GB", 80),
    "A100_SXM_40GB": ("A100 SXM 40GB", 40),
    "A100_SXM_80GB": ("A100 SXM 80GB", 80),
    "B200": ("B200", 180),
    "GH200": ("GH200", 96),
    "H100_NVL": ("H100 NVL", 94),
    "H100_PCIE": ("H100 PCIe", 80),
    "H100_SXM": ("H100 SXM", 80),
    "H200": ("H200", 141),
    "L40": ("L40", 48),
    "L40S": ("L40S", 48),
    "RTX_4090": ("RTX 4090", 24),
    "RTX_5090": ("RTX 5090", 32),
    "RTX_PRO_6000": ("RTX PRO 6000 Blackwell", 96),
}
# RunPod rents no A100 of 40 GB: the series has another card's price under that name.
WRONG: Final = {("runpod", "A100_SXM_40GB")}
Row = dict[str, str]


def newest(rows: list[Row]) -> list[Row]:
    """The rows of the newest days."""
    days = sorted({row["date"] for row in rows})[-DAYS:]
    return [row for row in rows if row["date"] in days]


def counts(row: Row) -> bool:
    """Whether a row is a price of a machine that can be rented as such."""
    provider, low, high = PROVIDERS[row["provider"]], row["price_min_usd"], row["price_max_usd"]
    if (provider, row["gpu_model"]) in WRONG or row["gpu_model"] not in GPUS:
        return False
    if provider in LISTED and float(high) > MAX_SPREAD * float(low):
        return False
    # RunPod's spot offers are gone; its own data centres are what it rents where nobody says.
    return provider != "runpod" or (row["rental_type"], row["region"]) == ("on_demand", "secure")


def table(rows: list[Row]) -> Iterable[tuple[object, ...]]:
    """The lines of our table."""
    groups: dict[tuple[str, str, int, bool], list[float]] = defaultdict(list)
    for row in filter(counts, rows):
        key = PROVIDERS[row["provider"]], row["gpu_model"]
        kind = int(row["gpu_count"]), row["rental_type"] == "spot"
        groups[(*key, *kind)].append(float(row["price_median_usd"]))
    date = max(row["date"] for row in rows)
    for (provider, name, count, spot), prices in sorted(groups.items()):
        gpu, gib = GPUS[name]
        hourly = round(count * statistics.median(prices), 4)
        if len(prices) >= LEAST_ROWS:
            yield provider, gpu, count, gib, f"{hourly:g}", "yes" if spot else "no", date, SOURCE


def main() -> None:
    """Write the table."""
    with gzip.open(sys.argv[1], "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["provider"] in PROVIDERS]
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(table(newest(rows)))


if __name__ == "__main__":
    main()
