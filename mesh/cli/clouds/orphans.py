"""`fleet orphans`: machines with this fleet's labels that nobody wants, and their end; and `fleet
check`: which clouds can be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from mesh.api.errors import RequestError
from mesh.cli.client import Daemon, need_daemon, quoted
from mesh.cli.clouds.words import why_words
from mesh.cli.exits import CANNOT, Stop, code_of, stop
from mesh.cli.machines.peers import yes_option
from mesh.cli.options import confirm
from mesh.cli.output import clean, emit_json, json_option, money, show_age
from mesh.cli.table import Column, emit, emit_text, table_lines, terminal_width

Row = Mapping[str, Any]

NONE: Final = "no orphans: every machine with this fleet's labels is one that is wanted"
NONE_SEEN: Final = "no orphans among the machines that were listed"


@click.command()
@click.option("--kill", is_flag=True, help="ask the provider to end each of them")
@yes_option
@json_option
def orphans(*, kill: bool, yes: bool, output: str) -> None:
    """Machines of this fleet at the clouds that nobody wants any more, as the clouds list them.

    From any peer that has the account's key. An end that was asked for is watched until two whole
    listings lack the machine. Exit code 3 where an account was not listed: it may hide one.
    """
    from mesh.config import fleet_home

    daemon = need_daemon(fleet_home())
    checked = daemon.get("/v1/clouds")["clouds"]
    unseen = _unseen(checked)
    rows = daemon.get("/v1/orphans")["orphans"]
    killed = _kill(daemon, rows, yes=yes) if kill and rows else []
    if output == "json":
        hidden = [row["provider"] for row in unseen]
        emit_json({"orphans": rows, "killed": killed, "unseen": hidden})
    elif killed:
        for one in killed:
            emit_text(f"{clean(one['instance'])}: {_done(one)}")
    else:
        emit(COLUMNS, rows, NONE_SEEN if unseen else f"{NONE} ({_oldest(checked)})")
    _end(unseen, [one for one in killed if not one["asked"]])


def _kill(daemon: Daemon, rows: list[Row], *, yes: bool) -> list[Row]:
    """Ask for the end of each, whatever becomes of the others; of a person first whether."""
    if not yes:
        for line in table_lines(COLUMNS, rows, terminal_width(), "-o json has all"):
            click.echo(line, err=True)
        confirm("end this machine?" if len(rows) == 1 else f"end these {len(rows)} machines?")
    return [_killed(daemon, str(row["instance"])) for row in rows]


def _killed(daemon: Daemon, instance: str) -> Row:
    """What became of asking for one machine's end; `why` it was not asked for, and its `code`."""
    try:
        return dict(daemon.post(f"/v1/orphans/{quoted(instance)}/kill", {}))
    except (RequestError, Stop) as error:
        return {
            "instance": instance,
            "asked": False,
            "why": " ".join(error.text.split()),
            "code": code_of(error),
        }


def _done(one: Row) -> str:
    if "why" in one:
        return f"not asked: {clean(one['why'])}"
    done = "asked to end" if one["asked"] else "not taken"
    note = one.get("unwritten")
    return f"{done}; that could not be written down: {clean(note)}" if note else done


def _unseen(checked: list[Row]) -> list[Row]:
    """Accounts that were not listed: each may hide an orphan, and is never said to be clean."""
    keyed = [row for row in checked if row["account"]]
    if not keyed:
        stop(CANNOT, "this peer has no key of any cloud", "fleet clouds login PROVIDER")
    return [row for row in keyed if not row["seen"]]


def _oldest(checked: list[Row]) -> str:
    """ "listed 9s ago": a peer that does not have an account lists it every five minutes."""
    ages = [row["listed_ms_ago"] for row in checked if row["listed_ms_ago"] is not None]
    return f"listed {show_age(max(ages, default=0))} ago"


def _end(unseen: list[Row], refused: list[Row]) -> None:
    """A Stop in one line where not all was seen, or not all ends were taken."""
    if unseen:
        names = ", ".join(str(row["title"]) for row in unseen)
        why = clean(unseen[0]["text"]) if unseen[0]["text"] else "it was not listed lately"
        stop(CANNOT, f"{names}: not seen, and may hide orphans: {why}", "fleet check")
    if refused:
        names = ", ".join(clean(one["instance"]) for one in refused)
        every = all("why" in one for one in refused)
        said = "no end was asked for of" if every else "the provider did not take the end of"
        codes = {one.get("code", CANNOT) for one in refused}
        code = codes.pop() if len(codes) == 1 else CANNOT
        stop(code, f"{said} {names}", "fleet orphans --kill -y")


@click.command()
@json_option
def check(*, output: str) -> None:
    """Whether each cloud can be used: what works, what does not, and what would mend it."""
    from mesh.config import fleet_home

    rows = need_daemon(fleet_home()).post("/v1/clouds/keys", {})["clouds"]
    if output == "json":
        emit_json(rows)
        return
    emit(CHECKED, rows, "")
    for row in rows:
        if row["text"] and row["text"] != "no key":
            emit_text(f"{row['title']}: {clean(row['text'])}", err=True)


def _known(row: Row) -> str:
    if row["known"] is None:
        return "not in the ledger"
    why = why_words(str(row["why"]))
    return f"{row['known']}: {why}" if why else str(row["known"])


def _rate(nusd: int | None) -> str:
    return "unknown" if nusd is None else money(nusd)


def _listed(row: Row) -> str:
    return "" if row["listed_ms_ago"] is None else f"{show_age(row['listed_ms_ago'])} ago"


COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column(title="INSTANCE", value=lambda row: clean(row["instance"]), least=8),
    Column(title="WHERE", value=lambda row: row["provider"]),
    Column(title="STATUS", value=lambda row: row["status"], rank=30),
    Column(title="$/H", value=lambda row: _rate(row["rate_nusd"]), right=True),
    Column(title="LEDGER", value=_known, rank=10, least=10, wrap=True),
    Column(title="LABEL", value=lambda row: clean(row["label"]), rank=50),
)
CHECKED: Final[tuple[Column[Row], ...]] = (
    Column(title="CLOUD", value=lambda row: row["title"]),
    Column(title="STATE", value=lambda row: str(row["state"]).replace("_", " ")),
    Column(title="ACCOUNT", value=lambda row: row["account"] or "", rank=20, optional=True),
    Column(title="KEY", value=lambda row: row["key_from"] or "", rank=30, optional=True),
    Column(title="LISTED", value=_listed, right=True, rank=15, optional=True),
    Column(
        title="MACHINES",
        value=lambda row: "" if row["machines"] is None else row["machines"],
        right=True,
        rank=10,
        optional=True,
    ),
    Column(title="MEND", value=lambda row: row["hint"], least=12, wrap=True, optional=True),
)
