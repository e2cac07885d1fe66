"""`fleet keys`: who may ask the fleet's models, how often, and for how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from mesh.cli.client import need_daemon, quoted
from mesh.cli.exits import USAGE, stop
from mesh.cli.options import confirm
from mesh.cli.output import NONE, clean, emit_json, json_option, money, now_ms, say, show_age
from mesh.cli.table import Column, emit, emit_text
from mesh.cli.verbs import Verbs

Row = Mapping[str, Any]

EMPTY: Final = "there are no keys. try: fleet keys add NAME"
ONCE: Final = "It is shown this once: the fleet keeps only its hash."


@click.group(cls=Verbs, invoke_without_command=True)
@json_option
@click.pass_context
def keys(ctx: click.Context, output: str) -> None:
    """Keys with which tools ask the fleet's models; never their secrets."""
    if ctx.invoked_subcommand is not None:
        return
    from mesh.api.serving.keys import key_rows
    from mesh.config import fleet_home
    from mesh.edge.store.state import load_state

    rows = key_rows(load_state(fleet_home()), now_ms())
    if output == "json":
        emit_json(rows)
    else:
        emit(COLUMNS, rows, EMPTY)


@keys.command()
@click.argument("name")
@click.option("--models", metavar="A,B", help="it may ask these only  [default: all]")
@click.option("--rate", metavar="N/min", help="requests a minute, at most: 60/min")
@click.option("--budget", metavar="$/TIME", help="it may cost: $5/day, $50/month, or $20 in all")
@json_option
def add(
    *, name: str, models: str | None, rate: str | None, budget: str | None, output: str
) -> None:
    """Make a key called NAME and show its secret once."""
    from mesh.config import fleet_home

    body: dict[str, object] = {"name": name}
    if models is not None:
        body["models"] = _names(models)
    if rate is not None:
        body["rate_per_min"] = _rate(rate)
    if budget is not None:
        body["budget"] = _budget(budget)
    made = need_daemon(fleet_home()).post("/v1/keys", body)
    if output == "json":
        emit_json(made)
        return
    emit_text(f"{clean(made['name'])} ({clean(made['key_id'])})")
    say(clean(made["secret"]))  # on a line of its own, however narrow: it is to be copied
    emit_text(ONCE, err=True)


@keys.command()
@click.argument("key", metavar="NAME|ID")
@click.option("-y", "--yes", is_flag=True, help="do not ask")
@json_option
def revoke(*, key: str, yes: bool, output: str) -> None:
    """Let a key open nothing any more, for good."""
    from mesh.config import fleet_home

    daemon = need_daemon(fleet_home())
    if not yes:
        confirm(f"revoke {clean(key)}? What uses it is refused from then on")
    said = daemon.post(f"/v1/keys/{quoted(key)}/revoke", {})
    if output == "json":
        emit_json(said)
    else:
        emit_text(f"{clean(said['name'])} ({clean(said['key_id'])}) opens nothing any more")


def _names(text: str) -> list[str]:
    names = [one.strip() for one in text.split(",")]
    if not all(names):
        stop(USAGE, f"--models {text!r} names nothing", "--models llama-3.1-8b,qwen3-8b")
    return names


def _rate(text: str) -> int:
    from mesh.api.serving.keys import parse_rate

    try:
        return parse_rate(text)
    except ValueError as error:
        stop(USAGE, str(error), "--rate 60/min")


def _budget(text: str) -> str:
    from mesh.api.serving.keys import parse_budget

    try:
        parse_budget(text)
    except ValueError as error:
        stop(USAGE, str(error), "--budget '$5/day'")
    return text


def _state(row: Row) -> str:
    return "revoked" if row["revoked_ms"] else "works" if row["works"] else "its peer left"


def _spent(row: Row) -> str:
    """ "$1.20 of $5.00/day"; without a budget what it cost altogether."""
    spent = money(row["spent_nusd"])
    if not row["budget_nusd"]:
        return spent
    per = "" if row["budget_per"] == "total" else f"/{row['budget_per']}"
    return f"{spent} of {money(row['budget_nusd'])}{per}"


def _per_min(row: Row) -> str:
    return f"{row['rate_per_min']}/min" if row["rate_per_min"] else NONE


COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column(title="KEY", value=lambda row: row["name"], least=8),
    Column(title="STATE", value=_state),
    Column(title="SPENT", value=_spent),
    Column(title="RATE", value=_per_min, rank=20, right=True),
    Column(title="MODELS", value=lambda row: ", ".join(row["models"]) or "all", rank=30, least=8),
    Column(title="MADE BY", value=lambda row: row["peer"], rank=40, least=8),
    Column(title="SAID", value=lambda row: f"{show_age(now_ms() - row['added_ms'])} ago", rank=50),
    Column(title="ID", value=lambda row: row["key_id"], rank=10),
)
