"""How the readers of latent and recurrent architectures build a layer."""

from collections.abc import Callable

from mathcore.architectures.hparams import Hparams, width_of
from mathcore.model.spec import AttentionKind, Layer, LayerState

Reader = Callable[[Hparams], tuple[Layer, ...]]


def build(
    h: Hparams,
    i: int,
    kind: AttentionKind,
    k: int = 0,
    v: int = 0,
    index: int = 0,
    index_v: int = 0,
    state: LayerState | None = None,
    k_dim: int = 0,
    v_dim: int = 0,
) -> Layer:
    """Layer i with the numbers it caches per token and the feed-forward its tensors show."""
    wide = width_of(h, i, "ffn_down_exps")
    dense = width_of(h, i, "ffn_down")
    return Layer(
        kind=kind,
        heads=h.heads[i],
        kv_heads=h.kv_heads[i],
        head_dim=k_dim,
        v_head_dim=v_dim,
        k_elements=k,
        v_elements=v,
        index_elements=index,
        index_v_elements=index_v,
        state=state,
        feed_forward=dense if dense > 0 else width_of(h, i, "channel_mix_value"),
        experts=h.experts if wide > 0 else 0,
        experts_used=h.experts_used[i] if wide > 0 else 0,
        expert_feed_forward=wide,
        shared_feed_forward=width_of(h, i, "ffn_down_shexp"),
    )


def attention(h: Hparams, i: int, state: LayerState | None = None) -> Layer:
    """Plain K and V of every token, with a state beside it in some hybrids."""
    k_dim, v_dim = h.k_dim, h.v_dim
    k, v = h.kv_heads[i] * k_dim, h.kv_heads[i] * v_dim
    return build(h, i, "full" if k > 0 else "none", k, v, state=state, k_dim=k_dim, v_dim=v_dim)


def uncached(h: Hparams, i: int, state: LayerState | None = None) -> Layer:
    """No cache per token."""
    return build(h, i, "none", state=state)
