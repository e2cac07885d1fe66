"""A model as the planner sees it: one layer list, and every weight tensor by shape.

Knows no file format (`formats`) and no engine (`engines`).
"""

from dataclasses import dataclass
from typing import Literal, final

AttentionKind = Literal["full", "sliding", "chunked", "latent", "none"]
StateKind = Literal["mamba1", "mamba2", "delta", "kda", "conv", "rwkv", "linear", "compressor"]


class SpecError(Exception):
    """A model description we cannot read: `field` names the place, `text` says why."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerState:
    """What a layer remembers whatever the length, in numbers per sequence.

    `kind`: "mamba1", "mamba2", "delta" (gated delta net), "kda", "conv" (short convolution),
    "rwkv", "linear" (lightning attention) or "compressor" (tokens not yet in a compressed row).
    The two element counts are llama.cpp's (R and S); the shape lets other engines round
    their own way.
    """

    kind: StateKind
    conv_elements: int
    state_elements: int
    conv_width: int = 0  # the kernel; it keeps one less
    inner: int = 0  # mamba: d_inner; delta: value heads x value size
    groups: int = 0  # mamba2: B/C groups; delta: key heads
    heads: int = 0  # mamba2: heads; delta, kda: value heads
    state_size: int = 0  # mamba: d_state; delta, kda: key size


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """How one layer remembers and what it computes.

    `kind` is its attention: "full", "sliding" (the last `window` tokens), "chunked" (its own
    `window`-sized chunk), "latent" (MLA: one compressed row per token) or "none". A hybrid layer
    has attention and a `state`. `k_elements` and `v_elements` are numbers cached per token.
    """

    kind: AttentionKind
    heads: int = 0  # query heads
    kv_heads: int = 0
    head_dim: int = 0  # of K; a quantised cache needs whole blocks per head
    v_head_dim: int = 0
    k_elements: int = 0
    v_elements: int = 0
    window: int = 0
    index_elements: int = 0  # keys of a sparse-attention indexer, per token
    index_v_elements: int = 0
    ratio: int = 0  # tokens in one row of a compressed cache kept beside the window; 0 = none
    compressed_elements: int = 0  # numbers of such a row; its indexer has a row each too
    reads: int = -1  # layer whose cache this one reads instead of its own
    cross: bool = False  # also attends to an encoder
    state: LayerState | None = None
    feed_forward: int = 0  # dense width; 0 = none
    experts: int = 0  # 0 = dense
    experts_used: int = 0
    expert_feed_forward: int = 0
    shared_feed_forward: int = 0  # experts every token goes through, widths added


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One weight tensor under its GGUF name: `rows` rows of `columns` numbers.

    `experts` matrices are stacked in a tensor of three dimensions, or `planes` that every token
    goes through; `rows` counts all of them.
    """

    name: str
    columns: int
    rows: int
    dims: int  # 1-d tensors are never quantised
    layer: int = -1  # -1 = not of one layer
    type_name: str = ""  # block type when it comes from a file
    experts: int = 1
    planes: int = 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Projector:
    """A tower of `layers` over a picture's patches, and the projection to the language model.

    llama.cpp keeps it in a file of its own (mmproj). What decides its compute buffer is here too.
    """

    kind: str  # llama.cpp's projector type
    layers: int
    hidden: int
    patch: int
    merge: int  # patches a side that become one token
    tensors: tuple[Tensor, ...]
    parameters: int
    heads: int = 1
    feed_forward: int = 0
    out: int = 0  # the language model's width
    image_size: int = 0  # pixels a side, where every picture has as many; 0 = as the picture is
    frames: int = 1  # kernels the patches are cut with
    gated: bool = False
    fused: bool = False  # Q, K and V in one matrix
    rotary: bool = False
    biases: bool = True
    layer_norm: bool = True
    resized: bool = False  # positions are a table stretched to the picture
    windowed: bool = False  # most layers attend within windows, by a mask
    deep: tuple[int, ...] = ()  # layers whose output joins the language model's first ones


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Everything about a model that costs memory or time."""

    name: str
    architecture: str  # llama.cpp's name
    vocab: int
    hidden: int
    heads: int
    feed_forward: int  # the widest dense one
    context_length: int  # trained for, as llama.cpp's n_ctx_train; 0 = nobody says
    layers: tuple[Layer, ...]
    tensors: tuple[Tensor, ...]
    tied: bool  # the output layer is the embedding table
    parameters: int  # resident
    active_parameters: int  # read per token
    encoder_layers: int = 0  # keep nothing; counted for time
    draft_layers: int = 0  # multi-token-prediction layers at the end of `layers`
    state_bytes: int = 0  # of a recurrent state's number, where the config names its type; else 0
    quant: str = ""  # file type when read from a file, else ""
    scaled_length: int = 0  # reached by the rope scaling its publisher declares; 0 = none
    native: str = ""  # what its publisher ships it as (mathcore.quant.ladder); "" = 16 bits
    family: str = ""  # the only weights it was asked for: "gguf", "safetensors", "mlx"; "" = any
    notes: tuple[str, ...] = ()  # what was taken for something else
    source: str = ""
    projector: Projector | None = None  # of pictures, where the description has one we know
    unread: tuple[str, ...] = ()  # parts of the published model that are not described here

    @property
    def longest(self) -> int:
        """Tokens it is published for, scaling included; 0 = nobody says."""
        return max(self.context_length, self.scaled_length) if self.context_length else 0


def parameter_count(tensors: tuple[Tensor, ...]) -> int:
    """Trained numbers; rope tables are computed, not trained."""
    total = 0
    for tensor in tensors:
        if not tensor.name.startswith("rope_"):
            total += tensor.columns * tensor.rows
    return total


def active_parameter_count(tensors: tuple[Tensor, ...], used: int) -> int:
    """Numbers read per token: of stacked experts only `used`."""
    total = 0
    for tensor in tensors:
        if tensor.name.startswith("rope_"):
            continue
        numbers = tensor.columns * tensor.rows
        total += numbers if tensor.experts == 1 else numbers // tensor.experts * used
    return total
