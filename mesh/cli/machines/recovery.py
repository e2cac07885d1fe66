"""`fleet recover` and `fleet recovery`: the words that bring a fleet back."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mesh.cli.client import find_daemon, need_daemon
from mesh.cli.exits import CANNOT, NOT_ALLOWED, USAGE, stop
from mesh.cli.machines.histories import show_histories
from mesh.cli.options import confirm
from mesh.cli.output import emit_json, json_option, now_ms, show_at
from mesh.cli.table import Column, emit, emit_text

if TYPE_CHECKING:
    from mesh.edge.peering.recovery import Envelope, Recovery

Row = Mapping[str, Any]

# Lines of at most 60 characters, as the words above them: people copy these from any terminal.
WHAT_FOR: Final = (
    "Write them on paper and keep it away from these machines:",
    "the words are kept nowhere else. With them, fleet recover",
    "makes any machine of the fleet an admin, and removes a",
    "stolen one.",
)
NO_LINK: Final = (
    "no other peer knows this machine's key yet: carry the news with fleet export FILE here, "
    "fleet import FILE on one of them"
)
ADMINS: Final[tuple[Column[Row], ...]] = (
    Column(title="ADMIN", value=lambda row: f"{row['name']}{' (this)' if row['you'] else ''}"),
    Column(title="ID", value=lambda row: row["peer_id"][:7], rank=20),
    Column(title="LAST EVENT", value=lambda row: row["last_event"][:16]),
    Column(title="TYPE", value=lambda row: row["last_type"], rank=30),
    Column(title="SIGNED", value=lambda row: show_at(row["last_ms"] or 0), rank=10),
)

# A thief's events are the newest ones; who needs more looks at fleet events.
SHOWN: Final = 10
EVENTS: Final[tuple[Column[Row], ...]] = (
    Column(title="NUMBER", value=lambda row: row["seq"], right=True),
    Column(title="EVENT", value=lambda row: row["id"][:16]),
    Column(title="TYPE", value=lambda row: row["type"], rank=10),
    Column(title="SIGNED", value=lambda row: show_at(row["ms"]), rank=20),
)


def show_words(words: Sequence[str]) -> None:
    """A fleet's recovery words, for a person to copy: not on stdout, which may be a file."""
    from mesh.policy.words import numbered

    click.echo("\nthis fleet's recovery words, shown this once:\n", err=True)
    for line in numbered(words):
        click.echo(f"  {line}", err=True)
    click.echo("\n" + "\n".join(WHAT_FOR), err=True)


@click.group()
def recovery() -> None:
    """The fleet's recovery words."""


@recovery.command()
@json_option
def new(output: str) -> None:
    """Give a fleet of an earlier version its recovery words; only its founder can, once."""
    from mesh.config import fleet_home

    said = need_daemon(fleet_home()).post("/v1/recovery")
    if output == "json":
        emit_json(said)
        return
    show_words(said["recovery_words"])


@click.command()
@click.option("--remove", "stolen", metavar="NAME", help="also put this peer out: a stolen key")
@click.option("--keep", metavar="EVENT", default="", help="its last good event, else its newest")
@click.option("-y", "--yes", is_flag=True, help="do not ask")
@json_option
def recover(*, stolen: str | None, keep: str, yes: bool, output: str) -> None:
    """Make this machine an admin with the fleet's recovery words, and put a stolen key out.

    Asks for the words, or reads them from standard input; they never leave this process.
    """
    from mesh.config import fleet_home
    from mesh.edge.peering.recovery import Recovery

    if keep and not stolen:
        stop(USAGE, "--keep names an event of the peer to remove", "add --remove NAME")
    home = fleet_home()
    found = Recovery(home)
    seed = _read_words(found)
    asks = not yes and _is_a_person()
    if found.is_admin() and not stolen and not asks:
        stop(CANNOT, "this machine is an admin already", "--remove NAME puts a stolen key out")
    if output != "json":
        emit(ADMINS, found.admins())
    if asks and not stolen:
        stolen = _ask("whose key is stolen? a NAME, or Enter for nobody")
    if asks and stolen and not keep:
        emit(EVENTS, found.newest(stolen, SHOWN), "it signed nothing")
        keep = _ask("its last good event? an EVENT, or Enter for its newest")
    said = _statements(found, stolen or "", keep)
    if not yes:
        confirm(_question(stolen or "", said))
    _hand_in(home, found.sign(seed, said, now_ms()))
    _tell(found, said, stolen or "", output)


def _is_a_person() -> bool:
    """Whether somebody types: else the words come through a pipe, and nobody answers questions."""
    return sys.stdin.isatty()


def _ask(question: str) -> str:
    return str(click.prompt(question, "", show_default=False, err=True)).strip()


def _read_words(found: "Recovery") -> bytes:
    """The secret; Stop where the words are wrong or another fleet's."""
    from mesh.policy.words import WordsError, seed_of

    if _is_a_person():
        text = str(click.prompt("the 24 recovery words (not shown)", hide_input=True, err=True))
    else:
        text = sys.stdin.read(MAX_TYPED)
    try:
        seed = seed_of(text, found.opens)
    except WordsError as error:
        stop(USAGE, str(error), "compare with the paper; four letters of a word are enough")
    if not found.opens(seed):
        text = "these are another fleet's words"
        stop(NOT_ALLOWED, text, "this fleet's were shown at its first invitation")
    return seed


# 24 words of at most 8 letters with numbers are under 400 characters.
MAX_TYPED: Final = 10_000


def _statements(found: "Recovery", stolen: str, keep: str) -> list[tuple[str, dict[str, object]]]:
    from mesh.edge.peering.recovery import Forked

    try:
        removal = [found.removal(stolen, keep)] if stolen else []
    except Forked as error:
        rows = [one.row() for one in error.branches]
        show_histories(rows, f"fleet recover --remove {error.name}")
        stop(CANNOT, error.text, "one of the commands above says which is the good one")
    return [*removal, found.grant()]


def _question(stolen: str, said: Sequence[tuple[str, Mapping[str, object]]]) -> str:
    if not stolen:
        return "make this machine an admin?"
    until = said[0][1]["until"]
    return f"remove {stolen} (its first {until} events count), and make this machine an admin?"


def _hand_in(home: Path, envelopes: "Sequence[Envelope]") -> None:
    """To the daemon if one lives, else straight into the ledger; only signed events leave."""
    from io import BytesIO

    from mesh.edge.peering.recovery import lines_of, take_in

    daemon = find_daemon(home)
    if daemon is None:
        take_in(home, envelopes)
        return
    report = daemon.post_file("/v1/import?name=recovery", BytesIO(lines_of(envelopes)))
    if report["admitted"] != len(envelopes):
        why = "; ".join(str(one["text"]) for one in report["rejected"]) or "it waits for others"
        stop(CANNOT, f"the daemon did not take it: {why}", "fleet sync, then fleet recover again")


def _tell(
    found: "Recovery",
    said: Sequence[tuple[str, Mapping[str, object]]],
    stolen: str,
    output: str,
) -> None:
    grant, until = said[-1][1], said[0][1]["until"] if stolen else None
    if output == "json":
        removed = {"name": stolen, "until": until} if stolen else None
        emit_json({"admin": grant["name"], "removed": removed, "linked": found.is_heard()})
        return
    if stolen:
        click.echo(f"{stolen} is out; of its events the first {until} count")
    click.echo(f"this machine, {grant['name']}, is an admin; the others hear of it as they sync")
    if not found.is_heard():
        emit_text(NO_LINK, "", err=True)
