"""`fleet drain`, `resume`, `reserve`, `unreserve`: who may use a device, and when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import click

from mesh.cli.client import need_daemon
from mesh.cli.exits import USAGE, stop
from mesh.cli.output import brief_ms, clean, emit_json, json_option, now_ms, number, show_at
from mesh.cli.table import Column, emit, emit_text
from mesh.state.facts.upkeep import DRAIN_REASONS

Row = Mapping[str, Any]
device_argument = click.argument("device", metavar="DEV")


@click.command()
@device_argument
@click.option(
    "--reason",
    type=click.Choice(DRAIN_REASONS),
    default=DRAIN_REASONS[0],
    show_default=True,
    help="what others are told",
)
@json_option
def drain(device: str, reason: str, output: str) -> None:
    """Let no new jobs start on DEV, a device's name or id; what runs there goes on."""
    said = _post(device, "drain", {"reason_code": reason})
    name = clean(said["name"])
    text = f"{name} takes no new jobs ({clean(said['drained'])}); what runs there goes on"
    _tell(said, output, f"{text}. Later: fleet resume {name}")


@click.command()
@device_argument
@json_option
def resume(device: str, output: str) -> None:
    """Let jobs start on DEV again."""
    said = _post(device, "resume", {})
    _tell(said, output, f"{clean(said['name'])} takes jobs again")


@click.command()
@device_argument
@click.option("--for", "length", metavar="TIME", required=True, help="how long: 30m, 2h, 1d")
@click.option(
    "--from", "start", metavar="TIME", help="begins at 14:00, 2026-11-30 09:00, or in 90m  [now]"
)
@json_option
def reserve(device: str, length: str, start: str | None, output: str) -> None:
    """Let only this peer's jobs start on DEV for a while; what runs there goes on."""
    now = now_ms()
    body = {"for_ms": _duration(length)}
    if start is not None:
        body["from_ms"] = instant(start, now)
    said = _post(device, "reserve", body)
    _show(said, output, "")


@click.command()
@device_argument
@click.option("--id", "reservation", metavar="ID", help="which one  [default: all of this peer's]")
@json_option
def unreserve(device: str, reservation: str | None, output: str) -> None:
    """End this peer's reservations of DEV, or the one that --id names."""
    body = {} if reservation is None else {"reservation_id": reservation}
    said = _post(device, "unreserve", body)
    _show(said, output, f"{clean(said['name'])} is free for everybody's jobs")


def instant(text: str, now: int) -> int:
    """Milliseconds UTC of a local time, or of a duration from now; Stop for anything else."""
    from mathcore.units import parse_duration_ms

    here = datetime.fromtimestamp(now / 1000).astimezone()
    try:
        return now + parse_duration_ms(text)
    except ValueError:
        pass
    try:
        if len(text) <= len("14:00"):
            clock = datetime.strptime(text, "%H:%M")  # noqa: DTZ007 - a time of day, no instant
            at = here.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
            at += timedelta(days=at <= here)
        else:
            at = datetime.fromisoformat(text).astimezone()
    except ValueError:
        stop(USAGE, f"{text!r} is no time", "--from 14:00, --from '2026-11-30 09:00', --from 90m")
    return round(at.timestamp() * 1000)


def _duration(text: str) -> int:
    from mathcore.units import parse_duration_ms

    try:
        return parse_duration_ms(text)
    except ValueError as error:
        stop(USAGE, str(error), "--for 30m, --for 2h, --for 1d")


def _post(device: str, verb: str, body: Mapping[str, object]) -> Row:
    from urllib.parse import quote

    from mesh.config import fleet_home

    path = f"/v1/devices/{quote(device, safe='')}/{verb}"
    return dict(need_daemon(fleet_home()).post(path, body))


def _tell(said: Row, output: str, text: str) -> None:
    if output == "json":
        emit_json(said)
    else:
        emit_text(text)


def _left(row: Row) -> str:
    begins, ends = number(row, "from_ms") - now_ms(), number(row, "until_ms") - now_ms()
    return f"in {brief_ms(begins)}" if begins > 0 else f"{brief_ms(max(0, ends))} left"


COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column(title="FOR", value=lambda row: row["peer"] or row["by"][:8], least=8),
    Column(title="FROM (UTC)", value=lambda row: show_at(number(row, "from_ms"))[:-3]),
    Column(title="UNTIL (UTC)", value=lambda row: show_at(number(row, "until_ms"))[:-3]),
    Column(title="TIME", value=_left, rank=10),
    Column(title="ID", value=lambda row: row["reservation_id"], rank=20),
)


def _show(said: Row, output: str, free: str) -> None:
    """A device's reservations."""
    if output == "json":
        emit_json(said)
        return
    if said["reservations"]:
        emit_text(f"{clean(said['name'])} is reserved:")
    emit(COLUMNS, said["reservations"], free)
