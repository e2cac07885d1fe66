"""Layers of multi-head latent attention (MLA), and of sparse attention with an indexer.

Each reader mirrors `load_arch_hparams` of llama.cpp's src/models/<architecture>.cpp and the cache
`create_memory` of its src/llama-model.cpp makes for it. Draft layers at the end keep plain
rows and have no indexer, because the trunk never reads them.
"""

from mathcore.architectures.compressed import READERS as COMPRESSED
from mathcore.architectures.hparams import Hparams
from mathcore.architectures.parts import Reader, attention, build
from mathcore.model.spec import Layer

# llama.cpp takes a GLM with this context for 5.2, whose first files had no list of indexers.
_SHARED_INDEX_CONTEXT = 1048576
_INDEX_TYPES = "attention.indexer.types"


def is_latent(h: Hparams) -> bool:
    """Whether the file has both keys of absorbed attention; older files cache expanded K and V."""
    k, v = h.fields.has("attention.key_length_mla"), h.fields.has("attention.value_length_mla")
    if k != v:
        name = "attention.value_length_mla" if k else "attention.key_length_mla"
        raise h.fields.fault(name, "is missing")
    return k


def latent_layer(h: Hparams, i: int, index: int = 0) -> Layer:
    """One row per token: compressed K, from which V is a view."""
    width = h.fields.integer("attention.key_length") * h.kv_heads[i]
    return build(
        h,
        i,
        "latent",
        width,
        0,
        index,
        k_dim=h.k_dim,
        v_dim=h.fields.integer_or("attention.value_length", h.v_dim),
    )


def _latent_or_full(h: Hparams) -> tuple[Layer, ...]:
    h.fields.integer("attention.kv_lora_rank")
    latent = is_latent(h)
    out = [latent_layer(h, i) if latent else attention(h, i) for i in range(h.count)]
    return tuple(out)


def _full_index(h: Hparams) -> list[bool]:
    """Which layers of a GLM have an indexer of their own; the others reuse the last one's."""
    trunk = h.count - h.draft
    given = h.fields.values.get(_INDEX_TYPES)
    if isinstance(given, list):
        if len(given) < trunk:
            raise h.fields.fault(_INDEX_TYPES, f"has {len(given)} entries for {trunk} layers")
        return [bool(item) for item in given[:trunk]]
    if h.fields.integer("context_length", 0) < _SHARED_INDEX_CONTEXT:
        return [True] * trunk
    return [i < 3 or (i - 2) % 4 == 0 for i in range(trunk)]


def _sparse(h: Hparams, own: list[bool]) -> tuple[Layer, ...]:
    """MLA with an indexer's keys in the layers of `own`."""
    if not is_latent(h):
        raise h.fields.fault("attention.key_length_mla", "is missing")
    index = h.fields.integer("attention.indexer.key_length")
    out: list[Layer] = []
    for i in range(h.count):
        has = i < len(own) and own[i]
        out.append(latent_layer(h, i, index if has else 0))
    return tuple(out)


def _deepseek32(h: Hparams) -> tuple[Layer, ...]:
    return _sparse(h, [True] * (h.count - h.draft))


def _glm_dsa(h: Hparams) -> tuple[Layer, ...]:
    return _sparse(h, _full_index(h))


def _hy_v4(h: Hparams) -> tuple[Layer, ...]:
    """A file without top_k has no indexer; else a list says which layers have their own."""
    trunk = h.count - h.draft
    if h.fields.integer_or("attention.indexer.top_k", 0, 0) == 0:
        return _latent_or_full(h)
    given = h.fields.values.get(_INDEX_TYPES)
    if not isinstance(given, list) or len(given) < trunk:
        raise h.fields.fault(_INDEX_TYPES, f"is not a list of {trunk} flags")
    return _sparse(h, [bool(item) for item in given[:trunk]])


def _minimax_m3(h: Hparams) -> tuple[Layer, ...]:
    """Plain attention. Layers after the dense ones have an indexer; llama.cpp keeps its V too."""
    index = h.fields.integer("attention.indexer.key_length")
    dense = h.fields.integer_or("leading_dense_block_count", 0, 0)
    out: list[Layer] = []
    for i in range(h.count):
        own = i >= dense
        out.append(
            build(
                h,
                i,
                "full",
                h.kv_heads[i] * h.k_dim,
                h.kv_heads[i] * h.v_dim,
                index if own else 0,
                h.v_dim if own else 0,
                k_dim=h.k_dim,
                v_dim=h.v_dim,
            )
        )
    return tuple(out)


def _expanded(h: Hparams) -> tuple[Layer, ...]:
    """MLA that llama.cpp computes expanded: it caches K and V of every head."""
    h.fields.integer("attention.kv_lora_rank")
    return tuple([attention(h, i) for i in range(h.count)])


READERS: dict[str, Reader] = {
    **COMPRESSED,
    "deepseek2": _latent_or_full,
    "mistral4": _latent_or_full,
    "deepseek32": _deepseek32,
    "glm-dsa": _glm_dsa,
    "hy_v4": _hy_v4,
    "minimax-m3": _minimax_m3,
    "minicpm3": _expanded,
    "plm": _expanded,
}
