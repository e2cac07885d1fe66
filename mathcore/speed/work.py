"""What one token costs whatever the device: bytes to read, by how they are shared, and operations.

Weights are read once per step for all sequences, a routed expert only when a token chose it,
cache and state once per sequence.
"""

from dataclasses import dataclass, replace
from typing import final

from mathcore.model.spec import Layer, ModelSpec
from mathcore.quant.weights import Weights, weigh

KV_BYTES = 2  # an f16 cache; other types scale it


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One model at one quantisation. Widths are numbers per token summed over layers."""

    layers: int
    hidden: int
    total_bytes: int  # what is loaded
    dense_bytes: int  # read at every step
    active: int  # parameters one token is multiplied with
    expert_bytes: int = 0  # all routed experts of all layers
    experts: int = 0  # of one layer; 0 = dense
    experts_used: int = 0
    sparse_layers: int = 0  # layers that route
    latent_layers: int = 0  # layers of latent attention: more, smaller operations each
    kv_width: int = 0  # K and V numbers per token of context
    window_width: int = 0  # the same of layers with a window
    window: int = 0
    state_bytes: int = 0  # read and written per token and sequence
    query_width: int = 0  # heads x (K size + V size): multiply-adds per pair of tokens
    window_query_width: int = 0
    basis: str = "tensors"  # "tensors" | "config" | "size": how well the model is known

    def touched(self, tokens: float) -> float:
        """Share of the routed experts that `tokens` tokens choose, drawn independently."""
        if self.experts <= 0:
            return 0.0
        kept = 1.0 - self.experts_used / self.experts
        return float(1.0 - kept**tokens)

    def weight_bytes(self, tokens: float = 1.0) -> float:
        """Weights read in a step of `tokens` tokens."""
        return self.dense_bytes + self.expert_bytes * self.touched(tokens)

    def cache_bytes(self, depth: float, kv_scale: float = 1.0) -> float:
        """Cache and state one sequence reads at `depth` tokens; kv_scale 0.5 = an 8-bit cache."""
        kept = self.window_width * (min(depth, self.window) if self.window else 0.0)
        return (self.kv_width * depth + kept) * KV_BYTES * kv_scale + self.state_bytes

    def attention_flops(self, depth: float) -> float:
        """Operations one token spends on `depth` earlier ones."""
        kept = self.window_query_width * (min(depth, self.window) if self.window else 0.0)
        return 2.0 * (self.query_width * depth + kept)


def _widest(layers: tuple[Layer, ...]) -> tuple[int, int, int]:
    """(experts, experts used, layers that route)."""
    experts, used, count = 0, 0, 0
    for layer in layers:
        if layer.experts > 0:
            experts, used, count = max(experts, layer.experts), layer.experts_used, count + 1
    return experts, used, count


def work_of(spec: ModelSpec, quant: str) -> Work:
    """The work of a model read tensor by tensor; its own types when it comes from a file."""
    return work_of_weights(spec, weigh(spec, quant))


def work_of_weights(spec: ModelSpec, weights: Weights) -> Work:
    """The work of a model whose tensors are weighed already."""
    experts, used, sparse = _widest(spec.layers)
    routed = 0
    for size in weights.expert_bytes:
        routed += size
    dense = weights.active_bytes - (routed * used // experts if experts else 0)
    kv, window_kv, window, states, pairs, window_pairs = 0, 0, 0, 0, 0, 0
    latent = 0
    for layer in spec.layers:
        state = layer.state
        if state is not None:
            states += 8 * (state.conv_elements + state.state_elements)  # fp32, read and written
        latent += 1 if layer.kind == "latent" else 0
        width = layer.k_elements + layer.v_elements
        pair = layer.heads * (layer.head_dim + (layer.v_head_dim or layer.head_dim))
        if layer.kind in ("sliding", "chunked"):
            window_kv, window_pairs = window_kv + width, window_pairs + pair
            window = max(window, layer.window)
        elif layer.kind != "none":
            kv, pairs = kv + width, pairs + pair
    return Work(
        layers=len(spec.layers) - spec.draft_layers,
        hidden=spec.hidden,
        total_bytes=weights.total_bytes,
        dense_bytes=dense,
        active=_multiplied(spec),
        expert_bytes=routed,
        experts=experts,
        experts_used=used,
        sparse_layers=sparse,
        latent_layers=latent,
        kv_width=kv,
        window_width=window_kv,
        window=window,
        state_bytes=states,
        query_width=pairs,
        window_query_width=window_pairs,
    )


def _multiplied(spec: ModelSpec) -> int:
    """Active parameters without the embedding table, which is looked up, not multiplied."""
    looked_up = 0 if spec.tied else spec.vocab * spec.hidden
    for tensor in spec.tensors:
        if tensor.name == "per_layer_token_embd.weight":
            looked_up += tensor.columns * tensor.rows
    return max(1, spec.active_parameters - looked_up)


def scaled(work: Work, total_bytes: float, basis: str = "") -> Work:
    """The same model at another size on disk: every weight byte in proportion."""
    ratio = total_bytes / work.total_bytes if work.total_bytes > 0 else 1.0
    return replace(
        work,
        total_bytes=int(total_bytes),
        dense_bytes=int(work.dense_bytes * ratio),
        expert_bytes=int(work.expert_bytes * ratio),
        basis=basis or work.basis,
    )


# Depth and width grow with size the same way in most decoders; sizes in parameters from the
# configs of 30 dense releases (SmolLM2-135M ... Llama-3.1-405B). Between two rows, the lower one.
_SHAPES: tuple[tuple[int, int, int, int], ...] = (
    # parameters at least, layers, hidden, K/V width per layer
    (0, 24, 768, 512),
    (600_000_000, 24, 1536, 512),
    (1_200_000_000, 26, 2048, 1024),
    (2_500_000_000, 30, 2816, 1536),
    (6_000_000_000, 34, 4096, 2048),
    (11_000_000_000, 42, 5120, 2048),
    (20_000_000_000, 56, 5120, 2048),
    (50_000_000_000, 80, 8192, 2048),
    (200_000_000_000, 126, 16384, 2048),
)
# Releases with routed experts put 2-8 % of them to work on a token, 8 of 128 most often.
_EXPERTS, _EXPERTS_USED = 128, 8
# Layers by all parameters: gpt-oss-20b 24, Qwen3-30B 48, GLM-4.5-Air 46, DeepSeek-V3 61.
_SPARSE_LAYERS: tuple[tuple[int, int], ...] = (
    (0, 24),
    (12_000_000_000, 40),
    (60_000_000_000, 48),
    (200_000_000_000, 61),
)


def work_of_size(parameters: float, active: float, total_bytes: float) -> Work:
    """A model known by its size only: depth and width of the usual decoder of that size."""
    shape = _SHAPES[0]
    reference = parameters if active >= parameters else max(active, parameters / 8.0)
    for row in _SHAPES:
        if reference >= row[0]:
            shape = row
    if active >= parameters or parameters <= 0:
        return Work(
            layers=shape[1],
            hidden=shape[2],
            total_bytes=int(total_bytes),
            dense_bytes=int(total_bytes * 0.95),
            active=max(1, int(parameters)),
            kv_width=shape[1] * shape[3],
            query_width=2 * shape[1] * shape[2],
            basis="size",
        )
    layers = _SPARSE_LAYERS[0][1]
    for least, count in _SPARSE_LAYERS:
        if parameters >= least:
            layers = count
    per_expert = _EXPERTS_USED / _EXPERTS
    routed = min(0.97, max(0.0, (1.0 - active / parameters) / (1.0 - per_expert)))
    return Work(
        layers=layers,
        hidden=shape[2],
        total_bytes=int(total_bytes),
        dense_bytes=int(total_bytes * (1.0 - routed)),
        active=max(1, int(active)),
        expert_bytes=int(total_bytes * routed),
        experts=_EXPERTS,
        experts_used=_EXPERTS_USED,
        sparse_layers=layers,
        kv_width=layers * shape[3] // 2,
        query_width=2 * layers * shape[2],
        basis="size",
    )
