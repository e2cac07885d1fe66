"""Asking a host what it is: one script, whatever it costs the host at most some seconds."""

from __future__ import annotations

import secrets
from importlib.resources import files
from typing import Final, Protocol

from providers.base import ProviderError
from providers.rental.boot import CONTACT
from providers.ssh.framing import Answer
from providers.ssh.reading.facts import HostFacts
from providers.ssh.reading.host import read_host

# Five tools of 5 s each at worst, one of 9 s on a Mac; a driver that ignores KILL ends it here.
ALL_LIMIT_S: Final = 45.0
LIVE_LIMIT_S: Final = 20.0


class Runs(Protocol):
    """What runs a script on a host and may give what came before a limit."""

    async def run(self, script: str, limit_s: float, *, partial: bool = False) -> Answer:
        """What a script prints; `partial`: also where it did not come back in time."""


async def probe(reach: Runs, *, everything: bool, rented: bool = False) -> HostFacts:
    """The facts of a host now; ProviderError where it is not reached or gives no shell. On a rented
    machine it is noted for its dead-man that somebody was there."""
    nonce = secrets.token_hex(8)
    text = files("providers.ssh").joinpath("host", "probe.sh").read_text()
    contact = f"{CONTACT}\n" if rented else ""
    script = f"N={nonce} W={'all' if everything else 'live'}\n{contact}{text}"
    limit_s = ALL_LIMIT_S if everything else LIVE_LIMIT_S
    answer = await reach.run(script, limit_s, partial=True)
    body = answer.body.decode(errors="replace")
    if f"@@{nonce} id" not in body:
        raise ProviderError("the probe printed nothing", "look at the host by hand")
    return read_host(body, nonce, everything=everything)
