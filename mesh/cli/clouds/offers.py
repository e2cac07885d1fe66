"""`fleet offers`: machines owned and machines to rent in one table, the cheapest first."""

from collections.abc import Mapping
from typing import Any, Final

import click

from mesh.cli.clouds.sources import show_sources
from mesh.cli.output import emit_json, gib, json_option, money, now_ms, say, show_age, show_cost
from mesh.cli.table import Column, emit, emit_text

Row = Mapping[str, Any]

MOST_SHOWN: Final = 40  # a page; --limit and -o json have more
NONE: Final = "nothing like that is owned or offered. try: fleet offers"


@click.command()
@click.option(
    "--gpu", metavar="24GB..|NAME", help='memory of one GPU, 24GB.. or 24GB..48GB, or "2x RTX 4090"'
)
@click.option("--count", metavar="N", help="with so many GPUs")
@click.option("--spot/--no-spot", default=None, help="only those that may be taken back, or none")
@click.option("--max-price", metavar="$", help="dollars an hour, at most: 0.50")
@click.option("--provider", metavar="NAME", help="only of this provider: vastai, runpod …")
@click.option("--disk", metavar="100GB", help="priced with so much room on its disk  [40GiB]")
@click.option("--limit", metavar="N", help=f"so many offers at most  [default: {MOST_SHOWN}]")
@json_option
def offers(output: str, **options: Any) -> None:
    """Machines the fleet owns and machines to rent, by price an hour."""
    query = {name: _text(value) for name, value in options.items() if value is not None}
    found = ask_offers(query if "limit" in query or output == "json" else _page(query))
    if output == "json":
        emit_json(found)
        return
    emit(columns(), found["offers"], NONE)
    if found["more"]:
        say()
        emit_text(f"{found['more']} more offers: --limit, --gpu or --max-price, or -o json")
    say()
    show_sources(found["sources"])


def _page(query: dict[str, str]) -> dict[str, str]:
    return {**query, "limit": str(MOST_SHOWN)}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def ask_offers(query: Mapping[str, str]) -> Mapping[str, Any]:
    """From the daemon, whose accounts know single offers; else from the ledger, else the table that
    this program came with."""
    from mesh.cli.client import find_daemon, query_of
    from mesh.config import fleet_home

    daemon = find_daemon(fleet_home())
    if daemon is not None:
        return dict(daemon.get(f"/v1/offers?{query_of(query)}"))
    from mesh.api.market.asked import parse_offers
    from mesh.api.market.offers import offers_answer
    from mesh.edge.clouds.prices.known import known_quotes
    from mesh.edge.store.state import load_state_if_any

    wanted, state, now = parse_offers(query), load_state_if_any(fleet_home()), now_ms()
    return offers_answer(state, known_quotes(state, now), wanted, now)


def columns() -> tuple[Column[Row], ...]:
    """What a table of offers shows; where, what, the price and its age always stay."""
    return (
        Column(title="WHERE", value=_where, least=8),
        Column(title="GPU", value=_gpu, least=12),
        Column(title="MEMORY", value=_memory, right=True, rank=10),
        Column(title="$/H", value=_price, right=True),
        Column(title="KIND", value=_kind, brief=_brief_kind, brief_rank=40),
        Column(title="N", value=lambda row: _many(row["n"]), right=True, rank=60, optional=True),
        Column(title="REGION", value=lambda row: row["region"], rank=30, least=6, optional=True),
        Column(title="NET", value=_net, right=True, rank=70, optional=True),
        Column(title="BOOT", value=_boot, right=True, rank=65, optional=True),
        Column(title="OFFER", value=lambda row: row["offer"], rank=80, optional=True),
        Column(title="AGE", value=lambda row: show_age(row["age_ms"]), right=True),
    )


def _where(row: Row) -> str:
    """The device's own name, or the provider."""
    return str(row["device"] if row["owned"] else row["provider"])


def _gpu(row: Row) -> str:
    count = row["gpu_count"]
    return f"{count}x {row['gpu']}" if count > 1 else str(row["gpu"])


def _memory(row: Row) -> str:
    """Of one accelerator."""
    return f"{gib(row['memory_bytes'])} GiB"


def _price(row: Row) -> str:
    """An hour of the whole machine; of an owned one of unknown price nothing."""
    nusd = row["hourly_nusd"]
    return "" if nusd is None else show_cost(nusd, row["lacks"], money)


def _kind(row: Row) -> str:
    """ "owned", "rented" (a device of the fleet at a rate), "spot", "on demand", "typical"."""
    if row["owned"]:
        return "rented" if row["basis"] == "quoted" else "owned"
    return _brief_kind(row) + (", typical" if row["basis"] == "typical" else "")


def _brief_kind(row: Row) -> str:
    """The same; that it is typical stands in the line of sources, too."""
    if row["owned"]:
        return _kind(row)
    return "spot" if row["spot"] else "on demand"


def _many(n: int) -> str:
    return str(n) if n > 1 else ""


def _net(row: Row) -> str:
    bps = row.get("network_bps")
    return f"{bps / 1e9:.1f} Gb/s" if bps else ""


def _boot(row: Row) -> str:
    from mesh.cli.output import brief_ms

    ms = row.get("boot_ms")
    return brief_ms(ms) if ms is not None else ""
