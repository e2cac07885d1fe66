"""Layers that keep a state whatever the length, alone or among layers of attention.

Each reader mirrors `load_arch_hparams` of llama.cpp's src/models/<architecture>.cpp; the sizes of
a state are n_embd_r and n_embd_s of its src/llama-hparams.cpp.
"""

from dataclasses import replace

from mathcore.architectures.hparams import Hparams
from mathcore.architectures.latent import is_latent, latent_layer
from mathcore.architectures.parts import Reader, attention, build, uncached
from mathcore.model.spec import Layer, LayerState, StateKind


def _ssm(h: Hparams, kind: StateKind, *, grouped: bool) -> LayerState:
    """Mamba's state. llama.cpp writes a delta net's state under the same keys."""
    f = h.fields
    kernel, inner = f.integer("ssm.conv_kernel"), f.integer("ssm.inner_size")
    size = f.integer("ssm.state_size")
    rank = f.integer("ssm.time_step_rank")
    groups = f.integer("ssm.group_count", 0) if grouped else 0
    return LayerState(
        kind=kind,
        conv_elements=(kernel - 1) * (inner + 2 * groups * size),
        state_elements=size * inner,
        conv_width=kernel,
        inner=inner,
        groups=groups,
        heads=rank if grouped else 0,
        state_size=size,
    )


def _all(h: Hparams, state: LayerState) -> tuple[Layer, ...]:
    return tuple([uncached(h, i, state) for i in range(h.count)])


def _by_kv_heads(h: Hparams, state: LayerState) -> tuple[Layer, ...]:
    """A layer without KV heads is recurrent."""
    h.per_layer("attention.head_count_kv")
    return tuple(
        [attention(h, i) if h.kv_heads[i] > 0 else uncached(h, i, state) for i in range(h.count)]
    )


def _mamba(h: Hparams) -> tuple[Layer, ...]:
    return _all(h, _ssm(h, "mamba1", grouped=False))


def _mamba2(h: Hparams) -> tuple[Layer, ...]:
    return _all(h, _ssm(h, "mamba2", grouped=True))


def _jamba(h: Hparams) -> tuple[Layer, ...]:
    return _by_kv_heads(h, _ssm(h, "mamba1", grouped=False))


def _granite(h: Hparams) -> tuple[Layer, ...]:
    return _by_kv_heads(h, _ssm(h, "mamba2", grouped=True))


def _falcon_h1(h: Hparams) -> tuple[Layer, ...]:
    """Attention and a state in every layer."""
    state = _ssm(h, "mamba2", grouped=True)
    return tuple([attention(h, i, state) for i in range(h.count)])


def _nemotron_h(h: Hparams) -> tuple[Layer, ...]:
    """A layer is a state, attention or a feed-forward; a draft layer has the last two."""
    state = _ssm(h, "mamba2", grouped=True)
    wide = h.per_layer("feed_forward_length")
    h.per_layer("attention.head_count_kv")
    out: list[Layer] = []
    for i in range(h.count):
        if i >= h.count - h.draft:
            out.append(attention(h, i))
        elif wide[i] > 0:
            out.append(uncached(h, i))
        else:
            out.append(attention(h, i) if h.kv_heads[i] > 0 else uncached(h, i, state))
    return tuple(out)


def _recurrent_list(h: Hparams, every: int) -> list[bool]:
    """Which layers are recurrent: the file's list, else all but each `every`-th; drafts never."""
    trunk = h.count - h.draft
    given = h.pattern("attention.recurrent_layers")
    if given is not None:
        return given
    step = h.fields.integer_or("full_attention_interval", every)
    return [i < trunk and (i + 1) % step != 0 for i in range(h.count)]


def _delta(h: Hparams) -> tuple[Layer, ...]:
    state = _ssm(h, "delta", grouped=True)
    recurrent = _recurrent_list(h, 4)
    return tuple(
        [uncached(h, i, state) if recurrent[i] else attention(h, i) for i in range(h.count)]
    )


def _kimi_linear(h: Hparams) -> tuple[Layer, ...]:
    """Kimi delta attention, and latent attention where there are KV heads."""
    kernel, size = h.fields.integer("ssm.conv_kernel"), h.fields.integer("kda.head_dim")
    inner = h.heads[0] * size
    state = LayerState(
        kind="kda",
        conv_elements=3 * (kernel - 1) * inner,
        state_elements=size * inner,
        conv_width=kernel,
        inner=inner,
        groups=h.heads[0],
        heads=h.heads[0],
        state_size=size,
    )
    h.per_layer("attention.head_count_kv")
    if not is_latent(h):
        raise h.fields.fault("attention.key_length_mla", "is missing")
    return tuple(
        [latent_layer(h, i) if h.kv_heads[i] > 0 else uncached(h, i, state) for i in range(h.count)]
    )


