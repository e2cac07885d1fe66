"""Where a job stands, in one line: what it waits for, when it should start and end."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from mesh.cli.client import Daemon, find_daemon
from mesh.cli.exits import Stop
from mesh.cli.output import clean, show_at

Row = Mapping[str, Any]
NO_DAEMON: Final = "waiting for the daemon (fleet up --detach)"
WAITS: Final = ("pending", "dispatched", "queued")
MAX_TOLD: Final = 5
LIVE: Final = ("waiting", "waiting_code", "standing")


def with_standing(rows: Sequence[Row], home: Path) -> list[Row]:
    """The rows of jobs that wait, with what the daemon knows of that: why, and for how long. Where
    none runs, this peer's jobs wait for it."""
    if not any(row["status"] in WAITS for row in rows):
        return list(rows)
    daemon = find_daemon(home)
    live = {} if daemon is None else _asked(daemon)
    found: list[Row] = []
    for row in rows:
        if row["status"] in WAITS and daemon is None and _is_ours(row, home):
            found.append({**row, "waiting": NO_DAEMON})
        elif row["status"] in WAITS and row["job_id"] in live:
            found.append({**row, **{name: live[row["job_id"]][name] for name in LIVE}})
        else:
            found.append(row)
    return found


def _asked(daemon: Daemon) -> dict[str, Row]:
    """Every job as the daemon shows it; none where it goes down just now."""
    with suppress(Stop):
        return {row["job_id"]: row for row in daemon.get("/v1/jobs")["jobs"]}
    return {}


def _is_ours(row: Row, home: Path) -> bool:
    from mesh.edge.identity import load_or_create

    return bool(row["home"] == load_or_create(home).author)


def tell_standing(value: Mapping[str, Any], *, quiet: bool) -> None:
    """Say it on standard error, where somebody reads that."""
    text = "" if quiet else standing_text(value)
    if text:
        click.echo(clean(text), err=True)


def tell_waiting(rows: Sequence[Row]) -> None:
    """Why jobs wait, a line each below their table: of those that came first, a few."""
    found = [(row, standing_text(row)) for row in rows if row["status"] in WAITS]
    told = [(row, text) for row, text in found if text][::-1]  # rows come newest first
    for row, text in told[:MAX_TOLD]:
        click.echo(f"{row['job_id']} {clean(text)}")
    if len(told) > MAX_TOLD:
        click.echo(f"and {len(told) - MAX_TOLD} more that wait; fleet job ID says why")


def standing_text(value: Mapping[str, Any]) -> str:
    """ "waits: rig is held by j-1; starts in about 2m; deadline met with 83 %", or "on rig: …"."""
    waiting = str(value["waiting"])
    when = when_text(value["standing"] or {})
    if value["status"] in WAITS:
        return "; ".join(part for part in (f"waits: {waiting}" if waiting else "", when) if part)
    expected = expected_text(value["expected"])
    return f"on {' + '.join(value['devices'])}{f': {expected}' if expected else ''}"


def when_text(standing: Mapping[str, Any]) -> str:
    """ "starts in about 2.0 s (9 in 10: 4.1 s), ends in about 5.0 s, deadline met with 83 %"."""
    parts = []
    for name, verb in (("start", "starts"), ("end", "ends")):
        p50, p90 = standing.get(f"{name}_p50_ms"), standing.get(f"{name}_p90_ms")
        if p50 is not None:
            parts.append(f"{verb} {_within(p50, p90)}")
    return ", ".join([*parts, *chance(standing.get("p_ppm"))])


def deadline_text(row: Row) -> str:
    """ "2026-11-29 14:10:00 UTC, met, expected with 83 %"; "" without one."""
    if row["deadline_ms"] is None:
        return ""
    met = {True: "met", False: "missed", None: ""}[row["deadline_met"]]
    said = (row["expected"] or {}).get("p_ppm")
    hoped = f"expected with {chance(said)[0].rpartition('with ')[2]}" if said is not None else ""
    return ", ".join(part for part in (f"{show_at(row['deadline_ms'])} UTC", met, hoped) if part)


def expected_text(expected: Mapping[str, Any] | None) -> str:
    """ "ends by 14:05:10 (9 in 10: 14:05:40), deadline met with 83 %", as its owner said when it
    took it."""
    if not expected or expected["end_p50_ms"] is None:
        return ""
    late = expected["end_p90_ms"]
    text = f"should end {show_at(expected['end_p50_ms'])} UTC"
    text += f" (9 in 10 by {show_at(late)})" if late else ""
    return ", ".join([text, *chance(expected["p_ppm"])])


def chance(p_ppm: int | None) -> list[str]:
    """Never 0 or 100 %: no prediction is that sure."""
    if p_ppm is None:
        return []
    return [f"deadline met with {min(99, max(1, round(p_ppm / 10_000)))} %"]


def _within(p50: int, p90: int | None) -> str:
    from mathcore.units import show_ms

    if not p50 and not p90:
        return "at once"
    late = f" (9 in 10: {show_ms(p90)})" if p90 and p90 > p50 else ""
    return f"in about {show_ms(p50)}{late}"
