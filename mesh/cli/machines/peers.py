"""`fleet peers`: who belongs to the fleet, who wants to, and who no longer does."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from mesh.api.errors import RequestError
from mesh.cli.client import Daemon, find_daemon, need_daemon, quoted
from mesh.cli.exits import CANNOT, NOT_FOUND, USAGE, Stop, stop
from mesh.cli.options import confirm
from mesh.cli.output import emit_json, json_option, now_ms, show_age
from mesh.cli.table import Column, emit, emit_text
from mesh.cli.verbs import Verbs

Row = Mapping[str, Any]

ALONE: Final = "this peer is alone. try: fleet invite here, fleet join CODE there"
REMOVED: Final = (
    "the fleet does not let this peer in any more; it was removed. To come back: fleet invite on "
    "one of its admins, fleet join CODE here"
)
ROLES = ("viewer", "member", "runner", "admin")
# How a dial says that the member there closed the connection (mesh.edge.transport.dial).
NOT_KNOWN: Final = "does not know our key"
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
        return
    emit(COLUMNS, rows, ALONE)
    for row in rows:
        if (row["forked_at"] or row.get("shattered_at")) and row["role"] and not row["you"]:
            emit_text(f"{row['name']}'s key signed two histories: fleet peers remove {row['name']}")
    if any(row["state"] == "removed by others" for row in rows):
        emit_text(REMOVED, "  ")


def _rows() -> list[dict[str, Any]]:
    from mesh.config import fleet_home

    home = fleet_home()
    daemon = find_daemon(home)
    if daemon is not None:
        try:
            rows = list(daemon.get("/v1/peers")["peers"])
            return [*marked(rows, _refusing(daemon, rows))]
        except RequestError as error:
            if error.code != "NoRoute":  # a daemon that listens to no peers knows what is on disk
                raise
    from mesh.edge.peering.offline import peers as at_rest

    return list(at_rest(home, now_ms()))


def _refusing(daemon: Daemon, rows: Sequence[Row]) -> set[str]:
    """Members that close the door when we knock; asked only where nobody is linked."""
    others = [row for row in rows if not row["you"] and row["state"] != "removed"]
    if not others or any(row["state"] == "online" for row in others):
        return set()
    try:
        dials = daemon.get("/v1/doctor")["dials"]
    except (RequestError, Stop):
        return set()
    return {one["peer_id"] for one in dials if NOT_KNOWN in one["text"]}


def marked(rows: Sequence[Row], refusing: set[str]) -> list[dict[str, Any]]:
    """The rows, with "refuses us" for members that do not know our key any more.

    A peer is never told that it was removed: it finds every door closed. Where all do so, its own
    row says what that means.
    """
    if not refusing:
        return [dict(row) for row in rows]
    return [
        {**row, "state": "removed by others" if row["you"] else "refuses us"}
        if row["you"] or row["peer_id"] in refusing
        else dict(row)
        for row in rows
    ]


def _state(row: Row) -> str:
    if row.get("apart"):
        return str(row["apart"])
    mine = row["you"] and "removed" not in row["state"]
    state = "this peer" if mine else str(row["state"])
    broken = "SHATTERED" if row.get("shattered_at") else "FORKED" if row.get("forked_at") else ""
    return f"{state}, {broken}" if broken and row["role"] else state


def _seen(row: Row) -> str:
    if row["state"] == "removed":
        return ""
    age = row["age_ms"]
    return "now" if row["state"] == "online" else f"{show_age(age)} ago" if age else ""


def _by(row: Row) -> str:
    return ", ".join(sorted(row["sources"], key=lambda name: row["sources"][name]))


def show_sync(sync: Mapping[str, Any] | None) -> str:
    """How far a neighbour's ledger and ours are apart."""
    if sync is None:
        return ""
    behind = sync["behind"]
    if not behind:
        return "in sync"
    return f"{behind} to come ({100 - 100 * behind // max(1, sync['expected'])} %)"


COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column(title="PEER", value=lambda row: row["name"], least=10),
    Column(title="ID", value=lambda row: row["peer_id"][:7], rank=40),
    Column(title="ROLE", value=lambda row: row["role"], rank=20),
    Column(title="SENIORITY", value=lambda row: row["seniority"], rank=45, least=10),
    Column(title="STATE", value=_state),
    Column(title="ADDRESS", value=lambda row: row["address"], rank=50, least=15),
    Column(title="LAST SEEN", value=_seen, rank=30),
    Column(title="BY", value=_by, rank=60, least=8),
    Column(title="LEDGER", value=lambda row: show_sync(row["sync"]), rank=10, least=10),
)
WAITING: Final[tuple[Column[Row], ...]] = (
    Column(title="NAME", value=lambda row: row["name"], least=10),
    Column(title="ID", value=lambda row: row["peer_id"]),
    Column(title="ADDRESS", value=lambda row: row["address"], rank=20, least=15),
    Column(title="ASKED", value=lambda row: f"{show_age(row['age_ms'])} ago", rank=10),
)


@peers.command()
@json_option
def pending(output: str) -> None:
    """Who asks to be let in."""
    from mesh.config import fleet_home

    rows = need_daemon(fleet_home()).get("/v1/peers/pending")["pending"]
    if output == "json":
        emit_json(rows)
        return
    emit(WAITING, rows, "nobody asks to be let in")


