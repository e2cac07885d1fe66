"""Writes mathcore/market/data/api_prices.csv from a clone of models.dev's repository.

python -m scripts.lab.api_prices CLONE

models.dev has a TOML file a model of each provider, with dollars per million tokens. A row of ours
is such a file whose name means a model of the catalogue, at one price whatever the length or hour.
"""

import csv
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from mathcore.catalogue.models import find_row
from mathcore.catalogue.names import parse_named
from mathcore.market.api_prices import COLUMNS
from mathcore.units import NUSD

TABLE: Final = Path(__file__).parents[2] / "mathcore" / "market" / "data" / "api_prices.csv"
REPO: Final = "anomalyco/models.dev"
# Those with a list of prices of their own: no routers, which pass on the price of whoever answers.
PROVIDERS: Final = (
    "baseten", "cerebras", "cloudflare-workers-ai", "deepinfra", "fireworks-ai", "groq", "minimax",
    "mistral", "moonshotai", "nebius", "novita-ai", "siliconflow", "togetherai", "zai",
)  # fmt: skip
# Names that say which model it is in a way of their provider's own.
MEANT: Final = {
    ("groq", "llama-3.1-8b-instant"): "llama-3.1-8b",
    ("groq", "llama-3.3-70b-versatile"): "llama-3.3-70b",
    ("deepinfra", "meta-llama/Llama-3.3-70B-Instruct-Turbo"): "llama-3.3-70b",
    ("togetherai", "meta-llama/Llama-3.3-70B-Instruct-Turbo"): "llama-3.3-70b",
    ("togetherai", "meta-llama/Meta-Llama-3-8B-Instruct-Lite"): "llama-3-8b",
    ("togetherai", "Qwen/Qwen2.5-7B-Instruct-Turbo"): "qwen2.5-7b",
    ("togetherai", "Qwen/Qwen3-235B-A22B-Instruct-2507-tput"): "qwen3-235b-a22b-2507",
    ("deepinfra", "Qwen/Qwen3-Coder-480B-A35B-Instruct-Turbo"): "qwen3-coder-480b-a35b",
    ("fireworks-ai", "accounts/fireworks/models/glm-5p1"): "glm-5.1",
    ("fireworks-ai", "accounts/fireworks/models/glm-5p2"): "glm-5.2",
    ("fireworks-ai", "accounts/fireworks/models/kimi-k2p6"): "kimi-k2.6",
    ("fireworks-ai", "accounts/fireworks/models/kimi-k2p7-code"): "kimi-k2.7-code",
    ("fireworks-ai", "accounts/fireworks/models/minimax-m2p7"): "minimax-m2.7",
    ("cloudflare-workers-ai", "@cf/meta/llama-3.3-70b-instruct-fp8-fast"): "llama-3.3-70b",
    ("mistral", "mistral-small-2506"): "mistral-small-3.2-24b",
    ("mistral", "open-mixtral-8x7b"): "mixtral-8x7b",
    ("mistral", "open-mixtral-8x22b"): "mixtral-8x22b",
}
# "latest" is another model every few months; the others are another's weights under its name.
STRANGE: Final = ("-latest", "pearl-ai/", "kimi-k2-0905")
# Closed models, for scale. OpenAI lowered some prices since: each row has its date.
YARDSTICKS: Final = {
    "anthropic": ("claude-haiku-4-5", "claude-sonnet-4-6"),
    "openai": ("gpt-5-mini", "gpt-5.4-mini"),
}
CACHED: Final = ("cache_read", "cached_input", "cache_input")  # as its files have it
Row = dict[str, str]


def git(clone: Path, *words: str) -> str:
    """What git says."""
    done = subprocess.run(["git", "-C", clone, *words], capture_output=True, text=True, check=True)
    return done.stdout


def day(seconds: int) -> str:
    """The day of an instant, UTC."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def per_million(dollars: object) -> str:
    """Nano-dollars of a million tokens; "" of nothing."""
    if dollars is None:
        return ""
    nusd = Decimal(str(dollars)) * NUSD
    assert nusd == nusd.to_integral_value(), f"{dollars} is no whole number of nano-dollars"
    return str(int(nusd))


def model_of(provider: str, name: str) -> str:
    """The catalogue's name of what a provider's name means; "" where that is not sure."""
    if (provider, name) in MEANT:
        row = find_row(MEANT[provider, name])
        assert row is not None, name
        return row.name
    if any(mark in name for mark in STRANGE):
        return ""
    found = parse_named(name)
    return found.row.name if found else ""


def is_plain(told: dict[str, Any]) -> bool:
    """Whether it is still sold, for money, at one price."""
    cost = told.get("cost", {})
    priced = all(cost.get(part, 0) > 0 for part in ("input", "output"))
    return priced and "tiers" not in cost and told.get("status") != "deprecated"


def written(clone: Path, path: str) -> str:
    """The day on which somebody last wrote the price as it stands."""
    blame = git(clone, "blame", "--line-porcelain", "HEAD", "--", path).splitlines()
    seconds = 0
    found: list[int] = []
    for line in blame:
        if line.startswith("committer-time "):
            seconds = int(line.split()[1])
        if line.startswith(("\tinput = ", "\toutput = ")) and "[" not in line:
            found.append(seconds)
    return day(max(found))


def rows_of(clone: Path, provider: str) -> Iterator[Row]:
    """What a provider sells of models that the catalogue has, and the yardsticks it has."""
    commit = git(clone, "rev-parse", "--short=7", "HEAD").strip()
    seen = day(int(git(clone, "log", "-1", "--format=%ct")))
    folder = f"providers/{provider}"
    page = tomllib.loads(git(clone, "show", f"HEAD:{folder}/provider.toml"))["doc"]
    for path in git(clone, "ls-tree", "-r", "--name-only", "HEAD", f"{folder}/models/").split():
        name = path.removeprefix(f"{folder}/models/").removesuffix(".toml")
        told = tomllib.loads(git(clone, "show", f"HEAD:{path}"))
        model = "" if provider in YARDSTICKS else model_of(provider, name)
        if not is_plain(told) or not (model or name in YARDSTICKS.get(provider, ())):
            continue
        cost = told["cost"]
        cached = next((cost[word] for word in CACHED if cost.get(word)), None)
        if cached is not None and cached > cost["input"]:  # a slip of the source
            cached = None
        prices = [per_million(one) for one in (cost["input"], cached, cost["output"])]
        line = (
            provider,
            name,
            model,
            *prices,
            written(clone, path),
            seen,
            page,
            f"{REPO}@{commit}",
        )
        yield dict(zip(COLUMNS, line, strict=True))


def main(clone: Path) -> None:
    """Write the table anew."""
    rows = [row for one in (*PROVIDERS, *YARDSTICKS) for row in rows_of(clone, one)]
    rows.sort(key=lambda row: (not row["model"], row["model"], row["provider"], row["name"]))
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