def _glm5_next(h: Hparams) -> tuple[Layer, ...]:
    """As Kimi's. A layer with an indexer of its own also caches key, gate and pooled key."""
    out: list[Layer] = []
    index = 3 * h.fields.integer("attention.indexer.key_length")
    given = h.fields.values.get("attention.indexer.types")
    trunk = h.count - h.draft
    if isinstance(given, list) and len(given) < trunk:
        raise h.fields.fault("attention.indexer.types", f"has fewer than {trunk} entries")
    for i, layer in enumerate(_kimi_linear(h)):
        own = i < trunk and (not isinstance(given, list) or bool(given[i]))
        latent = layer.kind == "latent"
        out.append(latent_layer(h, i, index if own else 0) if latent else layer)
    return tuple(out)


def _lightning(h: Hparams) -> tuple[Layer, ...]:
    """MiniMax-01: a matrix per head and no convolution, in all but each 8th layer."""
    size = h.fields.integer("attention.key_length")
    inner = h.heads[0] * size
    state = LayerState(
        kind="linear",
        conv_elements=0,
        state_elements=size * inner,
        inner=inner,
        groups=h.heads[0],
        heads=h.heads[0],
        state_size=size,
    )
    recurrent = _recurrent_list(h, 8)
    return tuple(
        [uncached(h, i, state) if recurrent[i] else attention(h, i) for i in range(h.count)]
    )


def _lfm2(h: Hparams) -> tuple[Layer, ...]:
    """Short convolutions; a window, where the file has one, is on the attention layers."""
    kernel = h.fields.integer("shortconv.l_cache", 1)
    numbers = h.hidden * (kernel - 1)
    state = LayerState(kind="conv", conv_elements=numbers, state_elements=0, conv_width=kernel)
    if h.fields.integer_or("attention.sliding_window", 0, 0) > 0:
        raise h.fields.fault("attention.sliding_window", "is not supported yet for lfm2")
    return _by_kv_heads(h, state)


def _rwkv(h: Hparams) -> tuple[Layer, ...]:
    """The state holds the last token of each mix and a matrix per head."""
    size = h.fields.integer("wkv.head_size")
    shifts = h.fields.integer_or("token_shift_count", 2)
    state = LayerState(
        kind="rwkv",
        conv_elements=shifts * h.hidden,
        state_elements=h.hidden * size,
        inner=h.hidden,
        heads=h.hidden // size,
        state_size=size,
    )
    return tuple([build(h, i, "none", state=state) for i in range(h.count)])


def _qwen4exp(h: Hparams) -> tuple[Layer, ...]:
    """Qwen 3.5's layers; attention keeps an indexer's key, as it is and pooled, beside its own, and
    the layer that reads the table of n-grams the last tokens of a convolution over all streams."""
    state, recurrent = _ssm(h, "delta", grouped=True), _recurrent_list(h, 4)
    index = 2 * h.fields.integer("attention.indexer.key_length")
    place, kept = _ngram_state(h)
    out: list[Layer] = []
    for i in range(h.count):
        if recurrent[i]:
            more = state.conv_elements + kept
            out.append(uncached(h, i, replace(state, conv_elements=more) if i == place else state))
        else:
            k, v = h.kv_heads[i] * h.k_dim, h.kv_heads[i] * h.v_dim
            own = index if i < h.count - h.draft else 0
            out.append(build(h, i, "full", k, v, own, k_dim=h.k_dim, v_dim=h.v_dim))
    return tuple(out)


def _ngram_state(h: Hparams) -> tuple[int, int]:
    """The layer that reads n-grams and what its convolution keeps; (-1, 0) without one. A step of
    the convolution is as long as the longest n-gram."""
    listed = h.fields.values.get("ple.layers")
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], int):
        return -1, 0
    reach = (h.fields.integer("ple.conv_kernel") - 1) * h.fields.integer("ple.ngram_size")
    return listed[0], reach * h.fields.integer("hyper_connection.count") * h.hidden


READERS: dict[str, Reader] = {
    "mamba": _mamba,
    "mamba2": _mamba2,
    "jamba": _jamba,
    "granitehybrid": _granite,
    "plamo2": _granite,
    "falcon-h1": _falcon_h1,
    "nemotron_h": _nemotron_h,
    "nemotron_h_moe": _nemotron_h,
    "qwen3next": _delta,
    "qwen35": _delta,
    "qwen35moe": _delta,
    "qwen4exp": _qwen4exp,
    "kimi-linear": _kimi_linear,
    "kimi-k3": _kimi_linear,
    "bailingmoe3": _kimi_linear,
    "glm5-next": _glm5_next,
    "minimax-01": _lightning,
    "lfm2": _lfm2,
    "lfm2moe": _lfm2,
    "rwkv6": _rwkv,
    "rwkv7": _rwkv,
    "rwkv6qwen2": _rwkv,
    "arwkv7": _rwkv,
}
