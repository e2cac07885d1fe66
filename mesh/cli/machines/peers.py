"""`fleet peers`: who belongs to the fleet, who wants to, and who no longer does."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import click

from mesh.cli.client import find_daemon, need_daemon
from mesh.cli.output import NONE, emit_json, emit_table, json_option, now_ms, show_age
from mesh.cli.verbs import Verbs

ROLES = ("viewer", "member", "runner", "admin")
yes_option = click.option("-y", "--yes", is_flag=True, help="do not ask")


@click.group(cls=Verbs, invoke_without_command=True)
@json_option
@click.pass_context
def peers(ctx: click.Context, output: str) -> None:
    """The fleet's peers; the commands below let others in and out."""
    if ctx.invoked_subcommand is not None:
        return
    rows = _rows()
    if output == "json":
        emit_json(rows)
    else:
        heads = ("PEER", "ID", "ROLE", "STATE", "ADDRESS", "LAST SEEN", "BY", "LEDGER")
        emit_table(
            heads,
            [_row(row) for row in rows],
            "this peer is alone. try: fleet invite here, fleet join CODE there",
        )


def _rows() -> list[dict[str, Any]]:
    from mesh.config import fleet_home

    home = fleet_home()
    daemon = find_daemon(home)
    if daemon is not None:
        return list(daemon.get("/v1/peers")["peers"])
    from mesh.edge.peering.offline import peers as at_rest

    return list(at_rest(home, now_ms()))


def _row(row: Mapping[str, Any]) -> list[object]:
    state = "this peer" if row["you"] else row["state"]
    age = row["age_ms"]
    seen = "now" if row["state"] == "online" else f"{show_age(age)} ago" if age else NONE
    by = ", ".join(sorted(row["sources"], key=lambda name: row["sources"][name]))
    return [
        row["name"],
        row["peer_id"][:7],
        row["role"] or NONE,
        state,
        row["address"],
        seen,
        by,
        show_sync(row["sync"]),
    ]


def show_sync(sync: Mapping[str, Any] | None) -> str:
    """How far a neighbour's ledger and ours are apart."""
    if sync is None:
        return ""
    behind = sync["behind"]
    if not behind:
        return "in sync"
    return f"{behind} events to come ({100 - 100 * behind // max(1, sync['expected'])} %)"


@peers.command()
@json_option
def pending(output: str) -> None:
    """Who asks to be let in."""
    from mesh.config import fleet_home

    rows = need_daemon(fleet_home()).get("/v1/peers/pending")["pending"]
    if output == "json":
        emit_json(rows)
        return
    lines = [[r["name"], r["peer_id"], r["address"], f"{show_age(r['age_ms'])} ago"] for r in rows]
    emit_table(("NAME", "ID", "ADDRESS", "ASKED"), lines, "nobody asks to be let in")


@peers.command()
@click.argument("peer")
@click.option("--role", type=click.Choice(ROLES), default="runner", show_default=True)
@json_option
def accept(peer: str, role: str, output: str) -> None:
    """Let in a PEER that asks; compare its id with what `fleet id` says there."""
    said = _post(f"/v1/peers/{_part(peer)}/accept", {"role": role})
    _tell(said, output, f"{said['name']} is in as {role}")


@peers.command()
@click.argument("peer")
@json_option
def ignore(peer: str, output: str) -> None:
    """Neither show nor answer a PEER that asks."""
    said = _post(f"/v1/peers/{_part(peer)}/ignore", {})
    _tell(said, output, f"{said['name']} is ignored")


@peers.command()
@click.argument("peer")
@click.option("--reason", default="removed by hand", show_default=True)
@yes_option
@json_option
def remove(peer: str, reason: str, yes: bool, output: str) -> None:
    """Put PEER out of the fleet, on every peer; what it writes from now on does not count."""
    if not yes:
        click.confirm(f"remove {peer} from the fleet?", abort=True, err=True)
    said = _post(f"/v1/peers/{_part(peer)}/remove", {"reason": reason})
    _tell(said, output, f"{said['name']} is out; of its events the first {said['until']} count")


@peers.command()
@click.argument("peer")
@click.argument("name")
@json_option
def rename(peer: str, name: str, output: str) -> None:
    """Call PEER something else."""
    said = _post(f"/v1/peers/{_part(peer)}/rename", {"name": name})
    _tell(said, output, f"{peer} is {said['name']} now")


@peers.command()
@click.argument("address")
@json_option
def add(address: str, output: str) -> None:
    """Try ADDRESS (HOST or HOST:PORT) for members from now on."""
    said = _post("/v1/peers/addresses", {"address": address})
    _tell(said, output, f"{address} will be tried" if said["new"] else f"{address} is known")


def _post(path: str, body: Mapping[str, object]) -> dict[str, Any]:
    from mesh.config import fleet_home

    return dict(need_daemon(fleet_home()).post(path, body))


def _part(text: str) -> str:
    return quote(text, safe="")


def _tell(said: Mapping[str, Any], output: str, line: str) -> None:
    if output == "json":
        emit_json(dict(said))
    else:
        click.echo(line)


def emit_neighbours(rows: Sequence[Mapping[str, Any]]) -> None:
    """Neighbours and their ledgers, as a table."""
    heads = ("PEER", "LINK", "LEDGER", "EVENTS IN", "OUT", "BYTES IN", "OUT")
    emit_table(heads, [_neighbour(row) for row in rows], "no other peer in this fleet")


def _neighbour(row: Mapping[str, Any]) -> list[object]:
    sync = row["sync"] or {}
    counts = [sync.get(key, "") for key in ("events_in", "events_out", "bytes_in", "bytes_out")]
    return [row["name"], "up" if row["linked"] else "down", show_sync(row["sync"]), *counts]
