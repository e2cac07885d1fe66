"""What the person's own `ssh` would do for a name: asked of `ssh -G`, once, when a host is adopted.

So aliases, Include, Match, Port, User, IdentityFile, ProxyJump and the system's own defaults mean
what they mean to `ssh`. The daemon never reads a config.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from providers.base import ProviderError

# `Match exec` may run a program of the person's; one that hangs is theirs to mend.
RESOLVE_LIMIT_S: Final = 10.0
MAX_CONFIG_BYTES: Final = 256 * 1024  # `ssh -G` prints 4 kB
MAX_JUMPS: Final = 4
_DESTINATION = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@/\s]+)@)?(?P<host>\[[^\]]+\]|[^@:/;\s]+)(?::(?P<port>\d+))?"
)
NO_PROXY_COMMAND: Final = (
    "use ProxyJump in its place: ProxyCommand is a program of this machine's shell"
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """One destination as `ssh` would reach it; `jumps` first to last."""

    host: str
    user: str
    port: int
    keys: tuple[str, ...]
    agent: str
    known_as: str  # the name its key has in known_hosts
    known_hosts: tuple[str, ...]
    jumps: tuple[Resolved, ...] = ()


def parse_destination(text: str) -> tuple[str, str, int]:
    """(user, host, port) of "user@host:port" or "ssh://…"; "" and 0 where it does not say.

    ProviderError for what is none, and for what `ssh` could take for an option.
    """
    found = _DESTINATION.fullmatch(text.strip())
    bare = re.fullmatch(r"(?:(?P<user>[^@/\s]+)@)?(?P<host>[0-9a-fA-F:]+:[0-9a-fA-F:%.\w]+)", text)
    if bare is not None and bare["host"].count(":") > 1:
        return bare["user"] or "", bare["host"], 0
    if found is None or text.startswith("-") or found["host"].startswith("-"):
        raise ProviderError(f"{text[:80]!r} is no SSH destination", "say user@host or user@host:22")
    port = int(found["port"] or 0)
    if port > 65535:
        raise ProviderError(f"{text[:80]!r}: no port is above 65535", "say user@host:22")
    return found["user"] or "", found["host"].strip("[]"), port


async def resolve(
    text: str, *, port: int = 0, key: str = "", jump: str = "", config: str = ""
) -> Resolved:
    """How `ssh TEXT` would go, what is given here going before what the config says."""
    return await _resolve(text, port=port, key=key, jump=jump, config=config, depth=0)


async def _resolve(
    text: str, *, port: int = 0, key: str = "", jump: str = "", config: str, depth: int
) -> Resolved:
    user, host, said_port = parse_destination(text)
    options = await _effective(host, user, port or said_port, config)
    if options.get("proxycommand", ["none"])[0] != "none":
        raise ProviderError(f"{host} is reached by a ProxyCommand", NO_PROXY_COMMAND)
    way = jump or options.get("proxyjump", ["none"])[0]
    names = [] if way == "none" else way.split(",")
    if len(names) > MAX_JUMPS or depth > MAX_JUMPS:
        raise ProviderError(f"{host} is behind more than {MAX_JUMPS} jump hosts", "use fewer")
    jumps: list[Resolved] = []
    for name in names:
        one = await _resolve(name, config=config, depth=depth + 1)
        jumps += [*one.jumps, one]
    return resolved(options, host, key, tuple(jumps), os.environ.get("SSH_AUTH_SOCK", ""))


def resolved(
    options: dict[str, list[str]], host: str, key: str, jumps: tuple[Resolved, ...], agent: str
) -> Resolved:
    """The destination out of what `ssh -G` printed; pure but for which key files there are."""

    def one(name: str, default: str) -> str:
        return options.get(name, [default])[0]

    hosts = f"{one('userknownhostsfile', '')} {one('globalknownhostsfile', '')}".split()
    socket = one("identityagent", "SSH_AUTH_SOCK")
    return Resolved(
        host=one("hostname", host),
        user=one("user", ""),
        port=int(one("port", "22")),
        keys=(key,) if key else tuple(options.get("identityfile", [])),
        agent={"none": "", "SSH_AUTH_SOCK": agent}.get(socket, socket),
        known_as=one("hostkeyalias", one("hostname", host)),
        known_hosts=tuple(hosts),
        jumps=jumps,
    )


def existing(paths: tuple[str, ...]) -> tuple[str, ...]:
    """The key files of a config that are there, whole paths."""
    found = (Path(path).expanduser() for path in paths)
    return tuple(str(path.absolute()) for path in found if path.is_file())


async def _effective(host: str, user: str, port: int, config: str) -> dict[str, list[str]]:
    """Every option `ssh` would use for a host; where there is no `ssh`, its defaults."""
    program = shutil.which("ssh")
    if program is None:
        return _without_ssh(host, user, port)
    words = ["-G", *(["-F", config] if config else []), *(["-l", user] if user else [])]
    words += ["-p", str(port)] if port else []
    process = await asyncio.create_subprocess_exec(
        program, *words, "--", host,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), RESOLVE_LIMIT_S)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise ProviderError("ssh -G takes too long", "see Match exec in ~/.ssh/config") from error
    if process.returncode:
        said = err[:2000].decode(errors="replace").strip().splitlines()
        raise ProviderError(f"ssh: {(said or ['no reason given'])[-1]}", "see ~/.ssh/config")
    return read_options(out[:MAX_CONFIG_BYTES].decode(errors="replace"))


def read_options(text: str) -> dict[str, list[str]]:
    """`ssh -G`'s lines by their first word; a word that stands often has several values."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name.lower(), []).append(value)
    return found


def _without_ssh(host: str, user: str, port: int) -> dict[str, list[str]]:
    keys = [f"~/.ssh/id_{kind}" for kind in ("ed25519", "ecdsa", "rsa")]
    return {
        "hostname": [host],
        "user": [user or getpass.getuser()],
        "port": [str(port or 22)],
        "identityfile": keys,
        "userknownhostsfile": [str(Path("~/.ssh/known_hosts").expanduser())],
    }
