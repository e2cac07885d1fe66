"""`fleet cost`: the bill, by whatever a person asks."""

from collections.abc import Mapping
from typing import Any

import click

from mesh.cli.output import emit_json, emit_table, json_option


@click.command()
@click.option("--by", type=click.Choice(["day", "month", "device", "job", "model"]), default="day")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="comma-separated rows with a header")
def cost(*, by: str, output: str, as_csv: bool) -> None:
    """What was spent, from the ledger: daily unless --by says otherwise."""
    from mesh.api.rows import billed
    from mesh.config import fleet_home
    from mesh.edge.store.state import load_state
    from mesh.state.billing import cost_csv, cost_report

    if as_csv and output == "json":
        raise click.UsageError("--csv and -o json are two formats; choose one")
    report = cost_report(billed(load_state(fleet_home(), every_job=by == "job")), by)
    if as_csv:
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
    heads = (str(key).upper(), "DEVICE", "MODEL", "HOURS", "COST")
    emit_table(heads, rows, "nothing was spent yet")
