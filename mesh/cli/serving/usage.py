"""`fleet usage`: what requests used, by key, model, device or day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from mesh.cli.exits import USAGE, stop
from mesh.cli.output import emit_json, json_option, money, now_ms
from mesh.cli.table import Column, emit

Row = Mapping[str, Any]
EMPTY: Final = "no request was answered in that time"
MILLIJOULES_PER_WH: Final = 3_600_000


@click.command()
@click.option(
    "--by",
    type=click.Choice(["key", "model", "device", "day"]),
    default="key",
    show_default=True,
    help="what to add up by",
)
@click.option(
    "--since", metavar="TIME", help="from the UTC day so long ago on: 7d, 24h  [default: always]"
)
@json_option
def usage(*, by: str, since: str | None, output: str) -> None:
    """What requests used: tokens, energy and money, from the ledger."""
    from mesh.api.serving.usage import usage_report
    from mesh.config import fleet_home
    from mesh.edge.store.state import load_state

    begin = 0 if since is None else _begin(since)
    report: Mapping[str, Any] = usage_report(load_state(fleet_home()), by, begin)
    if output == "json":
        emit_json(report)
        return
    rows = [*report["groups"]]
    if rows:
        rows.append({by: "total", **report["total"]})
    emit(_columns(by), rows, EMPTY)


def _begin(text: str) -> int:
    from mathcore.units import parse_duration_ms

    try:
        length, now = parse_duration_ms(text), now_ms()
    except ValueError as error:
        stop(USAGE, str(error), "--since 7d, --since 24h")
    return max(1, now - length)


def _count(n: int) -> str:
    """ "950", "12.3k", "4.1M"."""
    for scale, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if n >= scale:
            return f"{n // (scale // 10) / 10}{unit}"
    return str(n)


def _energy(row: Row) -> str:
    """Watt-hours, "~" before estimates."""
    if not row["energy_mj"]:
        return ""
    sign = "~" if row["energy_basis"] == "estimated" else ""
    return f"{sign}{row['energy_mj'] / MILLIJOULES_PER_WH:.1f} Wh"


def _columns(by: str) -> tuple[Column[Row], ...]:
    return (
        Column(title=by.upper(), value=lambda row: row[by], least=10),
        Column(title="REQUESTS", value=lambda row: row["requests"], right=True),
        Column(title="ERRORS", value=lambda row: row["errors"], right=True, rank=30),
        Column(title="CUT", value=lambda row: row["cut"], right=True, rank=40),
        Column(title="ASKED", value=lambda row: _count(row["prompt_tokens"]), right=True, rank=10),
        Column(title="CACHED", value=lambda row: _count(row["cached_tokens"]), right=True, rank=50),
        Column(
            title="ANSWERED", value=lambda row: _count(row["generated_tokens"]), right=True, rank=5
        ),
        Column(title="ENERGY", value=_energy, right=True, rank=20),
        Column(title="COST", value=lambda row: money(row["cost_nusd"]), right=True),
    )
