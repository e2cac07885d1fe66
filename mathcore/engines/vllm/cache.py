"""vLLM's KV cache: pages, groups of layers that share them, and what a request takes of them.

Follows vllm/v1/core/kv_cache_utils.py and kv_cache_interface.py (0.29 to 0.33): every figure a boot
prints about its cache comes out of this arithmetic. What surrounds the cache is in `memory`.
"""

from dataclasses import dataclass
from typing import final

from mathcore.memo import Memo
from mathcore.model.spec import Layer, LayerState, ModelSpec, SpecError

BLOCK = 16  # tokens of an attention page
# Bytes per number of the cache types it takes; "auto" is the model's own 16 bits.
KV_BYTES: dict[str, int] = {
    "auto": 2,
    "bf16": 2,
    "f16": 2,
    "fp8": 1,
    "fp8_e4m3": 1,
    "fp8_e5m2": 1,
    "int8": 1,
}
# Latent caches in a layout of their own: bytes per token and layer.
LATENT_BYTES: dict[str, int] = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}
KDA_STATE_BYTES = 4  # Kimi's delta states are 32-bit whatever the model (kda_state_dtype)
INDEX_SCALE_EVERY = 128  # numbers of an indexer's fp8 key that share a 4-byte scale


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class VllmShape:
    """What vLLM is started with.

    `batched_tokens` is max_num_batched_tokens and `in_flight` the batches of them a sliding layer
    holds beside its window (2 on 0.29 and later as traced, 1 on the H200 boots of ConfigIQ 112);
    `draft_tokens` are those a speculative step proposes.
    """

    context: int  # max_model_len
    sequences: int = 1  # that must find room at full length
    max_num_seqs: int = 0  # graphs and sampler are made for; 0 = as `sequences`
    kv_type: str = "auto"
    tensor_parallel: int = 1
    batched_tokens: int = 8192
    in_flight: int = 2
    draft_tokens: int = 0
    prefix_caching: bool = True
    conv_bytes: int = 2  # of a number in a recurrent layer's convolution
    # And in its state: --mamba-ssm-cache-dtype; 0 = as the config says, else as the convolution.
    state_bytes: int = 0
    graphs: bool = True  # False: --enforce-eager
    layers: tuple[int, int] = (0, 0)  # those of one pipeline stage; (0, 0) = all

    @property
    def served(self) -> int:
        """Sequences its graphs and its sampler are made for."""
        return self.max_num_seqs or self.sequences


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """How a model's cache is cut. One block is `page_bytes` in each of `group_layers` layers."""

    attention_block: int  # tokens of a full layer's page
    page_bytes: int
    group_layers: int
    groups: int
    blocks_per_request: int  # for one sequence of the full context

    @property
    def block_bytes(self) -> int:
        """Bytes of one block in all layers of a group."""
        return self.page_bytes * self.group_layers

    @property
    def request_bytes(self) -> int:
        """Bytes one sequence of the full context takes on one rank."""
        return self.blocks_per_request * self.block_bytes


@final
class LayerKind:
    """Layers of one kind: how many, and bytes per token (attention) or per page (state)."""

    __slots__ = ("count", "name", "page", "token", "window")

    def __init__(self, name: str, token: int, window: int, page: int) -> None:
        self.name = name
        self.token = token
        self.window = window
        self.page = page
        self.count = 1


