"""`fleet ssh`: hosts that run jobs with nothing of ours on them but a folder."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from mesh.cli.client import need_daemon, quoted
from mesh.cli.exits import CANNOT, NOT_ALLOWED, UNREACHABLE, USAGE, stop
from mesh.cli.machines.peers import yes_option
from mesh.cli.options import confirm
from mesh.cli.output import NONE, emit_json, json_option, number, say, show_age
from mesh.cli.table import Column, emit
from mesh.cli.verbs import Verbs

if TYPE_CHECKING:
    from providers.ssh.hosts import Host

Row = Mapping[str, Any]

NO_HOSTS: Final = "no SSH hosts yet. try: fleet ssh add user@host"
ENDS: Final = {"needs_login": NOT_ALLOWED, "key_changed": NOT_ALLOWED, "unreached": UNREACHABLE}


def columns() -> tuple[Column[Row], ...]:
    """What a table of hosts shows."""
    from mathcore.units import show_bytes

    def ram(row: Row) -> str:
        free = (row["facts"] or {}).get("ram_free_bytes")
        return show_bytes(free) if free is not None else NONE

    return (
        Column(title="HOST", value=lambda row: row["name"], least=8),
        Column(title="DESTINATION", value=lambda row: row["destination"], least=12, rank=30),
        Column(title="STATE", value=lambda row: row["status"]),
        Column(title="CARDS", value=cards, least=10, rank=20),
        Column(title="FREE RAM", value=ram, right=True, rank=50),
        Column(title="ENGINES", value=engines, rank=60, least=9),
        Column(title="AGE", value=age, rank=70, right=True),
    )


def cards(row: Row) -> str:
    """ "2x NVIDIA GeForce RTX 4090", "none"; NONE before the first probe."""
    facts = row["facts"]
    if facts is None:
        return NONE
    names = [str(card["name"]) for card in facts["cards"]]
    kinds = dict.fromkeys(names)
    counted = [f"{names.count(n)}x {n}" if names.count(n) > 1 else n for n in kinds]
    return ", ".join(counted) or "none"


def engines(row: Row) -> str:
    """Engines found there."""
    return ",".join(sorted({str(one["engine"]) for one in (row["facts"] or {}).get("engines", ())}))


def age(row: Row) -> str:
    """How old its readings are."""
    return show_age(number(row, "age_ms")) if row["age_ms"] is not None else NONE


@click.group(cls=Verbs, invoke_without_command=True)
@json_option
@click.pass_context
def ssh(ctx: click.Context, output: str) -> None:
    """Hosts reached by SSH alone, as this peer's devices; `add`, `probe` and `rm` them."""
    if ctx.invoked_subcommand is not None:
        return
    from mesh.config import fleet_home

    rows = need_daemon(fleet_home()).get("/v1/ssh")["hosts"]
    if output == "json":
        emit_json(rows)
        return
    emit(columns(), rows, NO_HOSTS)
    for row in rows:
        remarks(row)


def remarks(row: Row) -> None:
    """What a person should know of a host, a line each, on stderr."""
    if row["text"]:
        say(f"{row['name']}: {row['text']}. try: {row['hint']}", err=True)
    if row.get("lacks"):
        say(f"{row['name']}: no model runs there: {row['lacks']}", err=True)
    for text in (row["facts"] or {}).get("warnings", ()):
        say(f"{row['name']}: {text}", err=True)
    if row.get("sending"):
        say(f"{row['name']}: {on_its_way(row['sending'])}", err=True)


def on_its_way(sending: Mapping[str, Any]) -> str:
    """How far a model has come."""
    from mathcore.units import show_bytes

    sent, total = show_bytes(sending["sent"]), show_bytes(sending["total"])
    return f"{sending['name']} is on its way there: {sent} of {total}"


