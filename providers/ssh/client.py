"""SSH itself, by asyncssh: the one file that knows it. One connection, many scripts.
It is imported when the first host is reached. No config is read, no key accepted unseen, no
password asked: what is needed stands in the `Host`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from providers.base import ProviderError, Unheard
from providers.ssh.feeding import answer_of, fed_answer
from providers.ssh.framing import COMMAND, FEED, Answer, Reader, TooLong, fed, framed
from providers.ssh.hosts import Hop, Host
from providers.ssh.limits import (
    CONNECT_LIMIT_S,
    KEEPALIVE_COUNT,
    KEEPALIVE_S,
    LOGIN_LIMIT_S,
    MAX_ANSWER_BYTES,
    MAX_SESSIONS,
    MAX_WORDS,
    URGENT_SESSIONS,
)

if TYPE_CHECKING:
    import asyncssh

WINDOWS: Final = "OpenSSH_for_Windows"
NO_WINDOWS: Final = "run the daemon there: fleet up on Windows, or add its WSL as a host of its own"
HUNG: Final = 124  # what timeout(1) says of a program that had to be ended
NO_SESSION_PAUSES_S: Final = (0.05, 0.2, 0.5, 1.0)  # a busy server closed a session in 0.3 s
WORDS_LIMIT_S: Final = 2.0  # what a shell that refused us may still say


class Unreached(Unheard):
    """The host was not reached, or the link broke: what we asked for may have happened, or not."""

    code = "Unreached"


@final
class NeedsLogin(Unheard):
    """The host is there and lets us in no more: a person must act before we try again."""


@final
class KeyChanged(Unheard):
    """The host's key is another than the pinned one."""

    def __init__(self, host: str, pinned: str, offered: str) -> None:
        super().__init__(
            f"{host}: the host key is another: pinned {pinned}, offered {offered}",
            "ask its owner; if the machine was made anew: fleet ssh rm NAME, then fleet ssh add",
        )
        self.pinned = pinned
        self.offered = offered


@final
class NoShell(ProviderError):
    """The account gives no POSIX shell."""


def fingerprint(key: str) -> str:
    """ "SHA256:…" of a public key as known_hosts has it."""
    import asyncssh

    return str(asyncssh.import_public_key(key).get_fingerprint())


def _line(key: Any) -> str:
    """A public key as known_hosts has it, without a comment."""
    return " ".join(key.export_public_key("openssh").decode().split()[:2])


def known_keys(files: tuple[str, ...], host: str, port: int) -> tuple[str, ...]:
    """The keys that known_hosts files hold for a host; revoked ones are none of them."""
    import asyncssh

    found: list[str] = []
    for file in files:
        path = Path(file).expanduser()
        if not path.is_file():
            continue
        with contextlib.suppress(OSError, ValueError):
            known = asyncssh.read_known_hosts(str(path))
            keys, _, revoked, *_ = known.match(host, "", None if port == 22 else port)
            found += [_line(key) for key in keys if key not in revoked]
    return tuple(dict.fromkeys(found))


async def offered_key(
    address: str,
    port: int,
    prefer: tuple[str, ...] = (),
    jumps: tuple[Hop, ...] = (),
    tunnel: Any = None,
) -> str:
    """The key a host shows before anybody logs in; of the types of `prefer`, where it has one."""
    import asyncssh

    wanted = [name for key in prefer for name in _names(asyncssh.import_public_key(key))]
    async with contextlib.AsyncExitStack() as stack:
        tunnel = await _tunnel(jumps, stack) if jumps else tunnel
        for algorithms in ([wanted] if wanted else []) + [[]]:
            with contextlib.suppress(_BrokenOff), _explained(f"{address}:{port}"):
                options: Any = {"server_host_key_algs": algorithms} if algorithms else {}
                async with asyncio.timeout(CONNECT_LIMIT_S):
                    key = await asyncssh.get_server_host_key(
                        address, port, tunnel=tunnel, config=None, **options
                    )
                if key is not None:
                    return _line(key)
    raise Unreached(f"{address}:{port} shows no host key we know", "is an SSH server there?")


def _names(key: Any) -> list[str]:
    return [name.decode() for name in key.sig_algorithms]


