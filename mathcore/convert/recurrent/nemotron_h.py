"""NVIDIA's Nemotron-H: every layer is one of Mamba 2, attention, a feed-forward or experts."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import need, tied
from mathcore.convert.conversion import Conversion, stacked
from mathcore.convert.mixture import experts_used
from mathcore.convert.recurrent.ssm import Ssm, grouped_ssm, mamba2, ssm_keys
from mathcore.convert.sizes import Sizes
from mathcore.model.fields import MAX_LAYERS, Fields

# What each layer is, by the letters of hybrid_override_pattern.
_LETTERS: dict[str, str] = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
_NAMES: dict[str, str] = {
    "mamba": "mamba",
    "linear_attention": "mamba",
    "attention": "attention",
    "full_attention": "attention",
    "mlp": "mlp",
    "moe": "moe",
}


def _pattern(f: Fields) -> list[str]:
    if not f.has("hybrid_override_pattern") and f.has("layers_block_type"):
        value = f.values["layers_block_type"]
        count = len(value) if isinstance(value, list) else 0
        field, table = "layers_block_type", _NAMES
        names = f.texts(field, count)
    else:
        field, table = "hybrid_override_pattern", _LETTERS
        names = list(f.text(field))
        if len(names) != f.integer("num_hidden_layers", 1, MAX_LAYERS):
            raise f.fault(field, f"has {len(names)} letters, not one per layer")
    if not 1 <= len(names) <= MAX_LAYERS:
        raise f.fault(field, f"must name between 1 and {MAX_LAYERS} layers")
    for name in names:
        if name not in table:
            raise f.fault(field, f"'{name}' is not supported yet")
    kinds = [table[name] for name in names]
    if "mlp" in kinds and "moe" in kinds:
        raise f.fault(field, "dense and expert layers together are not supported yet")
    return kinds


def _sizes(f: Fields, layers: int, feed_forward: int) -> Sizes:
    heads = f.integer("num_attention_heads")
    kv = f.integer("num_key_value_heads")
    if heads % kv != 0:
        raise f.fault("num_key_value_heads", f"{kv} does not divide {heads} heads")
    size = "attention_head_dim" if not f.has("head_dim") and f.has("attention_head_dim") else ""
    return Sizes(
        vocab=f.integer("vocab_size"),
        hidden=f.integer("hidden_size"),
        layers=layers,
        heads=heads,
        kv_heads=kv,
        head_dim=f.integer(size if size else "head_dim"),
        feed_forward=feed_forward,
        context=f.integer_or("max_position_embeddings", 0),
    )


def _experts(b: Build, i: int, f: Fields) -> None:
    """Experts without gate. Routed ones may work in a narrower latent; the shared one doesn't."""
    count, width = f.integer("n_routed_experts"), f.integer("moe_intermediate_size")
    hidden = b.s.hidden
    inside = f.integer_or("moe_latent_size", hidden)
    b.matrix(i, "ffn_gate_inp", hidden, count)
    b.vector(i, "exp_probs_b.bias", count)
    if inside != hidden:
        b.matrix(i, "ffn_latent_down", hidden, inside)
        b.matrix(i, "ffn_latent_up", inside, hidden)
    b.tensors.append(stacked(f"blk.{i}.ffn_up_exps.weight", inside, width, count, i))
    b.tensors.append(stacked(f"blk.{i}.ffn_down_exps.weight", width, inside, count, i))
    shared = f.integer("moe_shared_expert_intermediate_size")
    b.matrix(i, "ffn_up_shexp", hidden, shared)
    b.matrix(i, "ffn_down_shexp", shared, hidden)


def _moe_keys(b: Build, f: Fields) -> None:
    count = f.integer("n_routed_experts")
    used = experts_used(f, "num_experts_per_tok", count)
    b.moe_keys(count, used, f.integer("moe_intermediate_size"))
    b.key("expert_shared_feed_forward_length", f.integer("moe_shared_expert_intermediate_size"))
    b.key("expert_shared_count", f.integer("n_shared_experts"))
    if f.has("moe_latent_size"):
        b.key("moe_latent_size", f.integer("moe_latent_size"))


def _layer(b: Build, i: int, kind: str, f: Fields, m: Ssm, *, conv_bias: bool) -> None:
    b.norm(i, "attn_norm")
    if kind == "mamba":
        mamba2(b, i, m, conv_bias=conv_bias)
    elif kind == "attention":
        b.attention(i)
    elif kind == "mlp":
        b.mlp(i)
    else:
        _experts(b, i, f)


def _draft(b: Build, i: int, f: Fields) -> None:
    """Attention and experts in one layer."""
    b.draft_tensors(i)
    b.norm(i, "attn_norm")
    b.attention(i)
    b.norm(i, "post_attention_norm")
    _experts(b, i, f)


def _nemotron_h(f: Fields, draft: int) -> Conversion:
    for field in ("attention_bias", "mlp_bias", "use_bias", "mamba_proj_bias"):
        need(f, field, wanted=False, default=False)
    kinds = _pattern(f)
    mixture = "moe" in kinds
    field = "moe_intermediate_size" if mixture else "intermediate_size"
    width = f.integer(field)
    b = Build("nemotron_h_moe" if mixture else "nemotron_h", _sizes(f, len(kinds), width))
    m = grouped_ssm(
        f, "conv_kernel", "ssm_state_size", "mamba_num_heads", "mamba_head_dim", "n_groups", 0
    )
    ssm_keys(b, m, grouped=True)
    b.draft_keys(draft)
    ends = [b.s.kv_heads] * draft
    attends = [b.s.kv_heads if kind == "attention" else 0 for kind in kinds]
    b.key("attention.head_count_kv", attends + ends)
    feeds = [width if kind in ("mlp", "moe") else 0 for kind in kinds]
    b.key("feed_forward_length", feeds + [width] * draft)
    if mixture:
        _moe_keys(b, f)
    conv_bias = f.flag_or("use_conv_bias", default=True)
    for i in range(len(kinds)):
        _layer(b, i, kinds[i], f, m, conv_bias=conv_bias)
    for i in range(len(kinds), len(kinds) + draft):
        _draft(b, i, f)
    return b.done(tied=tied(f, default=False))


def _trunk(f: Fields) -> Conversion:
    return _nemotron_h(f, 0)


def _with_draft(f: Fields) -> Conversion:
    """llama.cpp's converter writes one draft layer at most."""
    return _nemotron_h(f, f.integer("num_nextn_predict_layers", 0, 1))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {"nemotron_h": _trunk}
DRAFT_CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {"nemotron_h": _with_draft}
