"""The clouds that the acceptance suite drives: a line each."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from providers.lambdalabs.cloud import LambdaCloud
from providers.rental.contract import Cloud, Wire
from providers.runpod.cloud import RunPod
from providers.vastai.cloud import VastAI
from tests.emulators.base import Emulator
from tests.emulators.lambdalabs import LambdaEmulator
from tests.emulators.runpod import RunPodEmulator
from tests.emulators.vastai import VastEmulator


@dataclass(frozen=True, kw_only=True)
class Provider:
    """`emulator`: a stand-in whose listing has two machines a page, where it has pages."""

    emulator: Callable[[random.Random], Emulator]
    adapter: Callable[[Wire], Cloud]


PROVIDERS: dict[str, Provider] = {
    "vastai": Provider(emulator=lambda dice: VastEmulator(dice, page_size=2), adapter=VastAI),
    "runpod": Provider(emulator=RunPodEmulator, adapter=RunPod),
    "lambdalabs": Provider(
        emulator=lambda dice: LambdaEmulator(dice, page_size=2), adapter=LambdaCloud
    ),
}
