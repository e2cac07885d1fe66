"""What `fleet top` shows of one picture of the fleet: lines of text, as wide as the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mesh.cli.output import NONE, clean, gib, number, rate, show_age
from mesh.cli.table import Column, shortened, table_lines

Row = Mapping[str, Any]

BAR: Final = 10  # characters of a memory's bar
# Others' memory on a card is named from here on: a desktop takes some hundred MiB of any card.
FOREIGN_BYTES: Final = 256 << 20
MAX_HOLDERS: Final = 3  # named per card
NO_DEVICES: Final = "no devices yet. try: fleet up --detach"


def rows_of(picture: Mapping[str, Any]) -> list[Row]:
    """One row per device of every peer, with its peer's."""
    return [
        {**device, "peer": peer["name"] or peer["peer_id"][:7], "by": peer}
        for peer in picture["peers"]
        for device in peer["devices"]
    ]


def _used(row: Row) -> int | None:
    total, free = row["memory_bytes"], row["free_bytes"]
    return None if total is None or free is None else max(0, total - free)


def _memory(row: Row) -> str:
    """ "11.9/24.0": taken and all, GiB; what is unknown is a dash."""
    used, total = _used(row), row["memory_bytes"]
    if total is None:
        return ""
    return f"{NONE if used is None else gib(used)}/{gib(total)}"


def _bar(row: Row) -> str:
    used, total = _used(row), row["memory_bytes"]
    if used is None or not total:
        return ""
    full: int = min(BAR, (used * BAR + total // 2) // total)
    return "#" * full + "." * (BAR - full)


def _load(row: Row) -> str:
    return _known(row["utilisation_percent"], "%")


def _watts(row: Row) -> str:
    power = row["power_mw"]
    return "" if power is None else str((power + 500) // 1000)


def _heat(row: Row) -> str:
    return _known(row["temperature_c"], "C")


def _known(value: int | None, unit: str) -> str:
    return "" if value is None else f"{value}{unit}"


def _jobs(row: Row) -> str:
    names = [job["job_id"] for job in row["jobs"]]
    return "" if not names else names[0] if len(names) == 1 else f"{names[0]} +{len(names) - 1}"


def _speed(row: Row) -> str:
    told = [job["tokens_per_s_milli"] for job in row["jobs"]]
    known = [one for one in told if one is not None]
    return rate(sum(known) / 1000) if known else ""


def _state(row: Row) -> str:
    """ "ok", "lost 3m", "silent 12s": how it is, or since when nobody knows."""
    peer = row["by"]
    if peer["state"] != "live":
        age = peer["age_ms"] if peer["age_ms"] is not None else row["age_ms"]
        return peer["state"] if age is None else f"{peer['state']} {show_age(age)}"
    if row["health"] != "ok":
        return f"{row['health'].replace('_', ' ')} {show_age(number(row, 'health_age_ms'))}"
    return "ok" if row["age_ms"] is not None else "not read yet"


def columns() -> tuple[Column[Row], ...]:
    """What the table shows."""
    return (
        Column(title="DEVICE", value=lambda row: row["name"], least=8),
        Column(title="PEER", value=lambda row: row["peer"], rank=60, least=6),
        Column(title="MEMORY", value=_bar, rank=55),
        Column(title="GiB", value=_memory, right=True),
        Column(title="UTIL", value=_load, right=True),
        Column(title="W", value=_watts, right=True),
        Column(title="TEMP", value=_heat, right=True, rank=30),
        Column(title="JOB", value=_jobs, rank=50, least=6, optional=True),
        Column(title="TOK/S", value=_speed, right=True, rank=40, optional=True),
        Column(title="STATE", value=_state, least=10),
    )


def frame(picture: Mapping[str, Any], width: int | None) -> list[str]:
    """All lines of one picture."""
    rows = rows_of(picture)
    found = [_summary(picture, rows)]
    found += table_lines(columns(), rows, width, "-o json has all") if rows else [NO_DEVICES]
    found += [*_holders(rows), *_troubles(rows), *_silences(picture)]
    return [line if width is None else shortened(line, width) for line in found]


def _summary(picture: Mapping[str, Any], rows: Sequence[Row]) -> str:
    peers = picture["peers"]
    live = sum(peer["state"] == "live" for peer in peers)
    watts = [row["power_mw"] for row in rows if row["power_mw"] is not None and _is_live(row)]
    drawn = f", {(sum(watts) + 500) // 1000} W" if watts else ""
    told = "" if len(watts) in (0, len(rows)) else f" by {len(watts)} of them"
    return f"{_count(len(peers), 'peer')} ({live} live), {_count(len(rows), 'device')}{drawn}{told}"


def _count(many: int, what: str) -> str:
    return f"{many} {what}{'' if many == 1 else 's'}"


def _is_live(row: Row) -> bool:
    return bool(row["by"]["state"] == "live")


def _holders(rows: Sequence[Row]) -> Iterator[str]:
    """Whose memory a job would miss on a card."""
    from providers.telemetry.sample import Process, foreign_text

    for row in filter(_is_live, rows):
        held = [(number(one, "memory_bytes"), one) for one in row["foreign"] or ()]
        for size, one in [pair for pair in held if pair[0] >= FOREIGN_BYTES][:MAX_HOLDERS]:
            who = Process(pid=one["pid"], program=one["program"], memory_bytes=size)
            yield clean(f"{row['name']}: {foreign_text(who)}")


def _troubles(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if _is_live(row) and row["health"] != "ok" and row["health_text"]:
            yield clean(f"{row['name']}: {row['health_text']}")


def _silences(picture: Mapping[str, Any]) -> Iterator[str]:
    for peer in picture["peers"]:
        if peer["state"] != "live":
            yield clean(f"{peer['name'] or peer['peer_id'][:7]}: {peer['why']}")
