"""`fleet cost`: the bill, by whatever a person asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from mesh.api.bills import GROUPINGS
from mesh.cli.client import find_daemon, query_of
from mesh.cli.output import csv_option, emit_json, now_ms, output_of, say
from mesh.cli.table import Column, emit, emit_text

Row = Mapping[str, Any]
NONE_YET: Final = "nothing was spent yet"
NOTE: Final = (
    "+ at least: some of it nobody knows the price of; fleet rates show says what is missing"
)


@click.command()
@click.option(
    "--by",
    type=click.Choice(GROUPINGS),
    default="day",
    show_default=True,
    help="what to add up by",
)
@click.option("--since", metavar="DAY", help="from this day or month on: 2026-04-19, 2026-04")
@click.option("--until", metavar="DAY", help="to the end of this one")
@click.option("--tz", metavar="ZONE", help="whose days: Europe/Berlin  [the setting `zone`]")
@click.option("--as-of", metavar="DAY", help="as it was known at the end of that day")
@click.option("--plot", is_flag=True, help="as a picture, too")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "csv", "focus"]),
    default="text",
    show_default=True,
    help="how to print; focus = the FinOps columns, as CSV",
)
@csv_option
def cost(*, output: str, as_csv: bool, plot: bool, **given: str | None) -> None:
    """What was spent: used by jobs, idle, and not watched; daily unless --by says otherwise.

    Owned devices cost what they wear and draw, rented ones their rent. What nobody knows the price
    of is shown as unknown, and a sum with a + has some of it.
    """
    output = output_of(output, as_csv=as_csv)
    query = {name: value for name, value in given.items() if value is not None}
    if output == "focus":
        del query["by"]
        click.echo(_focus(query), nl=False)
        return
    report = _asked(query)
    if output == "csv":
        click.echo(_csv(report), nl=False)
    elif output == "json":
        emit_json(report)
    else:
        show(report)
        if plot:
            from mesh.cli.money.plot import picture

            click.echo()
            click.echo(picture(report))


def _asked(query: Mapping[str, str]) -> Row:
    """The daemon's answer, else this machine's own ledger's."""
    from mesh.config import fleet_home

    daemon = find_daemon(fleet_home())
    if daemon is not None:
        found: Row = daemon.get(f"/v1/cost?{query_of(query)}")
        return found
    return _own(query)


def _own(query: Mapping[str, str]) -> Row:
    """From this machine's own ledger: kept sums where they are recent, for they are quick. All else
    is of the same moment then, so that each grouping has the same sum."""
    from mesh.api.bills.asked import parse_bill
    from mesh.config import fleet_home, load_config
    from mesh.edge.bills.kept import kept_report, recent_ms

    home, moment_ms = fleet_home(), now_ms()
    zone = load_config(home).zone
    asked, at_ms = parse_bill(query, zone), recent_ms(home, moment_ms)
    found: Row | None = None if at_ms is None else kept_report(home, asked)
    return found if found is not None else _local(zone, at_ms or moment_ms).ask(asked)


def _local(zone: str, at_ms: int) -> Any:
    from mesh.config import fleet_home
    from mesh.edge.bills.local import bills_of

    return bills_of(fleet_home(), zone, lambda: at_ms)


def _focus(query: Mapping[str, str]) -> str:
    """The daemon's answer, which knows how long it watched; else this machine's own ledger's."""
    from mesh.api.bills.tables import LEFT_OUT
    from mesh.config import fleet_home

    daemon = find_daemon(fleet_home())
    if daemon is None:
        text, left_out_ms = _own_focus(query)
    else:
        text, headers = daemon.get_text(f"/v1/cost/focus?{query_of(query)}")
        left_out_ms = int(headers.get(LEFT_OUT, 0))
    if left_out_ms:
        hours = left_out_ms / 3_600_000
        say(f"left out: {hours:.1f} device-hours of which nobody knows the price", err=True)
    return text


def _own_focus(query: Mapping[str, str]) -> tuple[str, int]:
    from mesh.api.bills.asked import parse_bill
    from mesh.config import fleet_home, load_config
    from mesh.edge.bills.kept import recent_ms

    home, moment_ms = fleet_home(), now_ms()
    zone = load_config(home).zone
    found = _local(zone, recent_ms(home, moment_ms) or moment_ms).focus(parse_bill(query, zone))
    return str(found.csv()), int(found.left_out_ms)


def key_of(report: Row) -> str:
    """What its groups are called."""
    return "period" if report["by"] in ("day", "month") else str(report["by"])


def dollars(nusd: int | None, *, partly: bool = False) -> str:
    """ "$1.20", "$1.20+" where some of it is unknown, "unknown" where all is."""
    from mathcore.units import show_nusd

    if nusd is None:
        return "unknown"
    return f"{show_nusd(nusd)}{'+' if partly else ''}"


def show(report: Row) -> None:
    """The table."""
    groups: Sequence[Row] = report["groups"]
    key = key_of(report)
    if not groups:
        emit([_column(key.upper(), lambda row: row[key])], [], NONE_YET)
        return
    whole = {**report, key: "total"}
    emit(
        [
            _column(key.upper(), lambda row: row[key], least=10),
            _column("HOURS", lambda row: f"{row['hours_used']:.3f}", rank=20, right=True),
            _column("JOBS", lambda row: row["jobs"], rank=30, right=True),
            _column("USED", lambda row: _part(row, "total_cost_nusd", "used"), right=True),
            _column("IDLE", lambda row: _part(row, "idle_nusd", "idle"), rank=10, right=True),
            _column(
                "NOT WATCHED",
                lambda row: _part(row, "unknown_nusd", "unknown"),
                rank=40,
                right=True,
            ),
            _column("TOTAL", lambda row: _whole(row), right=True),
            _column("BASIS", lambda row: row["basis"] or "", rank=50),
        ],
        [*groups, whole],
        NONE_YET,
    )
    if report["unknown_ms"]:
        emit_text(NOTE, "  ", err=True)


def _part(row: Row, name: str, kind: str) -> str:
    return dollars(row[name], partly=row.get(f"{kind}_unknown_ms", 0) > 0)


def _whole(row: Row) -> str:
    return dollars(row["total_nusd"], partly=row["unknown_ms"] > 0)


def _column(title: str, value: Any, **fits: Any) -> Column[Row]:
    return Column(title=title, value=value, **fits)


def _csv(report: Row) -> str:
    """A row for each group and device; an unknown amount is an empty cell."""
    from mesh.api.bills.cents import plain, table, usd

    key = key_of(report)
    amounts = ("cost_nusd", "idle_nusd", "unknown_nusd")
    head = ("device_id", "device_model", "hours_used", "cost_usd", *amounts, "unknown_ms", "basis")
    rows = []
    for group in report["groups"]:
        for row in group["devices"]:
            names = [plain(str(one)) for one in (group[key], row["device_id"], row["model"])]
            money = ["" if row[name] is None else row[name] for name in amounts]
            rest = (row["unknown_ms"], row["basis"] or "")
            rows.append([*names, row["hours_used"], usd(row["cost_nusd"]) or "", *money, *rest])
    return table([key, *head], rows)
