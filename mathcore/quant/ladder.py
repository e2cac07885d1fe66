"""The types worth trying of one model, best first: what it is shipped in, then what is smaller.

A model trained or published in fewer than 16 bits heads its ladder with that, at quality 1, in
every family that has the same numbers; what is larger, or has as many bits, only costs memory.
A family without them begins with its smallest type of no fewer bits.
"""

import math

from mathcore.band import Band
from mathcore.memo import Memo
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.quant.families import FAMILIES, LADDERS, UNREAD, family_of
from mathcore.quant.names import bits_per_number
from mathcore.quant.published import loss_factor
from mathcore.quant.quality import USUAL_NATS, sorting_nats
from mathcore.quant.weights import Weights, weigh

# How a shipped format is called by the family that reads the same numbers. llama.cpp repacks
# MXFP4, NVFP4 and symmetric 4-bit groups of 32 without loss, and leaves what stands beside a
# model's 4-bit experts in 8 bits (its MXFP4 mix) or 4 (Q4_0): under 3 % of the numbers. A ternary
# weight survives TQ2_0, the smaller TQ1_0 and two bits of MLX.
NATIVE: dict[str, dict[str, tuple[str, ...]]] = {
    "MXFP4": {"gguf": ("MXFP4_MOE",), "safetensors": ("MXFP4",), "mlx": ("MLX-mxfp4-q8",)},
    "MXFP4-FP8": {"gguf": ("MXFP4_MOE",), "safetensors": ("MXFP4-FP8",), "mlx": ("MLX-mxfp4-q8",)},
    "NVFP4": {"gguf": ("GGUF-NVFP4",), "safetensors": ("NVFP4",), "mlx": ("MLX-nvfp4",)},
    "MXFP8": {"safetensors": ("MXFP8",), "mlx": ("MLX-mxfp8",)},
    "W4A16-EXPERTS": {
        "gguf": ("Q4_0",),
        "safetensors": ("W4A16-EXPERTS",),
        "mlx": ("MLX-4bit-g32",),
    },
    "W4A16-G32": {"gguf": ("Q4_0",), "safetensors": ("W4A16-G32",), "mlx": ("MLX-4bit-g32",)},
    "Q4_0": {"gguf": ("Q4_0",)},
    "TQ2_0": {"gguf": ("TQ2_0", "TQ1_0"), "mlx": ("MLX-2bit",)},
}

# A step down must save so much, or only quality would be lost: rows that are no whole blocks of a
# small type are stored as a larger one (gpt-oss).
STEP = 0.97

_WEIGHED: Memo[tuple[Weights | None]] = Memo(1024)  # a hundred models at ten quantisations
_LADDERS: Memo[tuple[str, ...]] = Memo(512)


def weights_of(spec: ModelSpec, quant: str) -> Weights | None:
    """The weights, added up once; None where the model cannot be stored so."""
    key = (id(spec), quant)
    found = _WEIGHED.get(key, spec)
    if found is not None:
        return found[0]
    try:
        made: Weights | None = weigh(spec, quant)
    except SpecError:
        made = None
    return _WEIGHED.put(key, (made,), spec)[0]


def native_in(native: str, family: str) -> tuple[str, ...]:
    """What a family calls a shipped format, the usual first; () for 16 bits or none of its own."""
    known = NATIVE.get(native)
    if known is not None:
        return known.get(family, ())
    return (native,) if native and family_of(native) == family else ()


def usual_file(spec: ModelSpec) -> str:
    """The GGUF most people load: a file's own type, what is shipped in four bits, else Q4_K_M."""
    shipped = native_in(spec.native, "gguf")
    return spec.quant or (shipped[0] if shipped else "Q4_K_M")


def is_native(spec: ModelSpec, quant: str) -> bool:
    """Whether a model at `quant` has the very numbers it was published with."""
    return quant in native_in(spec.native, family_of(quant))


def nats_of(spec: ModelSpec, quant: str) -> float:
    """What `spec` loses at `quant` beside what its publisher ships, in nats per token."""
    return 0.0 if is_native(spec, quant) else sorting_nats(quant) * loss_factor(spec).p50


def usual_nats(spec: ModelSpec) -> float:
    """The most a plan lets `spec` lose while anything that keeps more fits."""
    return USUAL_NATS * loss_factor(spec).p50


def usual_quality(spec: ModelSpec) -> float:
    """`usual_nats` as a quality."""
    return math.exp(-usual_nats(spec))


def quality_band(spec: ModelSpec, quant: str, cache_nats: float = 0.0) -> Band:
    """The quality of `spec` at `quant` with what its cache loses: the worst in ten first."""
    nats, factor = sorting_nats(quant), loss_factor(spec)
    if is_native(spec, quant):
        nats = 0.0
    return Band(
        p10=math.exp(-(nats * factor.p90 + cache_nats)),
        p50=math.exp(-(nats * factor.p50 + cache_nats)),
        p90=math.exp(-(nats * factor.p10 + cache_nats)),
    )


def ladder(spec: ModelSpec, engine: str) -> tuple[str, ...]:
    """What an engine tries of `spec` when nobody names a type, best first; a file has its own."""
    family = FAMILIES[engine]
    if spec.quant:
        return (spec.quant,) if family_of(spec.quant) in ("", family) else ()
    if spec.family not in ("", family):
        return ()
    if not spec.native:
        return LADDERS[family]
    key = (id(spec), engine)
    found = _LADDERS.get(key, spec)
    return found if found is not None else _LADDERS.put(key, _shipped(spec, engine), spec)


def _shipped(spec: ModelSpec, engine: str) -> tuple[str, ...]:
    """The ladder of a model that is shipped in fewer than 16 bits."""
    family = FAMILIES[engine]
    unread = UNREAD.get(engine, ())
    own = [q for q in native_in(spec.native, family) if q not in unread and _total(spec, q) > 0]
    head = own or _as_good(spec, family)
    if not head:
        return LADDERS[family]
    bits, last = _bits(spec.native), _total(spec, head[-1])
    out = list(head)
    for quant in LADDERS[family]:
        if quant not in out and bits_per_number(quant) < bits:
            size = _total(spec, quant)
            if 0 < size < STEP * last:
                out.append(quant)
                last = size
    return tuple(out)


def _as_good(spec: ModelSpec, family: str) -> list[str]:
    """The smallest type of no fewer bits than it is shipped in: [] where there is none."""
    least = _bits(spec.native)
    held = [q for q in LADDERS[family] if bits_per_number(q) >= least and _total(spec, q) > 0]
    return held[-1:]


def _bits(native: str) -> float:
    """Bits per number of what is shipped, scales of a block aside."""
    return float(int(bits_per_number(native)))


def _total(spec: ModelSpec, quant: str) -> int:
    """Bytes at `quant`; 0 where it cannot be stored so."""
    weights = weights_of(spec, quant)
    return 0 if weights is None else weights.total_bytes