@ssh.command()
@click.argument("destination")
@click.option("--port", type=click.IntRange(1, 65535), help="where its sshd listens")
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="the private key to use")
@click.option("--jump", metavar="USER@HOST", help="the host to go through")
@click.option("--pin", metavar="SHA256:…", default="", help="the fingerprint its key must have")
@click.option("--name", help="what it is called here; from its address if not given")
@click.option("--no-agent", is_flag=True, help="never ask the SSH agent")
@yes_option
@json_option
def add(
    *,
    destination: str,
    port: int | None,
    key: str | None,
    jump: str | None,
    pin: str,
    name: str | None,
    no_agent: bool,
    yes: bool,
    output: str,
) -> None:
    """Adopt the host that `ssh DESTINATION` reaches; its devices are this peer's from then on.

    ~/.ssh/config, known_hosts and the agent count once, now. A host key that is not known is shown
    and must be confirmed. Keys only: the daemon cannot type a password.
    """
    from mesh.config import fleet_home

    daemon = need_daemon(fleet_home())
    asked = _Asked(yes=yes, quiet=output == "json")
    host = asyncio.run(
        _host(
            destination,
            port or 0,
            key or "",
            jump or "",
            pin,
            name or "",
            asked,
            agent=not no_agent,
        )
    )
    import msgspec

    _shown(daemon.post("/v1/ssh", msgspec.to_builtins(host)), output)


class _Asked:
    """A person, asked whether a fingerprint is right."""

    def __init__(self, *, yes: bool, quiet: bool) -> None:
        self._yes = yes
        self._quiet = quiet

    def vouch(self, destination: str, kind: str, print_: str) -> bool:
        """True once somebody said so."""
        say(f"{destination} shows a key nobody here knows: {kind} {print_}", err=True)
        if not self._yes:
            confirm("is it the host's?")
        return True


async def _host(
    destination: str,
    port: int,
    key: str,
    jump: str,
    pin: str,
    name: str,
    asked: _Asked,
    *,
    agent: bool,
) -> Host:
    import msgspec

    from providers.ssh.adopting import pinned
    from providers.ssh.config import resolve
    from providers.ssh.hosts import host_of

    resolved = await resolve(destination, port=port, key=key, jump=jump)
    way = await pinned(resolved, asked.vouch, pin=pin, agent=agent)
    hops = [msgspec.to_builtins(hop) for hop in way.hops]
    called = name or _name_of(destination)
    try:
        return host_of({"name": called, "hop": hops[-1], "jumps": hops[:-1]})
    except msgspec.ValidationError as error:
        stop(USAGE, f"{destination}: {error}", "fleet ssh add user@host --name box")


def _name_of(destination: str) -> str:
    """A host's short name: "box" for "me@box.lan"; an address with its dots."""
    from providers.ssh.config import parse_destination

    _, host, _ = parse_destination(destination)
    short = host if re.fullmatch(r"[0-9.]+|.*:.*", host) else host.partition(".")[0]
    return re.sub(r"[^a-z0-9._-]+", "-", short.lower()).strip("-.")[:32] or "host"


def _shown(row: Row, output: str) -> None:
    """One host as it is now; an exit code of its own where it can't be used."""
    if output == "json":
        emit_json(row)
    else:
        emit(columns(), [row], "")
        for device in row["devices"]:
            say(f"  {device}")
        remarks(row)
    if row["status"] != "ready":
        stop(ENDS.get(str(row["status"]), CANNOT))


@ssh.command()
@click.argument("name")
@json_option
def probe(name: str, output: str) -> None:
    """Ask NAME for everything now, and try again what it refused."""
    from mesh.config import fleet_home

    daemon = need_daemon(fleet_home())
    _shown(daemon.post(f"/v1/ssh/{quoted(name)}/probe"), output)


@ssh.command("rm")
@click.argument("name")
@json_option
def remove(name: str, output: str) -> None:
    """Let NAME go, with its devices; what runs there goes on."""
    from mesh.config import fleet_home

    said = need_daemon(fleet_home()).post(f"/v1/ssh/{quoted(name)}/remove")
    if output == "json":
        emit_json(said)
        return
    say(f"{name} is let go; {len(said['removed'])} devices with it")
