"""The clouds this program can rent at: an adapter over a wire that has an account's key."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

from mesh.edge.clouds.keys import Key
from mesh.edge.clouds.renting.wire import NotingWire
from providers.rental.contract import Cloud, Wire


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An account's adapter and its wire; `close` gives up the kept connections."""

    cloud: Cloud
    wire: NotingWire
    close: Callable[[], Awaitable[None]]


def own_ms() -> int:
    """A clock that goes evenly, while the machine sleeps too, ms; never read as a date.

    Linux' monotonic clock stands still in sleep and CLOCK_BOOTTIME does not; of macOS it is
    Python's that stands still and CLOCK_MONOTONIC that does not; that of Windows goes on.
    """
    if sys.platform == "win32":
        return time.monotonic_ns() // 1_000_000
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


def open_line(provider: str, key: Key, environment: Mapping[str, str] = os.environ) -> Line:
    """An adapter for one account; ValueError where the environment names an address that no key
    may be sent to."""
    from providers.rental.http import HttpWire, address_of

    variable, default = ADDRESSES[provider]
    base_url = address_of(variable, default(), environment)
    line = HttpWire(base_url, key.reveal(), provider)
    wire = NotingWire(line, own_ms)
    return Line(cloud=MAKERS[provider](wire, base_url), wire=wire, close=line.close)


# A provider's modules are loaded when there is a key for it.


def _vast(wire: Wire, base_url: str) -> Cloud:
    from providers.vastai.cloud import VastAI

    return VastAI(wire, base_url=base_url)


def _runpod(wire: Wire, base_url: str) -> Cloud:
    from providers.runpod.cloud import RunPod

    return RunPod(wire)


def _lambda(wire: Wire, base_url: str) -> Cloud:
    from providers.lambdalabs.cloud import LambdaCloud

    return LambdaCloud(wire)


def _vast_url() -> str:
    from providers.vastai.profile import BASE_URL

    return BASE_URL


def _runpod_url() -> str:
    from providers.runpod.profile import BASE_URL

    return BASE_URL


def _lambda_url() -> str:
    from providers.lambdalabs.profile import BASE_URL

    return BASE_URL


MAKERS: Final[Mapping[str, Callable[[Wire, str], Cloud]]] = {
    "vastai": _vast,
    "runpod": _runpod,
    "lambdalabs": _lambda,
}
# The variable that names another address, for tests, and the provider's own.
ADDRESSES: Final[Mapping[str, tuple[str, Callable[[], str]]]] = {
    "vastai": ("FLEET_VAST_URL", _vast_url),
    "runpod": ("FLEET_RUNPOD_URL", _runpod_url),
    "lambdalabs": ("FLEET_LAMBDA_URL", _lambda_url),
}
