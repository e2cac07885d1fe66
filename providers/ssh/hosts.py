"""An adopted host: all that is needed to reach it again, with no config file read."""

from __future__ import annotations

import re
from typing import Annotated, final

import msgspec

# What a host may be called: it stands in device ids and in folder names. `\Z` and not `$`, which
# takes a line feed at the end.
NAME = r"^[a-z0-9][a-z0-9._-]{0,31}\Z"
# A name or an address, IPv6 with its zone too. Never an option: no leading dash.
ADDRESS = r"^[A-Za-z0-9_:\[][A-Za-z0-9._:%\[\]-]{0,254}\Z"
# useradd's rule, widened by what directories (AD, LDAP) have.
USER = r"^[A-Za-z0-9_][A-Za-z0-9._@\\-]{0,127}\Z"
# "ssh-ed25519 AAAA…", as in known_hosts.
KEY = r"^[a-z0-9@.-]{1,64} [A-Za-z0-9+/]{32,8192}={0,2}\Z"
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
MAX_KEYS = 16  # identity files tried; sshd ends a connection after six anyway
MAX_PATH = 4096

Name = Annotated[str, msgspec.Meta(pattern=NAME)]
Address = Annotated[str, msgspec.Meta(pattern=ADDRESS)]
User = Annotated[str, msgspec.Meta(pattern=USER)]
Path = Annotated[str, msgspec.Meta(max_length=MAX_PATH)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
HostKey = Annotated[str, msgspec.Meta(pattern=KEY)]


@final
class Hop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One machine on the way, or the host itself.

    `pin` is its public key; `keys` are paths of private keys, `agent` the socket of the agent that
    may be asked ("" = none).
    """

    host: Address
    user: User
    port: Port = 22
    keys: Annotated[tuple[Path, ...], msgspec.Meta(max_length=MAX_KEYS)] = ()
    agent: Path = ""
    pin: HostKey

    @property
    def shown(self) -> str:
        """ "user@host", with the port where it is not 22."""
        return f"{self.user}@{self.host}" + (f":{self.port}" if self.port != 22 else "")


@final
class Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A host under the name people use, and the way to it: `jumps` first to last, then `hop`."""

    name: Name
    hop: Hop
    jumps: Annotated[tuple[Hop, ...], msgspec.Meta(max_length=4)] = ()


def host_of(given: object) -> Host:
    """A host out of JSON; msgspec.ValidationError names the field that is wrong."""
    return msgspec.convert(given, Host)
