"""What a daemon leaves in its home for commands to find it: its addresses and its token."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mesh.edge.disk import explained, write_private
from providers.process import boot_id, start_ticks

DAEMON_FILE: Final = "daemon.json"
TOKEN_FILE: Final = "token"


def announce(
    home: Path, url: str, ports: Mapping[str, str], *, starting: bool = False
) -> dict[str, object]:
    """Write daemon.json and return it; `ports` is empty where no other machine gets in.

    The process is named by what no clock that is set changes: its start, and the boot it is of.
    `starting`: it answers on loopback, and only how far its start is.
    """
    pid = os.getpid()
    named: dict[str, object] = {"pid": pid, "start_ticks": start_ticks(pid), "boot_id": boot_id()}
    said = {**named, "url": url, **ports}
    said |= {"starting": True} if starting else {}
    with explained(f"cannot say in {home} where the daemon is"):
        write_private(home / DAEMON_FILE, json.dumps(said))
    return said


def withdraw(home: Path) -> None:
    """The daemon ends."""
    with explained(f"cannot take back in {home} where the daemon was"):
        (home / DAEMON_FILE).unlink(missing_ok=True)


def listens(home: Path) -> list[str]:
    """Each address of the announced daemon and who gets in there, a line each."""
    said = json.loads((home / DAEMON_FILE).read_text())
    lines = [f"  API      {said['url']}  this machine only, by the token"]
    if "gateway" in said:
        lines.append(f"  models   {said['gateway']}/v1  tools on this machine, in OpenAI's form")
    if "lan" in said:
        lines.append(f"  models   {said['lan']}/v1  other machines, by keys; not encrypted")
    if "peers" not in said:
        return [*lines, "  peers    nowhere: listen is none"]
    return [
        *lines,
        f"  peers    {said['peers']}  members of the fleet, by their keys",
        f"  pairing  {said['pairing']}  who holds an invite's code; others may only ask",
    ]


def token(home: Path) -> str:
    """The loopback token, made once, and anew where its file holds none; whoever reads the file may
    command this peer."""
    with explained(f"cannot use the token in {home}"):
        return read_token(home) or new_token(home)


def read_token(home: Path) -> str:
    """The token; "" where there is none, or what no request can carry."""
    try:
        found = (home / TOKEN_FILE).read_bytes().decode("ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    return found if found.isprintable() else ""


def new_token(home: Path) -> str:
    """A token in place of whatever the file holds; a daemon that runs goes on with its own."""
    made = secrets.token_urlsafe(32)
    write_private(home / TOKEN_FILE, made)
    return made
