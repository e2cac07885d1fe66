"""`fleet rentals`: what is rented, where it stands, what it costs; and the receipt of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from mesh.cli.clouds.receipt import UNKNOWN, cost_known, show_receipt, what
from mesh.cli.clouds.words import why_words
from mesh.cli.exits import NOT_FOUND, stop
from mesh.cli.output import clean, emit_json, json_option, money, now_ms, say, show_age, show_at
from mesh.cli.table import Column, emit, emit_text

Row = Mapping[str, Any]

NONE: Final = "nothing is rented. try: fleet offers, then fleet rent --gpu 24GB.. --for 2h"
NOBODY: Final = "no daemon is running: nobody here returns what is open. try: fleet up --detach"
ENDED: Final = frozenset({"absent"})
BOOTS: Final = frozenset({"provisioning", "booting"})


@click.command()
@click.argument("rental", required=False)
@click.option("-a", "--all", "ended", is_flag=True, help="those that ended, too")
@json_option
def rentals(*, rental: str | None, ended: bool, output: str) -> None:
    """Rented machines; of RENTAL its receipt: quoted, metered, invoiced, and what differs."""
    found = _found(ended=ended or rental is not None)
    if rental is not None:
        _receipts(found["rentals"], rental, output)
        return
    if output == "json":
        emit_json(found)
        return
    if found["rentals"] or not found["requests"]:
        emit(COLUMNS, found["rentals"], NONE)
    _say_requests(found)
    _say_alarms(found["alarms"])
    if found["hourly_nusd"]:
        say()
        unknown = any(_rate(row) == UNKNOWN for row in found["rentals"])
        emit_text(f"{'at least ' if unknown else ''}{money(found['hourly_nusd'])} an hour now")


def found_rentals(*, ended: bool) -> Mapping[str, Any]:
    """From the daemon, which knows why requests wait; else from the ledger."""
    from mesh.cli.client import find_daemon
    from mesh.config import fleet_home

    home = fleet_home()
    daemon = find_daemon(home)
    if daemon is not None:
        return dict(daemon.get(f"/v1/rentals{'?ended=1' if ended else ''}"))
    from mesh.api.rentals.rows import ended_requests, rental_rows, request_row, sums
    from mesh.edge.store.state import load_state_if_any

    state = load_state_if_any(home)
    rows = rental_rows(state, now_ms(), {}, ended=ended)
    views = state.rentals.requests.views.values()
    requests = [request_row(state, one, "") for one in views if not one.over]
    found = {"rentals": rows, "requests": requests, "alarms": [], "daemon": False, **sums(rows)}
    return {**found, "ended_requests": ended_requests(state) if ended else []}


def _found(*, ended: bool) -> Mapping[str, Any]:
    """The same, with a word where nobody acts on what is open."""
    found = found_rentals(ended=ended)
    is_open = any(row["state"] not in ENDED for row in found["rentals"])
    if found.get("daemon") is False and (is_open or found["requests"]):
        emit_text(NOBODY, err=True)
    return found


def _say_requests(found: Mapping[str, Any]) -> None:
    """Those that have no machine, and why."""
    met = {row["request_id"] for row in found["rentals"] if row["state"] not in ENDED}
    for row in found["requests"]:
        why = row["waits_for"]
        if why or row["request_id"] not in met:
            name = f"request {row['request_id']} at {row['provider']}"
            emit_text(f"{name} waits: {clean(why_words(why or 'choosing'))}", err=True)


def _say_alarms(alarms: list[Row]) -> None:
    """Each thing once, with the age of the last time it was told."""
    last = {(row["provider"], row["rental_id"], row["why"]): row["at_ms"] for row in alarms}
    for (provider, rental_id, why), at_ms in last.items():
        age = show_age(max(0, now_ms() - at_ms))
        name = rental_id or provider
        emit_text(f"{clean(name)}: {clean(why_words(str(why)))} ({age} ago)", err=True)


def _receipts(rows: list[Row], wanted: str, output: str) -> None:
    names = ("rental_id", "request_id", "host", "instance")
    mine = [row for row in rows if wanted in [row[name] for name in names]]
    if not mine:
        stop(NOT_FOUND, f"no rental {clean(wanted)!r}", "fleet rentals -a")
    if output == "json":
        emit_json(mine)
        return
    for n, row in enumerate(mine):
        if n:
            say()
        show_receipt(row)


def _state(row: Row) -> str:
    """Where it stands; of one that boots how far it came."""
    shown = _brief_state(row)
    return f"{shown}: {row['step'] or 'asked for'}" if row["state"] in BOOTS else shown


def _why(row: Row) -> str:
    """What the state does not say by itself."""
    return "" if row["state"] in BOOTS else clean(why_words(str(row["why"])) or "")


def _rate(row: Row) -> str:
    """What is charged an hour now."""
    if row["state"] in ENDED:
        return ""
    nothing = row["state"] == "intended"  # it was not asked for yet
    return money(row["rate_nusd"]) if row["rate_nusd"] or nothing else UNKNOWN


def _cost(row: Row) -> str:
    return money(row["cost_nusd"]) if cost_known(row) else UNKNOWN


def _brief_state(row: Row) -> str:
    """In a word or two."""
    unconfirmed = row["state"] == "terminating_unconfirmed"
    return "end unconfirmed" if unconfirmed else str(row["state"]).replace("_", " ")


def _left(row: Row) -> str:
    if row["expires_ms"] is None or row["state"] in ENDED:
        return ""
    return show_age(max(0, row["expires_ms"] - now_ms()))


COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column(title="RENTAL", value=lambda row: row["request_id"] or row["rental_id"], least=8),
    Column(title="MACHINE", value=what, least=10, rank=10),
    Column(title="WHERE", value=lambda row: row["provider"], rank=20),
    Column(title="STATE", value=_state, brief=_brief_state, brief_rank=18),
    Column(title="WHY", value=_why, rank=40, least=8, wrap=True, optional=True),
    Column(title="$/H", value=_rate, right=True, rank=15),
    Column(title="COST", value=_cost, right=True),
    Column(title="BASIS", value=lambda row: row["basis"], rank=60),
    Column(title="LEFT", value=_left, right=True, rank=30, optional=True),
    Column(title="HOST", value=lambda row: row["host"] or "", rank=50, optional=True),
    Column(title="SINCE", value=lambda row: show_at(row["since_ms"]), rank=70),
)
