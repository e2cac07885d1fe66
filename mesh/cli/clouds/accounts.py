"""`fleet clouds`: at which clouds this machine can rent, and where their keys come from.

A key is read from a prompt that shows nothing, or from standard input, and printed never: a word
that could be one is not quoted in an error either.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from mesh.api.errors import RequestError
from mesh.cli.exits import NOT_FOUND, USAGE, Stop, stop
from mesh.cli.output import emit_json, json_option
from mesh.cli.table import Column, emit, emit_text
from mesh.cli.verbs import Verbs

if TYPE_CHECKING:
    from mesh.edge.clouds.keys import Account, Provider

Row = Mapping[str, Any]

MAX_PIPED: Final = 4096  # bytes of standard input; a key has a tenth of it
NO_ARGUMENT: Final = "a key on the command line can be read by others, and stays in the history"


class Unquoted(Verbs):
    """Verbs that quote no word they do not know."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that follows."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            names = ", ".join(self.names())
            raise click.UsageError(f"that is no command of clouds; there are {names}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Unquoted, invoke_without_command=True)
@json_option
@click.pass_context
def clouds(ctx: click.Context, output: str) -> None:
    """Clouds to rent from: who has a key, and from where; never the key."""
    if ctx.invoked_subcommand is not None:
        return
    from mesh.edge.clouds.keys import find_all

    rows = [row_of(account) for account in find_all()]
    if output == "json":
        emit_json(rows)
        return
    emit(COLUMNS, rows, "")
    for note in dict.fromkeys(row["note"] for row in rows if row["note"]):
        emit_text(note, err=True)
    if not any(row["has_key"] for row in rows):
        emit_text("no cloud can be rented from. try: fleet clouds login PROVIDER", err=True)


@clouds.command()
@click.argument("provider", metavar="PROVIDER")
@click.argument("rest", nargs=-1, metavar="", type=click.UNPROCESSED)
@json_option
def login(*, provider: str, rest: tuple[str, ...], output: str) -> None:
    """Keep the key of an account at PROVIDER (vastai, runpod, lambdalabs) in the system's keyring.

    It is asked for, or read from standard input: fleet clouds login vastai < key.txt
    """
    from mesh.edge.clouds.keys import find, keep, read_key

    if rest:
        stop(USAGE, NO_ARGUMENT, "make a new one, and fleet clouds login PROVIDER without it")
    cloud = _provider(provider)
    _usable(cloud)
    key = read_key(_typed(cloud))
    where = keep(cloud, key)
    now = find(cloud)
    if output == "json":
        emit_json(row_of(now))
        return
    emit_text(f"{cloud.title}: account {key.account(cloud.name)}, its key is in {where}")
    if now.source == "environment":
        emit_text(f"{cloud.variable} is set, too, and is what is used", err=True)
    _tell_daemon(cloud, key.account(cloud.name))


@clouds.command()
@click.argument("provider", metavar="PROVIDER")
@json_option
def logout(*, provider: str, output: str) -> None:
    """Remove the key of PROVIDER from the system's keyring."""
    from mesh.edge.clouds.keys import find, forget

    cloud = _provider(provider)
    _usable(cloud)
    if not forget(cloud):
        stop(NOT_FOUND, f"the keyring has no key of {cloud.title}", "fleet clouds")
    now = find(cloud)
    if output == "json":
        emit_json(row_of(now))
        return
    emit_text(f"{cloud.title}: its key is no longer in the keyring")
    if now.source == "environment":
        emit_text(f"{cloud.variable} is still set, and is what is used", err=True)
    _tell_left(cloud)


@clouds.command()
@click.argument("provider", metavar="PROVIDER")
@json_option
def take(*, provider: str, output: str) -> None:
    """Rent with the account at PROVIDER on this machine from now on, whichever peer had it.

    One peer of the fleet alone rents with an account. The others see what it rents, and one that
    holds the key ends what was left behind.
    """
    from mesh.cli.client import need_daemon
    from mesh.config import fleet_home

    cloud = _provider(provider)
    done = need_daemon(fleet_home()).post(f"/v1/clouds/{cloud.name}/take", {})
    if output == "json":
        emit_json(done)
        return
    emit_text(f"{cloud.title}: this peer alone rents with account {done['account']} from now on")


def _tell_daemon(cloud: Provider, account: str) -> None:
    """Have a running daemon look for keys anew; it may see another keyring than this command."""
    from mesh.cli.client import find_daemon
    from mesh.config import fleet_home

    daemon = find_daemon(fleet_home())
    if daemon is None:
        return
    again = "fleet down, then fleet up --detach"
    try:
        rows = daemon.post("/v1/clouds/keys", {})["clouds"]
    except (RequestError, Stop) as error:
        emit_text(f"the daemon was not told: {error.text}. try: {again}", err=True)
        return
    if not any((row["provider"], row["account"]) == (cloud.name, account) for row in rows):
        emit_text(f"the running daemon does not find this key. try: {again}", err=True)


def _tell_left(cloud: Provider) -> None:
    """What goes on without the key, and what nobody returns once the daemon has it no more."""
    from mesh.cli.client import find_daemon
    from mesh.cli.clouds.staying import in_words, rented_at
    from mesh.cli.output import now_ms
    from mesh.config import fleet_home

    if find_daemon(fleet_home()) is not None:
        emit_text("the running daemon keeps the key until it is started anew", err=True)
    rented = in_words(rented_at(fleet_home(), now_ms(), provider=cloud.name))
    if rented:
        text = f"rented there, and returned by nobody without the key: {rented}"
        emit_text(f"{text}. try: fleet rentals, fleet return, {cloud.page}", err=True)


def row_of(account: Account) -> dict[str, Any]:
    """What is said of an account, and nothing of its key."""
    return {
        "provider": account.provider.name,
        "title": account.provider.title,
        "has_key": account.key is not None,
        "source": account.source,
        "where": account.where,
        "account": account.account,
        "note": account.note,
    }


def _provider(text: str) -> Provider:
    """The one of this name. A word that is none is not quoted: it may be a key."""
    from mesh.edge.clouds.keys import PROVIDERS, provider_of

    found = provider_of(text)
    names = ", ".join(one.name for one in PROVIDERS)
    return found or stop(USAGE, f"that is no provider; there are {names}", "fleet clouds")


def _usable(cloud: Provider) -> None:
    """Say in one line why the keyring can't be used, before anybody types a key."""
    from mesh.edge.clouds.ring import EXTRA, PACKAGE, NoKeyring, name

    try:
        name()
    except NoKeyring as error:
        other = f"or set {cloud.variable}"
        if error.is_missing:
            from mesh.cli.machines.extras import install_hint

            raise NoKeyring(error.text, f"{install_hint(EXTRA, PACKAGE)}, {other}") from None
        raise NoKeyring(error.text, f"set {cloud.variable} instead") from None


def _typed(cloud: Provider) -> str:
    """What a person typed unseen, or a program piped in."""
    if sys.stdin is not None and sys.stdin.isatty():
        emit_text(f"a key of yours is at {cloud.page}", err=True)
        typed: str = click.prompt(f"{cloud.title} key", hide_input=True, err=True)
        return typed
    return "" if sys.stdin is None else sys.stdin.buffer.read(MAX_PIPED).decode(errors="replace")


def _from(row: Row) -> str:
    return f"keyring ({row['where']})" if row["source"] == "keyring" else str(row["where"])


COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column(title="CLOUD", value=lambda row: row["title"]),
    Column(title="KEY", value=lambda row: "yes" if row["has_key"] else "no"),
    Column(title="FROM", value=_from, least=8, wrap=True),
    Column(title="ACCOUNT", value=lambda row: row["account"], rank=10),
    Column(title="NAME", value=lambda row: row["provider"], rank=20),
)
