"""`fleet invite`, `fleet join` and `fleet identity`: coming into a fleet, and being somebody."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from mesh.api.errors import RequestError
from mesh.cli.client import find_daemon, need_daemon
from mesh.cli.exits import UNREACHABLE, USAGE, stop
from mesh.cli.machines.peers import ROLES, yes_option
from mesh.cli.machines.recovery import show_words
from mesh.cli.options import confirm
from mesh.cli.output import emit_json, json_option, now_ms, show_at

# How often a machine that waits for a person's yes asks again.
ASK_AGAIN_S: Final = 2.0
# What the daemon allows: an invite in a drawer is a key in a drawer.
MAX_TTL_MS: Final = 30 * 86_400_000
SECOND: Final = "fleet peers role NAME admin"


@click.command()
@click.option("--ttl", default="15m", show_default=True, help="how long the code holds")
@click.option(
    "--uses", type=click.IntRange(1, 64), default=1, show_default=True, help="how many may use it"
)
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="runner",
    show_default=True,
    help="what who comes in may do",
)
@json_option
def invite(ttl: str, uses: int, role: str, output: str) -> None:
    """Print a code that lets another machine in: fleet join CODE there.

    The first one founds the fleet and shows its recovery words, once.
    """
    from mathcore.units import parse_duration_ms
    from mesh.config import fleet_home

    try:
        ttl_ms = parse_duration_ms(ttl)
    except ValueError as error:
        stop(USAGE, f"--ttl: {error}", "fleet invite --ttl 1h")
    if not 1000 <= ttl_ms <= MAX_TTL_MS:
        stop(USAGE, f"--ttl {ttl}: a code holds from 1s to 30d", "fleet invite --ttl 1h")
    body = {"ttl_ms": ttl_ms, "uses": uses, "role": role}
    said = need_daemon(fleet_home()).post("/v1/invites", body)
    said["expires"] = show_at(said["expires_ms"])
    if output == "json":
        emit_json(said)
        return
    times = "once" if uses == 1 else f"{uses} times"
    click.echo(f"fleet join {said['code']}")
    click.echo(f"lets a {role} in, {times}, until {said['expires']} UTC", err=True)
    if said["recovery_words"]:
        show_words(said["recovery_words"])


@click.command()
@click.argument("code", nargs=-1, required=True)
@click.option("--name", help="what this peer is called there; the host name if not given")
@click.option("--wait", default="10m", show_default=True, help="how long to wait for a yes")
@json_option
def join(code: tuple[str, ...], name: str | None, wait: str, output: str) -> None:
    """Come into a fleet with a CODE from `fleet invite`, with or without a running daemon.

    With an address (HOST or HOST:PORT) instead of a code, ask there and wait until a person says
    yes: fleet peers accept NAME.
    """
    from mathcore.units import parse_duration_ms
    from mesh.config import fleet_home

    home = fleet_home()
    try:
        deadline = time.monotonic() + parse_duration_ms(wait) / 1000
    except ValueError as error:
        stop(USAGE, f"--wait: {error}", "fleet join HOST --wait 10m")
    said = _join(home, " ".join(code), name)
    host = str(said["peer_id"])
    if said["state"] == "pending":
        _say_pending(home, host)
    while said["state"] == "pending":
        if time.monotonic() > deadline:
            stop(USAGE, "nobody said yes yet", "fleet join the same address again")
        time.sleep(ASK_AGAIN_S)
        said = _join(home, " ".join(code), name, host)
    if output == "json":
        emit_json(said)
        return
    click.echo(f"joined {said['name']} ({said['peer_id']}) as {said['role']}")
    if said.get("admins") == 1 and said["role"] != "admin":
        click.echo(f"the fleet has one admin, {said['name']}; there, a second: {SECOND}", err=True)
    if find_daemon(home) is None:
        click.echo("the daemon is down; the ledger syncs after: fleet up --detach", err=True)


def _join(home: Path, text: str, name: str | None, host: str = "") -> dict[str, Any]:
    """One try; with `host`, only that peer's yes counts."""
    daemon = find_daemon(home)
    named = {key: value for key, value in (("name", name), ("host", host)) if value}
    try:
        if daemon is not None:
            return dict(daemon.post("/v1/join", {"code": text, **named}))
        from mesh.edge.peering.offline import join as join_at_rest

        return dict(asyncio.run(join_at_rest(home, text, name, now_ms(), host)))
    except RequestError as error:
        if error.code == "Unreachable" and is_address(text):
            _not_a_code(home, text)
        if error.code == "Unreachable":
            stop(UNREACHABLE, error.text, error.hint)
        raise


def is_address(text: str) -> bool:
    """Whether it can only be an address: a code has neither dots nor colons."""
    return any(c in text for c in ".:")


def _not_a_code(home: Path, text: str) -> NoReturn:
    """Stop: nobody lets newcomers in at that address; perhaps it is the port for members."""
    from mesh.config import load_config
    from mesh.state.address import parse_address

    config = load_config(home)
    host, port = parse_address(text, config.pairing_port)
    said = f"{text} is no code, and as an address it does not answer newcomers"
    if port == config.pairing_port:
        stop(UNREACHABLE, said, "is it up, and on this network? fleet invite there makes a code")
    where = f"fleet join {f'[{host}]' if ':' in host else host}:{config.pairing_port}"
    stop(UNREACHABLE, said, f"{where} asks where newcomers usually are, or fleet join CODE")


def _say_pending(home: Path, host: str) -> None:
    """Both keys' names, for a person to compare: without a code nothing else tells who is who."""
    from mesh.edge.identity import load_or_create

    me = load_or_create(home).peer_id
    click.echo("asked; without a code, compare who is who (fleet id):", err=True)
    for who, whose in (("there", host), ("here", me)):
        click.echo(f"  {who:<5}  {whose[:31]}\n         {whose[32:]}", err=True)
    click.echo(f"if both are right, there: fleet peers accept {me[:7]}", err=True)
    click.echo("the safe way is a code: fleet invite there, fleet join CODE", err=True)


@click.group()
def identity() -> None:
    """This peer's key."""


@identity.command()
@click.option("--new-fleet", is_flag=True, help="also leave the fleet; what is known stays")
@click.option("--copied", is_flag=True, help="this is a copied disk: the other copy keeps the key")
@yes_option
@json_option
def reset(*, new_fleet: bool, copied: bool, yes: bool, output: str) -> None:
    """Make a new key, for a copied disk or a leaked key; the ledger stays readable.

    The old key first signs that it leaves the fleet, and is kept beside the new one, which an
    admin must let in.
    """
    from mesh.config import fleet_home
    from mesh.edge import identity as keys
    from mesh.edge.peering.leaving import leaver

    home = fleet_home()
    daemon = find_daemon(home)
    if daemon is not None:
        stop(USAGE, f"the daemon runs as process {daemon.pid}", "fleet down")
    if not (home / keys.KEY_FILE).exists():
        stop(USAGE, f"no identity in {home}", "fleet up --detach makes one")
    leaves = leaver(home)
    if leaves is not None and not new_fleet and not copied:
        leaves.refuse_last_admin()
    if not yes:
        confirm("make a new key? other peers will not know it")
    left = leaves is not None and not copied and leaves.leave(now_ms())
    old, new = keys.reset(home)
    if new_fleet:
        keys.leave_fleet(home)
    if output == "json":
        emit_json({"old": old.peer_id, "new": new.peer_id, "left": left})
        return
    click.echo(f"was {old.peer_id}")
    click.echo(f"is  {new.peer_id}")
    if leaves is not None and not new_fleet:
        click.echo(leaves.way_back(left=left or copied), err=True)
