"""Clouds that a real daemon rents from: their stand-ins, with a real sshd for each machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.emulators.hosting import Hosting, hosted
from tests.emulators.lambdalabs import LambdaEmulator
from tests.emulators.machines import Machine as Rented
from tests.emulators.runpod import RunPodEmulator
from tests.emulators.vastai import VastEmulator
from tests.mesh.conftest import Machine, Maker, up_all
from tests.support.waiting import wait_until


@dataclass(frozen=True, kw_only=True)
class Provider:
    """How a cloud is made, and where a daemon is told of it. `gpu`: what it has of the cheapest."""

    make: Callable[..., Any]
    url: str
    key: str
    gpu: str


PROVIDERS = {
    "vastai": Provider(make=VastEmulator, url="FLEET_VAST_URL", key="VAST_API_KEY", gpu="20GB.."),
    "runpod": Provider(
        make=RunPodEmulator, url="FLEET_RUNPOD_URL", key="RUNPOD_API_KEY", gpu="20GB.."
    ),
    "lambdalabs": Provider(
        make=LambdaEmulator, url="FLEET_LAMBDA_URL", key="LAMBDA_API_KEY", gpu="20GB.."
    ),
}


@contextmanager
def cloud(folder: Path, name: str) -> Iterator[Hosting]:
    """One provider's stand-in."""
    with hosted(folder / name, PROVIDERS[name].make) as hosting:
        hosting.emulator.ssh_at = hosting.where  # Vast.ai's asks; others read `extra`
        yield hosting


def give_key(one: Machine, name: str, hosting: Hosting) -> None:
    """This peer's daemon, once started, has the account there and nowhere else."""
    for other in PROVIDERS.values():
        one.env = {k: v for k, v in one.env.items() if k not in (other.url, other.key)}
    provider = PROVIDERS[name]
    one.env |= {provider.url: hosting.server.url, provider.key: hosting.emulator.key}


# Read by every Python of a peer: its clock that goes evenly is ahead by what a file says.
LATER = """\
import os, time
really = time.clock_gettime_ns
def later(clock):
    try:
        with open(os.environ["TEST_LATER"]) as file:
            ahead = int(file.read()) * 1_000_000
    except (OSError, ValueError):
        ahead = 0
    return really(clock) + (0 if clock == time.CLOCK_REALTIME else ahead)
time.clock_gettime_ns = later
"""


class Hours:
    """Time that passes for a peer and its cloud alike, at once. Made before the daemon starts."""

    def __init__(self, one: Machine, hosting: Hosting, folder: Path) -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(LATER)
        self.file, self.hosting, self.ms = folder / "later", hosting, 0
        path = os.pathsep.join((str(folder), one.env["PYTHONPATH"]))
        one.env |= {"PYTHONPATH": path, "TEST_LATER": str(self.file)}

    def go(self, hours: int) -> None:
        """So many hours later."""
        self.ms += hours * 3_600_000
        fresh = self.file.with_suffix(".new")
        fresh.write_text(str(self.ms))
        fresh.replace(self.file)
        self.hosting.server.skew_ms = self.ms


def listed(one: Machine, name: str) -> bool:
    """Whether the account was listed, and lately."""
    rows = one.get("/v1/clouds")["clouds"]
    return any(row["provider"] == name and row["state"] == "ready" for row in rows)


def offered(one: Machine, name: str) -> bool:
    """Whether single machines are offered there."""
    rows = one.get(f"/v1/offers?provider={name}")["offers"]
    return any(row["source"] == "offer" for row in rows)


def with_account(machines: Maker, who: str, name: str, hosting: Hosting) -> Machine:
    """A peer whose daemon knows what the cloud has."""
    one = machines(who)
    give_key(one, name, hosting)
    up_all(machines, who)
    wait_until(lambda: listed(one, name), "the account to be listed")
    wait_until(lambda: offered(one, name), "offers")
    return one


def rental_of(one: Machine, request_id: str) -> Any:
    """Its newest rental, whatever became of it; None before there is one."""
    rows = one.get("/v1/rentals?ended=1")["rentals"]
    return next((row for row in rows if row["request_id"] == request_id), None)


def all_ended(hosting: Hosting) -> bool:
    """Whether the provider counts none of ours any more."""
    ours: list[Rented] = hosting.ours()
    return all(one.ended is not None for one in ours)
