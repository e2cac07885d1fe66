"""The three providers of the simulation: each with its adapter, its stand-in and its own faults."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from providers.lambdalabs.cloud import LambdaCloud
from providers.rental.contract import Cloud, Offer, Wire
from providers.runpod.cloud import RunPod
from providers.vastai.cloud import VastAI
from tests.emulators.base import Emulator
from tests.emulators.lambdalabs import LambdaEmulator
from tests.emulators.machines import Machine
from tests.emulators.runpod import RunPodEmulator
from tests.emulators.vastai import VastEmulator

PAGE = 2  # machines on a page, so that there are several


@dataclass(frozen=True)
class Side:
    """One provider. `own`: faults of its machines; `lacks`: faults that it cannot have."""

    name: str
    cloud: Callable[[Wire], Cloud]
    emulator: Callable[[random.Random], Emulator]
    lacks: frozenset[str]


SIDES = {
    "vastai": Side(
        "vastai", VastAI, lambda dice: VastEmulator(dice, page_size=PAGE, settle_ms=2000),
        frozenset(),
    ),
    "runpod": Side(
        "runpod", RunPod, lambda dice: RunPodEmulator(dice, page_size=PAGE),
        frozenset({"low_bid", "outbid", "limited_after", "rise_asked"}),
    ),
    "lambdalabs": Side(
        "lambdalabs", LambdaCloud, lambda dice: LambdaEmulator(dice, page_size=PAGE),
        frozenset({"low_bid", "price_rise", "rise_asked"}),
    ),
}  # fmt: skip


def machine_of(emulator: Emulator, instance_id: str) -> Machine | None:
    """The machine that the provider calls so."""
    known = emulator.machines.all
    padded = f"{int(instance_id):07d}" if instance_id.isdecimal() else ""
    return known.get(instance_id) or known.get(padded)


def instance_id(machine: Machine, provider: str) -> str:
    """What the provider's listings call a machine."""
    return str(int(machine.id)) if provider == "vastai" else machine.id


def offers_for(emulator: Emulator, *, spot: bool) -> list[Offer]:
    """What of its stock can be asked for."""
    found = [one for one in emulator.stock() if one.available and one.hourly_nusd > 0]
    return [one for one in found if spot or not one.spot]
