"""From what a person typed to a `Host`: the way `ssh` would go, and keys a person can vouch for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from providers.base import ProviderError
from providers.ssh.client import KeyChanged, fingerprint, known_keys, offered_key
from providers.ssh.config import Resolved, existing
from providers.ssh.hosts import FINGERPRINT, Hop

# Asked of a key nobody knows: (destination, kind of key, fingerprint) -> whether it is the right
# one.
Vouch = Callable[[str, str, str], bool]


@final
class NotVouched(ProviderError):
    """Nobody says that the key is the host's."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The hops to a host, itself last, each with the key it is pinned to."""

    hops: tuple[Hop, ...]


async def pinned(resolved: Resolved, vouch: Vouch, *, pin: str = "", agent: bool = True) -> Way:
    """The way with every host key pinned: a known one as it is, an unknown one once vouched for.

    `pin` is the fingerprint the host itself must have. KeyChanged where known_hosts or `pin` say
    another.
    """
    if pin and not FINGERPRINT.fullmatch(pin):
        raise ProviderError(
            f"{pin[:80]!r} is no fingerprint", "as ssh-keygen -lf prints it: SHA256:…"
        )
    hops: tuple[Hop, ...] = ()
    for one in resolved.jumps:
        hops = (*hops, await _hop(one, hops, vouch, "", agent=agent))
    return Way(hops=(*hops, await _hop(resolved, hops, vouch, pin, agent=agent)))


async def _hop(
    one: Resolved, before: tuple[Hop, ...], vouch: Vouch, pin: str, *, agent: bool
) -> Hop:
    known = known_keys(one.known_hosts, one.known_as, one.port)
    key = await offered_key(one.host, one.port, known, before)
    print_ = fingerprint(key)
    shown = f"{one.user}@{one.host}"
    if pin and print_ != pin:
        raise KeyChanged(shown, pin, print_)
    if not pin and known and key not in known:
        raise KeyChanged(shown, fingerprint(known[0]), print_)
    if not pin and not known and not vouch(shown, key.split()[0], print_):
        raise NotVouched(f"the key of {shown} is not confirmed", f"--pin {print_}, if it is right")
    keys = existing(one.keys)
    return Hop(
        host=one.host,
        user=one.user,
        port=one.port,
        keys=keys,
        agent=one.agent if agent else "",
        pin=key,
    )
