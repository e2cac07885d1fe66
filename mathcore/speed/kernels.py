"""Which kernels read a prompt: they change with how many tokens a pass has, and with the back end.

A few columns are multiplied as vectors, more as matrices in whole tiles, and some builds unpack the
weights to 16 bits first and hand them to a library. All of it as nominal seconds or counts.
"""

from mathcore.speed.work import Work

VULKAN = "vulkan"  # the circumstance of a run on that back end of llama.cpp
# llama.cpp multiplies up to eight columns as vectors, those of a routed expert fewer.
VECTOR_TOKENS = 8.0
ROUTED_VECTORS, VULKAN_ROUTED_VECTORS = 4.0, 1.0
# Its builds for ROCm between b3000 and b7000 did up to 63, and from 64 on gave unpacked weights
# to a library; so they did a routed expert's where it had as many rows.
LIBRARY_TOKENS = 64.0
# An unpacked weight is written and read at 16 bits.
UNPACKED_BYTES = 4.0
# Types of fewer bits than this are unpacked; 16-bit weights are there already.
PACKED_BITS = 12.0


# What one pass does, not yet in seconds: whether its columns are so few that weights are not tiled;
# parameters that a tile's further columns are wasted on, dense and routed; bytes of weights written
# out at 16 bits; routed layers whose rows are sorted by expert first. A plain tuple, which mypyc
# builds in C.
Kernels = tuple[bool, float, float, float, float]


def kernels_of(work: Work, tokens: float, bits: float, flags: tuple[str, ...]) -> Kernels:
    """The kernels of a pass of `tokens` tokens with weights of `bits` bits."""
    few, few_routed, unpacked = VECTOR_TOKENS, ROUTED_VECTORS, 0.0
    if VULKAN in flags:
        few_routed = VULKAN_ROUTED_VECTORS
    elif "aged" in flags:  # ROCm's library
        few, unpacked = LIBRARY_TOKENS - 1.0, _unpacked(work, tokens, bits)
    parameters = work.active / work.weight_bytes(1.0)  # per byte
    sorts = work.experts > 0 and tokens > few_routed
    return (
        tokens <= few,
        parameters * work.dense_bytes if tokens > few else 0.0,
        parameters * work.expert_bytes * work.touched(tokens) if sorts else 0.0,
        unpacked * parameters,
        float(work.sparse_layers) if sorts else 0.0,
    )


def _unpacked(work: Work, tokens: float, bits: float) -> float:
    """Bytes a library needs for the weights it multiplies, times bytes they have when packed."""
    if tokens < LIBRARY_TOKENS or bits >= PACKED_BITS:
        return 0.0
    rows = tokens * work.experts_used / work.experts if work.experts > 0 else 0.0
    whole = rows >= LIBRARY_TOKENS
    return UNPACKED_BYTES * (work.weight_bytes(tokens) if whole else work.dense_bytes)
