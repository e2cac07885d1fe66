"""`fleet status`: the fleet at a glance."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from mesh.api.errors import RequestError
from mesh.cli.client import Daemon, find_daemon
from mesh.cli.exits import Stop
from mesh.cli.machines.devices import emit_devices
from mesh.cli.output import emit_json, json_option, money, now_ms, number, say, show_age
from mesh.cli.table import emit_text


@click.command()
@json_option
def status(output: str) -> None:
    """The fleet at a glance: daemon, devices, jobs, today's cost."""
    from mesh.api.rows import status_dict
    from mesh.cli.clouds.staying import rented_now
    from mesh.config import fleet_home
    from mesh.edge.store.state import load_state

    home = fleet_home()
    alive = find_daemon(home)
    state = load_state(home)
    found = status_dict(state, now_ms(), daemon=alive is not None)
    known = [{"name": one.name, "state": "unknown"} for one in state.members.peers() if one.role]
    found |= {"peers": (None if alive is None else _seen(alive)) or known} | _forks(home)
    found |= _own(alive) | {"rented": rented_now(state, now_ms())}
    if output == "json":
        emit_json(found)
        return
    _show(found)


def _seen(daemon: Daemon) -> list[dict[str, object]] | None:
    """The fleet's peers as the daemon sees them; None if it does not say."""
    try:
        rows = daemon.get("/v1/peers")["peers"]
    except (RequestError, Stop):
        return None
    return [
        {key: row[key] for key in ("name", "role", "state", "age_ms")}
        for row in rows
        if row["state"] != "removed"
    ]


def _own(daemon: Daemon | None) -> dict[str, object]:
    """Why the daemon signs nothing yet, and where it answers for models; "" where it doesn't."""
    said: Mapping[str, Any] = {}
    with suppress(RequestError, Stop):
        said = {} if daemon is None else daemon.get("/v1/status")
    gateway = said.get("gateway") or {}
    return {
        "waiting_for": str(said.get("waiting_for", "")),
        "resting": str(said.get("resting", "")),
        "gateway": {"url": str(gateway.get("url", ""))},
    }


def _forks(home: Path) -> dict[str, object]:
    """Whose key was copied."""
    from mesh.edge.identity import peer_id
    from mesh.edge.store.forks import forks

    return {
        "forks": [
            {"peer_id": peer_id(author), "seq": seq} for author, seq in sorted(forks(home).items())
        ]
    }


def _peer(row: Mapping[str, Any]) -> str:
    age = row.get("age_ms")
    ago = f" {show_age(age)} ago" if age and row["state"] == "offline" else ""
    return f"{row['name']} ({row['state']}{ago})"


def _events(found: Mapping[str, Any]) -> str:
    """How many there are and how old the newest is; a ledger without any has no newest."""
    last_ms = number(found, "last_event_ms")
    if not last_ms:
        return f"{found['events']} events" if found["events"] else "no events yet"
    return f"{found['events']} events, the last {show_age(now_ms() - last_ms)} ago"


def _show(found: Mapping[str, Any]) -> None:
    from mesh.cli.clouds.staying import in_words

    say("daemon up" if found["daemon"] else "daemon down (start it: fleet up --detach)")
    if found["waiting_for"]:
        text = f"signs nothing yet: waits for {found['waiting_for']} (fleet doctor)"
        emit_text(text, "  ")
    if found["resting"]:
        rest = "prices are asked for hourly, and models hashed once somebody waits for them"
        emit_text(f"saves power: {found['resting']}; {rest}", "  ")
    if found["gateway"]["url"]:
        say(f"models: {found['gateway']['url']}/v1 (fleet chat, fleet ps)")
    if found["peers"]:
        emit_text(f"peers: {', '.join(_peer(one) for one in found['peers'])}", "  ")
    jobs = ", ".join(f"{count} {name}" for name, count in sorted(found["jobs"].items()))
    say(f"jobs: {jobs or 'none yet'}")
    today, total = (money(number(found, f"cost_{when}_nusd")) for when in ("today", "total"))
    say(f"cost: {today} today, {total} in all")
    if rented := in_words(found["rented"]):
        down = "" if found["daemon"] else ", and no daemon here to return them"
        emit_text(f"rented: {rented}{down} (fleet rentals)", "  ")
    say(f"ledger: {_events(found)}")
    for one in found["forks"]:
        who = one["peer_id"][:7]
        emit_text(f"FORK: the key {who} signed two histories from its event {one['seq']} on", "  ")
        say("  (fleet doctor)")
    say()
    emit_devices(found["devices"])
