"""`fleet backup` and `fleet restore`: this machine's state in one file, and out of it again."""

import sys
from pathlib import Path
from typing import Final

import click

from mesh.cli.exits import CANNOT, stop
from mesh.cli.output import now_ms, say, show_at
from mesh.cli.table import emit_text

STDOUT: Final = "-"
SECRET: Final = "it holds this machine's key: whoever reads it is this machine"
STRIPPED: Final = "it holds no key: what is restored from it joins the fleet as a new machine"
LEFT_OUT: Final = "not in it: files of jobs, models, invitations, keys of clouds"
ONE_ONLY: Final = "the machine it was made on must not run any more: one key, one machine"


@click.command()
@click.argument("file", metavar="FILE|-")
@click.option("--without-key", is_flag=True, help="leave out the secret key of this machine")
def backup(*, file: str, without_key: bool) -> None:
    """Copy ledger, key, fleet and settings into one private file, or with - to a pipe.

    The daemon may run. Jobs' files and models are not in it: they are large, and yours elsewhere.
    Keys of clouds stay in the keyring.
    """
    from mesh.config import fleet_home
    from mesh.edge.home.backup import save, save_to

    home, with_key = fleet_home(), not without_key
    if file == STDOUT:
        if sys.stdout.isatty():
            stop(CANNOT, "a backup is no text for a terminal", "fleet backup FILE")
        saved = save(home, sys.stdout.buffer, now_ms(), with_key=with_key)
    else:
        saved = save_to(home, Path(file), now_ms(), with_key=with_key)
    name = "standard output" if file == STDOUT else file
    emit_text(f"{saved.events} events, {saved.size} bytes in {name}", "  ", err=True)
    emit_text(SECRET if saved.has_key else STRIPPED, "  ", err=True)
    emit_text(LEFT_OUT, "  ", err=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def restore(file: Path) -> None:
    """Put a backup into FLEET_HOME, which must hold no ledger, once all of it is verified.

    What this machine signed after the backup comes back from the fleet's other members: the daemon
    signs nothing before one is heard. A machine that has no fleet says so by fleet up --alone.
    """
    from mesh.config import fleet_home
    from mesh.edge.home.restore import restore as put

    home = fleet_home()
    done = put(home, file)
    say(f"restored into {home}: {done.events} events, backed up {show_at(done.made_ms)}")
    for name in done.kept:
        say(f"kept as it was here: {name}")
    if not done.has_key:
        emit_text("it had no key: fleet join CODE makes this a new machine of the fleet", "  ")
        return
    emit_text(ONE_ONLY, "  ")
    emit_text("next: fleet up --detach; it signs once a member is heard (or, where there is none,"
              " fleet up --detach --alone)", "  ")  # fmt: skip
