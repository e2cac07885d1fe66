"""A strictly better device is never slower, constant by constant, so that it holds for every model.

Where the effects say otherwise, two devices that were measured meet half-way; one that nobody
measured is held to what those that beat it were measured at, or raised to those it beats.
"""

from math import inf, log

from mathcore.hardware.facts import gpus
from mathcore.speed.chip import Chip, chip_of_facts
from mathcore.speed.constants import effect_names
from mathcore.speed.terms import Run

# Constants that differ between devices of a class, by what they are a share of; those of "" are
# times, and the shorter is the better. The rest are the class's, or follow from these.
SHARES: dict[str, str] = {
    "eta": "bandwidth",
    "mfu": "matmul",
    "attend": "matmul",
    "tau": "",
    "sparse": "",
    "pass": "",
    "hop": "",
}
# A group of engines, and one that stands for it: effects of engines are the same on all devices.
GROUPS: tuple[tuple[str, str], ...] = (("local", "llama.cpp"), ("server", "vllm"))
ROUNDS = 200  # of meeting half-way; a few dozen settle it
SETTLED = 1e-6


def beats(one: Chip, other: Chip) -> bool:
    """Whether a device has no less of anything than another of its class; of accelerators, of its
    maker's, for the others' have other compilers."""
    return (
        one.name != other.name
        and one.device_class == other.device_class
        and (one.device_class != "accelerator" or one.vendor == other.vendor)
        and one.bandwidth >= other.bandwidth
        and one.flops >= other.flops
        and (one.matmul or one.flops) >= (other.matmul or other.flops)
        and (one.unpacked or inf) >= (other.unpacked or inf)
    )


def _worth(name: str, chip: Chip, group: str, run: Run, effects: dict[str, float]) -> float:
    """The logarithm of what a device reaches of a constant; the more the better."""
    value = sum([effects.get(part, 0.0) for part in effect_names(name, chip, run)])
    of = SHARES[name]
    if not of:
        return -value
    local = group == "local" and chip.matmul > 0.0
    return value + log(
        chip.bandwidth if of == "bandwidth" else chip.matmul if local else chip.flops
    )


def in_order(worth: list[float], beaten: list[list[int]], seen: list[bool]) -> list[float]:
    """The worths moved so that none is below one it beats; `beaten` in ascending order."""
    out = list(worth)
    pairs = [(a, c) for a, others in enumerate(beaten) for c in others if seen[a] and seen[c]]
    for _ in range(ROUNDS):
        moved = 0.0
        for one, other in pairs:
            over = out[other] - out[one]
            if over > SETTLED:
                out[one], out[other] = out[one] + over / 2, out[other] - over / 2
                moved = max(moved, over)
        if moved <= SETTLED:
            break
    for one, others in enumerate(beaten):
        for other in others:
            if seen[one] and not seen[other]:
                out[other] = min(out[other], out[one])
    for one, others in enumerate(beaten):
        for other in others:
            out[one] = max(out[one], out[other])
    return out


def ordered(effects: dict[str, float], seen: set[str]) -> dict[str, float]:
    """The effects, those of single devices moved into order; `seen` as in the priors."""
    out = dict(effects)
    chips = sorted(
        [chip_of_facts(facts) for facts in gpus()],
        key=lambda chip: (chip.bandwidth, chip.flops, chip.matmul or chip.flops, chip.name),
    )
    beaten = [[j for j, other in enumerate(chips) if beats(one, other)] for one in chips]
    for group, engine in GROUPS:
        run = Run(engine=engine)
        measured = [f"{group} {chip.name}" in seen for chip in chips]
        for name in SHARES:
            worth = [_worth(name, chip, group, run, effects) for chip in chips]
            for chip, before, after in zip(
                chips, worth, in_order(worth, beaten, measured), strict=True
            ):
                moved = after - before if SHARES[name] else before - after
                if abs(moved) >= 5e-5:
                    key = f"{name} {group} on {chip.name}"
                    out[key] = round(out.get(key, 0.0) + moved, 4)
    return out