@final
@dataclass(slots=True)
class Link:
    """One living connection to a host; `run` may be called by many at once."""

    host: Host
    _connection: asyncssh.SSHClientConnection
    _stack: contextlib.AsyncExitStack
    _given_up: bool = False
    _sessions: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_SESSIONS))
    _urgent: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(URGENT_SESSIONS))

    @property
    def closed(self) -> bool:
        """Whether the connection is known to be gone."""
        return self._given_up or bool(self._connection.is_closed())

    async def run(
        self,
        script: str,
        limit_s: float,
        *,
        urgent: bool = False,
        partial: bool = False,
        limit: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """What a script prints on stdout, whole. Unreached where that can't be known.

        `urgent` takes one of the sessions kept free, for a cancel among many readers. `partial`:
        of a script that hangs, what it printed before.
        """
        nonce = secrets.token_hex(8)
        reader = Reader(nonce, limit)
        async with self._urgent if urgent else self._sessions:
            try:
                return await self._run(script, limit_s, nonce, reader)
            except NoSession:
                self._given_up = True
                self._connection.abort()  # scripts that hang hold them all: begin anew
                raise
            except Unreached:
                if partial and reader.partial and not self.closed:
                    return Answer(HUNG, reader.partial)
                raise

    async def feed(self, script: str, pieces: Iterator[bytes], limit_s: float) -> Answer:
        """Run a script of one line with these bytes on its stdin; Unreached where that broke off.

        `pieces` is read in a thread. Its time is bounded by progress: STALL_S for each piece, and
        `limit_s` for the answer once all is sent.
        """
        nonce = secrets.token_hex(8)
        reader = Reader(nonce)
        async with self._sessions:
            process = await self._session(FEED)
            with _explained(self.host.name):
                try:
                    answer = await fed_answer(process, reader, fed(script, nonce), pieces, limit_s)
                finally:
                    process.close()
        if answer is None:
            raise Unreached(f"{self.host.name}: the link broke", "it is tried again")
        return answer

    async def _session(self, command: str) -> Any:
        """A session of its own. A server that is still closing what ended a moment ago is asked
        again: to give the connection up would break off whatever else runs over it."""
        for pause_s in (*NO_SESSION_PAUSES_S, None):
            try:
                with _explained(self.host.name):
                    return await self._connection.create_process(command, encoding=None)
            except NoSession:
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)
        raise AssertionError

    async def _run(self, script: str, limit_s: float, nonce: str, reader: Reader) -> Answer:
        process = await self._session(COMMAND)
        with _explained(self.host.name):
            try:
                async with asyncio.timeout(limit_s):
                    # A login shell that left at once (nologin) may be gone before it hears us.
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.write(framed(script, nonce))
                        process.stdin.write_eof()
                    answer = await answer_of(process, reader)
            finally:
                if not reader.ended:
                    with contextlib.suppress(OSError):
                        process.kill()
                process.close()  # the script's detached children live on
            if answer is not None:
                return answer
            if self.closed:
                raise Unreached(f"{self.host.name}: the link broke", "it is tried again")
            raise _no_shell(self.host.name, reader, await _last_words(process))

    async def close(self) -> None:
        """End the connection and those it goes through."""
        self._connection.abort()
        await self._stack.aclose()


async def _last_words(process: Any) -> str:
    try:
        async with asyncio.timeout(WORDS_LIMIT_S):
            said: bytes = await process.stderr.read(2000)
            return said.decode(errors="replace")
    except (TimeoutError, OSError):
        return ""


def _no_shell(name: str, reader: Reader, errors: str) -> ProviderError:
    """Nothing came between sentinels: why, in the account's own words."""
    if reader.began:
        return Unreached(f"{name}: the answer broke off", "it is tried again")
    words = " ".join(f"{reader.words} {errors}".split())[-MAX_WORDS:]
    return NoShell(f"{name}: no POSIX shell: {words or 'it said nothing'}", "use another account")


async def connect(host: Host) -> Link:
    """Log in, through its jump hosts; the errors of this module say what is wrong."""
    stack = contextlib.AsyncExitStack()
    try:
        tunnel = await _tunnel(host.jumps, stack)
        connection = await _login(host.hop, tunnel)
        version = str(connection.get_extra_info("server_version") or "")
        if WINDOWS in version:
            connection.abort()
            raise NoShell(f"{host.name} is Windows: its shells are no POSIX shells", NO_WINDOWS)
        return Link(host, connection, stack)
    except BaseException:
        await stack.aclose()
        raise


async def _tunnel(jumps: tuple[Hop, ...], stack: contextlib.AsyncExitStack) -> Any:
    """The connection of the last jump host; None where there is none."""
    tunnel: Any = None
    for hop in jumps:
        tunnel = await _login(hop, tunnel)
        stack.callback(tunnel.abort)
    return tunnel


