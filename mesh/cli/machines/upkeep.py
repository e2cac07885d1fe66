"""`fleet drain`, `resume`, `reserve`, `unreserve`: who may use a device, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import click

from mesh.cli.client import need_daemon, quoted
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
    """Let no new jobs start on DEV; what runs there goes on.

    DEV is a device's id or name, or a machine's name, which means all of its devices.
    """
    said = _post(device, "drain", {"reason_code": reason})
    verb = "takes" if len(said) == 1 else "take"
    text = (
        f"{_names(said)} {verb} no new jobs ({clean(said[0]['drained'])}); what runs there goes on"
    )
    _tell(said, output, f"{text}. Later: fleet resume {clean(device)}")


@click.command()
@device_argument
@json_option
def resume(device: str, output: str) -> None:
    """Let jobs start on DEV again."""
    said = _post(device, "resume", {})
    verb = "takes" if len(said) == 1 else "take"
    _tell(said, output, f"{_names(said)} {verb} jobs again")


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
    verb = "is" if len(said) == 1 else "are"
    _show(said, output, f"{_names(said)} {verb} free for everybody's jobs")


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


def _post(device: str, verb: str, body: Mapping[str, object]) -> list[Row]:
    """What became of each device that is meant, in the order of their names."""
    from mesh.config import fleet_home

    daemon = need_daemon(fleet_home())
    meant = _meant(daemon.get("/v1/devices")["devices"], device)
    return [daemon.post(f"/v1/devices/{quoted(one)}/{verb}", body) for one in meant]


def _meant(rows: Sequence[Row], wanted: str) -> list[str]:
    """Ids of the devices of a machine of this name; else what was typed, for one device."""
    from mesh.edge.jobs.cards import machine_of

    machine = [row for row in rows if machine_of(row["name"]) == wanted]
    known = any(row["device_id"] == wanted for row in rows)
    if known or len({(row["owner"], row["payload"].get("host", "")) for row in machine}) != 1:
        return [wanted]
    return [row["device_id"] for row in sorted(machine, key=lambda row: str(row["name"]))]


def _names(said: Sequence[Row]) -> str:
    return ", ".join(clean(row["name"]) for row in said)


def _tell(said: Sequence[Row], output: str, text: str) -> None:
    if output == "json":
        emit_json(said[0] if len(said) == 1 else list(said))
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


def _show(said: Sequence[Row], output: str, free: str) -> None:
    """The devices' reservations; of one machine's devices they are mostly the same."""
    if output == "json":
        emit_json(said[0] if len(said) == 1 else list(said))
        return
    held = [row for row in said if row["reservations"]]
    if not held:
        emit_text(free)
    for row in held:
        emit_text(f"{clean(row['name'])} is reserved:")
        emit(COLUMNS, row["reservations"], "")