@peers.command()
@click.argument("peer")
@click.option(
    "--role", type=click.Choice(ROLES), default="runner", show_default=True, help="what it may do"
)
@json_option
def accept(peer: str, role: str, output: str) -> None:
    """Let in a PEER that asks; compare its id with what `fleet id` says there."""
    said = _post(f"/v1/peers/{quoted(peer)}/accept", {"role": role})
    _tell(said, output, f"{said['name']} is in as {role}")
    if said["recovery_words"] and output != "json":
        from mesh.cli.machines.recovery import show_words

        show_words(said["recovery_words"])


@peers.command()
@click.argument("peer")
@json_option
def ignore(peer: str, output: str) -> None:
    """Neither show nor answer a PEER that asks."""
    said = _post(f"/v1/peers/{quoted(peer)}/ignore", {})
    _tell(said, output, f"{said['name']} is ignored")


@peers.command()
@click.argument("peer")
@click.option(
    "--reason", default="removed by hand", show_default=True, help="kept with the removal"
)
@click.option("--keep", metavar="EVENT", default="", help="its last event that counts")
@yes_option
@json_option
def remove(*, peer: str, reason: str, keep: str, yes: bool, output: str) -> None:
    """Put PEER out of the fleet, on every peer; what it writes from now on does not count.

    What counts of it ends at its newest event known here, or at the one that --keep names (an id
    or its start, a number, or "none"): of a key that signed two histories, the end of the good one.
    """
    one = member(peer)
    if not yes:
        confirm(f"remove {one['name']} from the fleet?")
    body = {"reason": reason, **({"keep": keep} if keep else {})}
    try:
        said = _post(f"/v1/peers/{quoted(peer)}/remove", body)
    except RequestError as error:
        if error.code == "Forked" and not one["you"] and not keep:
            _choose(one, output, error)
        raise
    _tell(said, output, f"{said['name']} is out; of its events the first {said['until']} count")


def _choose(one: Row, output: str, error: RequestError) -> None:
    """Show the histories of a forked key and how to keep each; Stop where there are several."""
    from mesh.cli.machines.histories import show_histories
    from mesh.config import fleet_home
    from mesh.edge.pairing.branches import branches, chain_of

    rows = [branch.row() for branch in branches(chain_of(fleet_home(), str(one["key"])))]
    if len(rows) < 2:
        return  # it is our own key that forked
    if output == "json":
        emit_json({"histories": rows})
    else:
        show_histories(rows, f"fleet peers remove {one['name']}")
    stop(CANNOT, error.text, "one of the commands above says which is the good one")


@peers.command("role")
@click.argument("peer")
@click.argument("role", type=click.Choice(ROLES))
@json_option
def set_role(peer: str, role: str, output: str) -> None:
    """Let PEER do more or less from now on: what it did before keeps its old role."""
    said = _post(f"/v1/peers/{quoted(peer)}/role", {"role": role})
    _tell(said, output, f"{said['name']} is {role} now, and was {said['was']}")


@peers.command()
@click.argument("peer")
@click.argument("name")
@json_option
def rename(peer: str, name: str, output: str) -> None:
    """Call PEER something else."""
    said = _post(f"/v1/peers/{quoted(peer)}/rename", {"name": name})
    _tell(said, output, f"{peer} is {said['name']} now")


@peers.command()
@click.argument("address")
@json_option
def add(address: str, output: str) -> None:
    """Try ADDRESS (HOST or HOST:PORT) for members from now on."""
    said = _post("/v1/peers/addresses", {"address": address})
    _tell(said, output, f"{address} will be tried" if said["new"] else f"{address} is known")


def known(text: str) -> str:
    """What the one member of that name, or start of an id, is called; Stop where none is."""
    return str(member(text)["name"])


def member(text: str) -> Row:
    """The one member of that name, or start of an id; Stop where none is."""
    plain = text.replace("-", "").replace(" ", "").upper()
    found = [
        row
        for row in _rows()
        if row["state"] != "removed"
        if text == row["name"]
        or (len(plain) >= 4 and row["peer_id"].replace("-", "").startswith(plain))
    ]
    if not found:
        stop(NOT_FOUND, f"nobody called {text[:80]!r} is in this fleet", "fleet peers lists them")
    if len(found) > 1:
        stop(USAGE, f"{text[:80]!r} fits {len(found)} peers", "give more of the id: fleet peers")
    return found[0]


def _post(path: str, body: Mapping[str, object]) -> dict[str, Any]:
    from mesh.config import fleet_home

    return dict(need_daemon(fleet_home()).post(path, body))


def _tell(said: Mapping[str, Any], output: str, line: str) -> None:
    if output == "json":
        emit_json(dict(said))
    else:
        click.echo(line)


def _count(key: str) -> Any:
    return lambda row: (row["sync"] or {}).get(key, "")


NEIGHBOURS: Final[tuple[Column[Row], ...]] = (
    Column(title="PEER", value=lambda row: row["name"], least=10),
    Column(title="LINK", value=lambda row: "up" if row["linked"] else "down"),
    Column(title="LEDGER", value=lambda row: show_sync(row["sync"]), least=10),
    Column(title="EVENTS IN", value=_count("events_in"), rank=10, right=True),
    Column(title="EVENTS OUT", value=_count("events_out"), rank=20, right=True),
    Column(title="BYTES IN", value=_count("bytes_in"), rank=30, right=True),
    Column(title="BYTES OUT", value=_count("bytes_out"), rank=40, right=True),
)


def emit_neighbours(rows: Sequence[Row]) -> None:
    """Neighbours and their ledgers, as a table."""
    emit(NEIGHBOURS, rows, "no other peer in this fleet")
