"""`fleet rates`: what owned devices and power cost, as this peer says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from mesh.cli.client import need_daemon
from mesh.cli.output import emit_json, json_option
from mesh.cli.table import Column, emit, emit_text
from mesh.cli.verbs import Verbs

Row = Mapping[str, Any]


@click.group(cls=Verbs, invoke_without_command=True)
@json_option
@click.pass_context
def rates(ctx: click.Context, output: str) -> None:
    """What devices and power cost: said here, signed, and kept with its date."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(show, output=output)


@rates.command(name="set")
@click.argument("device")
@click.option("--price", metavar="N", help="paid for one, in the currency")
@click.option("--bought", metavar="DAY", help="when: 2025-06-01; wear counts from then")
@click.option("--months", metavar="N", help="written off over so long  [60]")
@click.option("--resale", metavar="N", help="what it brings after that  [0]")
@click.option("--watts", metavar="W", help="drawn under load")
@click.option("--idle-watts", metavar="W", help="drawn when nobody uses it")
@click.option("--tariff", metavar="NAME", help="what its power is bought by: fleet rates tariff")
@click.option("--currency", metavar="EUR", help="of price and resale  [USD]")
@click.option("--count", metavar="N", help="so many of them; 0 = gone  [1]")
@click.option("--owner", metavar="NAME", help="who pays for it  [this peer]")
@click.option("--from", "from_", metavar="DAY", help="true from that day on  [now]")
@json_option
def set_(*, device: str, output: str, from_: str | None, **given: str | None) -> None:
    """Say what DEVICE costs, from a day on; what is not said stays as it was."""
    body = {"device": device, "from": from_, **given}
    _say("rate", body, output, f"the bill of {device} counts with it; fleet cost --by device")


@rates.command()
@click.argument("name")
@click.argument("prices", nargs=-1, required=True)
@click.option("--zone", metavar="ZONE", help="whose clock and days  [the setting `zone`]")
@click.option("--currency", metavar="EUR", help="of the prices  [USD]")
@click.option("--from", "from_", metavar="DAY", help="true from that day on  [now]")
@json_option
def tariff(
    *, name: str, prices: Sequence[str], output: str, from_: str | None, **given: str | None
) -> None:
    """Say what a kWh costs: 0.32, or bands "mon-fri 06:00-22:00 0.36" 0.29; the first that holds
    counts. Hours over midnight belong to the day on which they begin."""
    body = {"name": name, "bands": list(prices), "from": from_, **given}
    _say("tariff", body, output, f"fleet rates set DEVICE --tariff {name}")


@rates.command()
@click.argument("currency")
@click.argument("usd")
@click.option("--from", "from_", metavar="DAY", help="true from that day on  [now]")
@json_option
def currency(*, currency: str, usd: str, output: str, from_: str | None) -> None:
    """Say how many dollars one unit of CURRENCY is worth; an admin's word."""
    body = {"currency": currency, "usd": usd, "from": from_}
    _say("currency", body, output, f"amounts in {currency.upper()} are counted with it")


@rates.command(context_settings={"ignore_unknown_options": True})
@click.argument("device")
@click.argument("period")
@click.argument("usd")
@click.option("--basis", metavar="WORD", help="invoiced or measured  [invoiced]")
@click.option("--component", metavar="WORD", help="of this alone: power, wear, rent")
@json_option
def charge(*, output: str, **given: str | None) -> None:
    """Say what a bill says that DEVICE cost in PERIOD, 2026-10-04 or 2026-10; -5 is a credit."""
    _say("charge", given, output, "it takes the place of what was reckoned for that time")


@rates.command()
@click.argument("seq")
@json_option
def undo(*, seq: str, output: str) -> None:
    """Take back what this peer said in its event SEQ (fleet rates show). Bills as known before stay
    as they were: fleet cost --as-of DAY."""
    _say("undo", {"seq": seq}, output, "it counts no more")


@rates.command()
@json_option
def show(*, output: str) -> None:
    """What each device costs, what is missing, and what this peer said."""
    from mesh.config import fleet_home

    found = need_daemon(fleet_home()).get("/v1/rates")
    if output == "json":
        emit_json(found)
        return
    emit(DEVICES, found["devices"], "no device is registered")
    if found["said"]:
        click.echo()
        emit(SAID, found["said"], "")


def _say(what: str, given: Mapping[str, object], output: str, done: str) -> None:
    from mesh.config import fleet_home

    body = {name: value for name, value in given.items() if value is not None}
    found = need_daemon(fleet_home()).post(f"/v1/rates/{what}", body)
    if output == "json":
        emit_json(found)
        return
    emit_text(f"said in event {found['seq']}: {done}")


def _price(row: Row) -> str:
    from mathcore.units import show_nusd

    if row["hourly_nusd"]:
        return f"{show_nusd(row['hourly_nusd'])}/h rent"
    if row["price_nusd"] is None:
        return "unknown"
    many = "" if row["count"] == 1 else f"{row['count']} × "
    return f"{many}{row['price_nusd'] / 10**9:g} {row['currency']}"


def _watts(name: str) -> Any:
    return lambda row: "unknown" if row[name] is None else f"{row[name] / 1000:g}"


def _said_on(row: Row) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(row["said_ms"] / 1000, UTC).strftime("%Y-%m-%d")


DEVICES: Final[tuple[Column[Row], ...]] = (
    Column(title="DEVICE", value=lambda row: row["name"], least=10),
    Column(title="PRICE", value=_price, right=True),
    Column(title="MONTHS", value=lambda row: row["months"], rank=30, right=True),
    Column(title="WATTS", value=_watts("watts_mw"), rank=20, right=True),
    Column(title="IDLE W", value=_watts("idle_mw"), rank=25, right=True),
    Column(title="TARIFF", value=lambda row: row["tariff"] or "unknown", rank=10, least=8),
    Column(title="MISSING", value=lambda row: ", ".join(row["missing"]), least=8, wrap=True),
)
SAID: Final[tuple[Column[Row], ...]] = (
    Column(title="EVENT", value=lambda row: row["seq"], right=True),
    Column(title="SAID", value=_said_on, rank=10),
    Column(title="WHAT", value=lambda row: row["text"], least=20, wrap=True),
    Column(title="", value=lambda row: "undone" if row["undone"] else "", optional=True),
)
