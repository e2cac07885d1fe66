"""`fleet models --where`: who has which model, by content."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mesh.cli.client import find_daemon, quoted
from mesh.cli.output import NONE, brief_ms, clean, emit_json, say
from mesh.cli.table import Column, emit, emit_text

Row = Mapping[str, Any]
ID_SHOWN: Final = 12  # digits of a content's id: enough to type, and to tell models apart
ALONE: Final = "no daemon is running: this is this machine alone; fleet up --detach asks the others"


def emit_where(ref: str, output: str) -> None:
    """Each model once, with everybody who has it; `ref` "" for all."""
    said, asked = _asked(ref)
    if output == "json":
        emit_json({**said, "asked": asked})
        return
    rows = by_content(said["models"])
    nothing = f"nobody has a model {clean(ref)!r}" if ref else "there are no models here"
    emit(_columns(), rows, f"{nothing}; fleet models search names what there is to download")
    for one in said["silent"]:
        emit_text(f"{clean(one['peer'])} does not say: {_why(one)}")
    for note in said["notes"]:
        emit_text(clean(note), "  ")
    if not asked:
        emit_text(ALONE)


def _why(silent: Row) -> str:
    """Its words without the name that stands before them already."""
    text, peer = clean(silent["text"]), clean(silent["peer"])
    return text.removeprefix(f"{peer}: ").removeprefix(f"{peer} ")


def _asked(ref: str) -> tuple[Row, bool]:
    """What the daemon knows of the fleet; without one, what lies on this disk."""
    from mesh.config import fleet_home, load_config

    home = fleet_home()
    daemon = find_daemon(home)
    if daemon is not None:
        return daemon.get(f"/v1/models/where?model={quoted(ref)}" if ref else ANYWHERE), True
    from mesh.edge.models.local import LocalModels

    local = LocalModels(home, load_config(home).models)
    found = local.find(ref) if ref else local.all()
    rows = [{**one.identity.to_json(), "keeper": one.model.keeper, "peer": ""} for one in found]
    return {"models": rows, "silent": [], "notes": local.notes}, False


ANYWHERE: Final = "/v1/models/where"


def by_content(copies: Sequence[Row]) -> list[Row]:
    """One row per content: its names, who has it, ours first."""
    found: dict[str, list[Row]] = {}
    for one in copies:
        found.setdefault(str(one["quick_hash"]), []).append(one)
    rows = [{**same[0], "copies": same} for same in found.values()]
    return sorted(rows, key=lambda row: (str(row["name"]).lower(), row["quick_hash"]))


def _where(row: Row) -> str:
    """ "here, rig (26s)": whoever is not here, with the time it would take to come."""
    copies: Sequence[Row] = row["copies"]
    here = ["here"] if any(not one["peer"] for one in copies) else []
    away = {str(one["peer"]): one.get("transfer_ms") for one in copies if one["peer"]}
    return ", ".join(here + [_with_time(peer, ms, here=bool(here)) for peer, ms in away.items()])


def _with_time(peer: str, ms: Any, *, here: bool) -> str:
    return peer if here or not isinstance(ms, int | float) else f"{peer} ({brief_ms(ms)})"


def _columns() -> tuple[Column[Row], ...]:
    from mathcore.units import show_bytes

    return (
        Column(title="MODEL", value=lambda row: row["name"], least=16),
        Column(title="SIZE", value=lambda row: show_bytes(row["size_bytes"]), right=True),
        Column(title="WHERE", value=_where, least=12, wrap=True),
        Column(title="KEPT BY", value=_keepers, rank=20),
        Column(title="ID", value=lambda row: row["quick_hash"][:ID_SHOWN], rank=10),
        Column(title="FILES", value=lambda row: len(row["files"]), right=True, rank=30),
    )


def _keepers(row: Row) -> str:
    """Whose folders they lie in; NONE for a file that lies where somebody put it."""
    found = dict.fromkeys(str(one.get("keeper") or "") for one in row["copies"])
    return ", ".join(filter(None, found)) or NONE


def show_progress(row: Row) -> str:
    """ "  45 %  450.0 MiB of 1.0 GiB  310 MB/s": one line of a transfer under way."""
    from mathcore.units import show_bytes

    size, got = int(row["size_bytes"]), int(row["got_bytes"])
    if row["state"] == "hashing":
        return f"the sender hashes it: {100 * int(row['hashed_bytes']) // max(1, size):3d} %"
    rate = int(row["received_bytes"]) / max(1, int(row["took_ms"])) / 1000
    line = f"  {rate:.0f} MB/s" if row["received_bytes"] else ""
    return f"{100 * got // max(1, size):3d} %  {show_bytes(got)} of {show_bytes(size)}{line}"


def say_start(row: Row, target: str) -> None:
    """What will come, from whom, and when it should be there."""
    from mathcore.units import show_bytes

    band = row.get("predicted_ms")
    when = ""
    if band:
        low, high = brief_ms(band["p10"]), brief_ms(band["p90"])
        when = f", ready in about {brief_ms(band['p50'])} ({low}–{high})"
    size = show_bytes(int(row["size_bytes"]))
    say(f"{clean(row['name'])} ({size}) from {clean(row['from'])}{target}{when}", err=True)
