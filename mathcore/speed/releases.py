"""Releases of server engines whose pace was measured: offsets on all of a step.

A release is one offset, and one more for each kind of model it ran ("vllm@0.19.0/routed/8").
"""

from mathcore.speed.constants import PACE
from mathcore.speed.priors import EFFECTS
from mathcore.speed.work import Work

# Weights of fewer bits than these run on kernels for 4 and for 8; the others for 16.
BITS_OF_4, BITS_OF_8 = 6.0, 12.0


def bits_of(work: Work) -> float:
    """Bits of the weights most of a step multiplies."""
    return 8.0 * work.weight_bytes(1.0) / work.active


def kind_of_model(work: Work, *, mxfp4: bool) -> str:
    """What a release's kernels were made for: "latent/8", "routed/mxfp4", "dense/16".

    `mxfp4`: GPT-OSS, whose experts come in that type and have kernels of their own.
    """
    layers = "latent" if work.latent_layers else "routed" if work.experts else "dense"
    if mxfp4:
        return f"{layers}/mxfp4"
    bits = bits_of(work)
    return f"{layers}/{4 if bits < BITS_OF_4 else 8 if bits < BITS_OF_8 else 16}"


def known_releases(engine: str) -> tuple[str, ...]:
    """Releases of an engine whose pace is known, as their makers spell them, the oldest first."""
    start = f"{PACE} +{engine}@"
    found = [name.removeprefix(start) for name in EFFECTS if name.startswith(start)]
    names = {name.partition("/")[0] for name in found}
    numbered = [name for name in names if name[0].isdigit()]
    return tuple(sorted(numbered, key=_numbers))


def release_flags(engine: str, build: str, kind: str) -> tuple[str, ...]:
    """The circumstances a named release is: none where nobody measured it."""
    if not build:  # asked for every layout of a plan, and nearly always so
        return ()
    for name in known_releases(engine):
        if _numbers(name) == _numbers(build):
            return (f"{engine}@{name}", f"{engine}@{name}/{kind}")
    return ()


def _numbers(text: str) -> tuple[tuple[int, ...], str]:
    """A release to compare: "0.19" and "0.19.0" are one, and "0.5.10.post1" comes behind 0.5.10."""
    numbers: list[int] = []
    rest = text.split(".")
    while rest and rest[0].isdigit():
        numbers.append(int(rest.pop(0)))
    while len(numbers) > 0 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), ".".join(rest)
