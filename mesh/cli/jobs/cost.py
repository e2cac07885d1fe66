"""`fleet cost`: the bill, by whatever a person asks."""

from collections.abc import Mapping
from typing import Any

import click

from mesh.cli.options import csv_option, output_of
from mesh.cli.output import csv_json_option, emit_json
from mesh.cli.table import Column, emit


@click.command()
@click.option(
    "--by",
    type=click.Choice(["day", "month", "device", "job", "model", "key"]),
    default="day",
    show_default=True,
    help="what to add up by",
)
@csv_json_option
@csv_option
def cost(*, by: str, output: str, as_csv: bool) -> None:
    """What was spent, from the ledger: daily unless --by says otherwise."""
    from mesh.api.serving.usage import cost_by
    from mesh.config import fleet_home
    from mesh.edge.store.state import load_state
    from mesh.state.billing import cost_csv

    output = output_of(output, as_csv=as_csv)
    report = cost_by(load_state(fleet_home(), every_job=by == "job"), by)
    if output == "csv":
        click.echo(cost_csv(report), nl=False)
    elif output == "json":
        emit_json(report)
    else:
        _show(report)


def _show(report: Mapping[str, Any]) -> None:
    from mathcore.units import show_nusd

    key = "period" if report["by"] in ("day", "month") else report["by"]
    rows: list[list[object]] = [
        [
            group[key],
            line["device_id"],
            line["model"],
            f"{line['hours_used']:.3f}",
            show_nusd(line["cost_nusd"]),
        ]
        for group in report["groups"]
        for line in group["devices"]
    ]
    if rows:
        rows.append(["total", "", "", "", show_nusd(report["total_cost_nusd"])])
    fits: list[dict[str, Any]] = [
        {"title": str(key).upper(), "least": 10},
        {"title": "DEVICE", "rank": 20, "least": 10},
        {"title": "MODEL", "rank": 30, "least": 12},
        {"title": "HOURS", "rank": 10, "right": True},
        {"title": "COST", "right": True},
    ]
    emit([_column(at, fit) for at, fit in enumerate(fits)], rows, "nothing was spent yet")


def _column(at: int, fit: Mapping[str, Any]) -> Column[list[object]]:
    return Column(value=lambda row: row[at], **fit)