def ceil_div(a: int, b: int) -> int:
    """a / b rounded up."""
    return -(-a // b)


def rank_heads(kv_heads: int, tensor_parallel: int) -> int:
    """KV heads of one rank: shared out, and copied to every rank when there are too few."""
    return max(1, kv_heads // tensor_parallel)


def token_bytes(layer: Layer, shape: VllmShape) -> int:
    """Bytes one token takes of one attention layer's cache on one rank."""
    if layer.kind == "latent":
        if shape.kv_type in LATENT_BYTES:
            return LATENT_BYTES[shape.kv_type]
        return layer.k_elements * KV_BYTES[shape.kv_type]  # one head, copied to every rank
    heads = rank_heads(layer.kv_heads, shape.tensor_parallel)
    return heads * (layer.head_dim + layer.v_head_dim) * KV_BYTES[shape.kv_type]


def index_token_bytes(layer: Layer) -> int:
    """An indexer's key: one byte a number, and scales."""
    return layer.index_elements + ceil_div(layer.index_elements, INDEX_SCALE_EVERY) * 4


def state_number_bytes(spec: ModelSpec, state: LayerState, shape: VllmShape) -> int:
    """Bytes of a number of a recurrent state: as told, as the config says, as the model's own."""
    if state.kind == "kda":
        return KDA_STATE_BYTES
    if state.kind == "linear":
        return shape.conv_bytes
    return shape.state_bytes or spec.state_bytes or shape.conv_bytes


def state_page_bytes(state: LayerState, shape: VllmShape, number_bytes: int) -> int:
    """One sequence's state in one recurrent layer on one rank, of numbers of so many bytes."""
    tp = shape.tensor_parallel
    kept = state.conv_width - 1 + shape.draft_tokens
    if state.kind == "delta":
        keys = 2 * state.groups * state.state_size
        conv = (keys + state.inner) // tp * kept
        memory = state.inner // tp * state.state_size
    elif state.kind == "kda":
        conv = 3 * state.inner // tp * kept
        memory = state.inner // tp * state.state_size
    elif state.kind == "mamba2":
        groups = tp if state.groups == 1 else state.groups  # a single one is copied to every rank
        if groups % tp != 0:
            raise SpecError("n_groups", f"vLLM cannot share {groups} groups over {tp} ranks")
        conv = (state.inner + 2 * groups * state.state_size) // tp * kept
        memory = state.inner // tp * state.state_size
    elif state.kind == "mamba1":
        conv = state.inner // tp * kept
        memory = state.inner // tp * state.state_size
    elif state.kind == "conv":
        conv = state.conv_elements // max(1, state.conv_width - 1) // tp * kept
        memory = 0
    elif state.kind == "linear":
        conv = 0
        memory = state.inner // tp * state.state_size
    else:
        raise SpecError("state", f"vLLM's cache of '{state.kind}' layers is not known")
    return conv * shape.conv_bytes + memory * number_bytes


MAX_PAGES = 1024  # shapes: a question asks of a few ranks and cache types, a sweep of more
_PAGES: Memo[Pages] = Memo(MAX_PAGES)


def _kinds(spec: ModelSpec, shape: VllmShape) -> list[LayerKind]:
    out: list[LayerKind] = []
    count = len(spec.layers) - spec.draft_layers
    low, high = shape.layers if shape.layers != (0, 0) else (0, count)
    for layer in spec.layers[low : min(high, count)]:
        if layer.ratio > 0:
            raise SpecError("compress_ratios", "vLLM's compressed caches are not known")
        if layer.k_elements > 0:
            name = "full" if layer.kind == "latent" else layer.kind
            _add(out, name, token_bytes(layer, shape), layer.window, 0)
        if layer.index_elements > 0:
            _add(out, "full", index_token_bytes(layer), 0, 0)
        if layer.state is not None:
            number = state_number_bytes(spec, layer.state, shape)
            _add(out, "state", 0, 0, state_page_bytes(layer.state, shape, number))
    if not out:
        raise SpecError("layers", "none keeps anything")
    return out


def _add(kinds: list[LayerKind], name: str, token: int, window: int, page: int) -> None:
    for kind in kinds:
        if (kind.name, kind.token, kind.window, kind.page) == (name, token, window, page):
            kind.count += 1
            return
    kinds.append(LayerKind(name, token, window, page))


def _uniform(kinds: list[LayerKind]) -> bool:
    """Nothing but full attention: one group, whatever the layers' sizes."""
    return all(kind.name == "full" for kind in kinds)


def _page_bytes(kinds: list[LayerKind]) -> tuple[int, int]:
    """(page bytes all kinds share, tokens of the widest attention page)."""
    widest, state = 0, 0
    for kind in kinds:
        widest = max(widest, kind.token)
        state = max(state, kind.page)
    if widest == 0:
        return state, 1
    tokens = BLOCK * max(1, ceil_div(state, BLOCK * widest))
    page = tokens * widest
    for kind in kinds:
        if kind.token > 0 and page % kind.token != 0:
            raise SpecError("head_dim", "vLLM cannot give these layers pages of one size")
    return page, tokens


def _blocks(kind: LayerKind, page: int, shape: VllmShape) -> int:
    """Pages one full-length request takes in a group of this kind."""
    if kind.name == "state":
        return (2 if shape.prefix_caching else 1) + shape.draft_tokens
    block = page // kind.token
    if kind.name == "sliding":
        reach = kind.window - 1 + shape.batched_tokens * shape.in_flight
        return ceil_div(min(reach, shape.context), block) + 1
    if kind.name == "chunked":
        reach = kind.window + shape.batched_tokens * shape.in_flight
        return ceil_div(min(reach, shape.context), block)
    return ceil_div(shape.context, block)


def pages(spec: ModelSpec, shape: VllmShape) -> Pages:
    """How vLLM cuts this model's cache; SpecError where its layout is not known."""
    key = (id(spec), shape)
    found = _PAGES.get(key, spec)
    return _PAGES.put(key, _pages(spec, shape), spec) if found is None else found


def _pages(spec: ModelSpec, shape: VllmShape) -> Pages:
    if shape.kv_type not in KV_BYTES and shape.kv_type not in LATENT_BYTES:
        known = ", ".join([*KV_BYTES, *LATENT_BYTES])
        raise SpecError("kv_type", f"'{shape.kv_type}' is not a vLLM cache type: known are {known}")
    kinds = _kinds(spec, shape)
    if _uniform(kinds):
        total = 0
        for kind in kinds:
            total += kind.count * kind.token
        return Pages(
            attention_block=BLOCK,
            page_bytes=BLOCK * total,
            group_layers=1,
            groups=1,
            blocks_per_request=ceil_div(shape.context, BLOCK),
        )
    page, tokens = _page_bytes(kinds)
    least = min(kind.count for kind in kinds)
    most = max(kind.count for kind in kinds)
    layers = most if 2 * most < 3 * least else least
    groups, blocks = 0, 0
    for kind in kinds:
        share = ceil_div(kind.count, layers)
        groups += share
        blocks += share * _blocks(kind, page, shape)
    full = [kind.token for kind in kinds if kind.name == "full"]
    return Pages(
        attention_block=page // full[0] if full else tokens,
        page_bytes=page,
        group_layers=layers,
        groups=groups,
        blocks_per_request=blocks,
    )


def block_count(cut: Pages, cache_bytes: int) -> int:
    """Blocks a cache of this size holds."""
    return max(0, cache_bytes) // cut.block_bytes


def shown_tokens(cut: Pages, blocks: int, context: int) -> int:
    """The "GPU KV cache size" a boot prints: full-length requests, in tokens."""
    return blocks * context // cut.blocks_per_request


def largest_context(spec: ModelSpec, shape: VllmShape, cache_bytes: int) -> int:
    """The longest max_model_len whose one request fits the cache; 0 when none does."""
    low, high = 0, 1
    while _fits(spec, shape, high, cache_bytes):
        low, high = high, high * 2
        if high > 1 << 40:
            return low
    while high - low > 1:
        middle = (low + high) // 2
        if _fits(spec, shape, middle, cache_bytes):
            low = middle
        else:
            high = middle
    return low


def with_context(shape: VllmShape, context: int) -> VllmShape:
    """The same start with another max_model_len."""
    return VllmShape(
        context=context,
        sequences=shape.sequences,
        max_num_seqs=shape.max_num_seqs,
        kv_type=shape.kv_type,
        tensor_parallel=shape.tensor_parallel,
        batched_tokens=shape.batched_tokens,
        in_flight=shape.in_flight,
        draft_tokens=shape.draft_tokens,
        prefix_caching=shape.prefix_caching,
        conv_bytes=shape.conv_bytes,
        state_bytes=shape.state_bytes,
        graphs=shape.graphs,
        layers=shape.layers,
    )


def _fits(spec: ModelSpec, shape: VllmShape, context: int, cache_bytes: int) -> bool:
    cut = pages(spec, with_context(shape, context))
    return cut.blocks_per_request <= block_count(cut, cache_bytes)