async def _login(hop: Hop, tunnel: Any) -> asyncssh.SSHClientConnection:
    import asyncssh

    offered: list[Any] = []
    pinned = asyncssh.import_public_key(hop.pin)

    class Client(asyncssh.SSHClient):
        def validate_host_public_key(self, host: str, addr: str, port: int, key: Any) -> bool:
            offered.append(key)  # asked only of a key that is not the pinned one
            return False

    keys, locked = _private_keys(hop)
    async with contextlib.AsyncExitStack() as stack:
        keys += await _agent_keys(hop.agent, stack)
        try:
            with _explained(hop.shown):
                async with asyncio.timeout(LOGIN_LIMIT_S):
                    return await asyncssh.connect(
                        hop.host,
                        hop.port,
                        username=hop.user,
                        tunnel=tunnel,
                        client_factory=Client,
                        client_keys=keys or None,
                        agent_path=None,
                        known_hosts=([pinned], [], []),
                        config=None,
                        preferred_auth="publickey",
                        x509_trusted_certs=None,
                        gss_host=None,
                        keepalive_interval=KEEPALIVE_S,
                        keepalive_count_max=KEEPALIVE_COUNT,
                        connect_timeout=CONNECT_LIMIT_S,
                        login_timeout=LOGIN_LIMIT_S,
                    )
        except NeedsLogin as error:
            raise NeedsLogin(f"{error.text}{locked}", error.hint) from error
        except _ChangedKey as error:
            shown = str(offered[-1].get_fingerprint()) if offered else "none of its type"
            raise _changed(hop, shown) from error
        except _BrokenOff as error:
            # A server without a key of the pinned type just hangs up: what does it have?
            other = await offered_key(hop.host, hop.port, (), tunnel=tunnel)
            if other.split()[0] != hop.pin.split()[0]:
                raise _changed(hop, fingerprint(other)) from error
            raise


def _changed(hop: Hop, offered: str) -> KeyChanged:
    return KeyChanged(hop.shown, fingerprint(hop.pin), offered)


async def _agent_keys(path: str, stack: contextlib.AsyncExitStack) -> list[Any]:
    """The keys of the agent a person chose; none where it is not there now."""
    import asyncssh

    if not path:
        return []
    try:
        agent = await stack.enter_async_context(asyncssh.connect_agent(path))
        return list(await agent.get_keys())
    except (OSError, ValueError, asyncssh.Error):
        return []


def _private_keys(hop: Hop) -> tuple[list[Any], str]:
    """The keys that can be read, all tried in one login; and what to add to a refusal."""
    import asyncssh

    found, locked = [], ""
    for path in hop.keys:
        try:
            found.append(asyncssh.read_private_key(path))
        except (OSError, ValueError) as error:
            phrase = "passphrase" in str(error).lower()
            why = "has a passphrase: only an agent can use it" if phrase else str(error)
            locked = f" ({path} {why})"
    return found, locked


@final
class _ChangedKey(Exception):
    """The server's key is not the pinned one, or not of its type."""


@final
class _BrokenOff(Unreached):
    """The connection ended in the middle of its handshake or of its life."""


@final
class NoSession(Unreached):
    """The connection has no session left: what was asked for was not begun."""


@contextlib.contextmanager
def _explained(who: str) -> Any:
    """What asyncssh and the system raise, as errors of this module."""
    import asyncssh

    again = "is it up, and is the network there?"
    try:
        yield
    except asyncssh.PermissionDenied as error:
        text = f"{who} refuses our keys: {error.reason or 'permission denied'}"
        raise NeedsLogin(text, "ssh there by hand, or ssh-copy-id; then fleet ssh probe") from error
    except asyncssh.HostKeyNotVerifiable as error:
        raise _ChangedKey(str(error)) from error
    except (asyncssh.ConnectionLost, asyncssh.KeyExchangeFailed, ConnectionResetError) as error:
        raise _BrokenOff(f"{who} is not reached: {error}", again) from error
    except TooLong as error:
        raise ProviderError(
            f"{who} sends more than any answer has", "look at it by hand"
        ) from error
    except TimeoutError as error:
        raise Unreached(f"{who} does not answer in time", again) from error
    except asyncssh.ChannelOpenError as error:
        raise NoSession(f"{who} opens no session: {error.reason}", "its MaxSessions?") from error
    except (asyncssh.Error, OSError) as error:
        raise Unreached(f"{who} is not reached: {error}", again) from error
