"""DeepSeek V4: a window of raw rows, rows that compress 4 or 128 tokens, and hyper-connections."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.latent.deepseek_v32 import index_keys
from mathcore.convert.latent.hyper_connections import join_streams, stream_tensors
from mathcore.convert.mixture import experts_used, gating
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields
from mathcore.model.spec import Tensor

CSA_RATIO = 4
HCA_RATIO = 128
# Layer names of transformers 5, which lists kinds instead of ratios.
_KINDS: dict[str, int] = {
    "sliding_attention": 0,
    "compressed_sparse_attention": CSA_RATIO,
    "heavily_compressed_attention": HCA_RATIO,
}


def _ratios(f: Fields, layers: int) -> list[int]:
    """Tokens a row compresses, per layer, 0 = none. A list may go on with the draft's layers."""
    if not f.has("compress_ratios") and f.has("layer_types"):
        out: list[int] = []
        for name in f.texts("layer_types", layers):
            if name not in _KINDS:
                raise f.fault("layer_types", f"'{name}' is not supported yet")
            out.append(_KINDS[name])
        return out
    value = f.values.get("compress_ratios")
    if not isinstance(value, list) or len(value) < layers:
        raise f.fault("compress_ratios", f"is not a list of {layers} whole numbers")
    for item in value:
        if isinstance(item, bool) or item not in (0, CSA_RATIO, HCA_RATIO):
            raise f.fault("compress_ratios", "has a ratio other than 0, 4 and 128")
    return [int(item) for item in value[:layers]]


def _compressor(b: Build, i: int, prefix: str, row: int, ratio: int) -> None:
    """Compresses `ratio` tokens into a row. Windows of 4 overlap, so they are twice as wide."""
    wide = 2 * row if ratio == CSA_RATIO else row
    b.matrix(i, prefix + "kv", b.s.hidden, wide)
    b.matrix(i, prefix + "gate", b.s.hidden, wide)
    b.matrix(i, prefix + "ape", wide, ratio)
    b.norm(i, prefix + "norm", size=row)


def _attention(b: Build, i: int, f: Fields, ratio: int) -> None:
    s, rank = b.s, f.integer("q_lora_rank")
    groups, out_rank = f.integer("o_groups"), f.integer("o_lora_rank")
    if s.q % groups != 0:
        raise f.fault("o_groups", f"{groups} does not divide {s.q}")
    b.norm(i, "attn_norm")
    b.vector(i, "attn_sinks.weight", s.heads)
    b.matrix(i, "attn_q_a", s.hidden, rank)
    b.norm(i, "attn_q_a_norm", size=rank)
    b.matrix(i, "attn_q_b", rank, s.q)
    b.matrix(i, "attn_kv", s.hidden, s.head_dim)
    b.norm(i, "attn_kv_a_norm", size=s.head_dim)
    b.matrix(i, "attn_output_a", s.q // groups, out_rank * groups)
    b.matrix(i, "attn_output_b", groups * out_rank, s.hidden)
    if ratio > 0:
        _compressor(b, i, "attn_compressor_", s.head_dim, ratio)
    if ratio == CSA_RATIO:
        heads, size = f.integer("index_n_heads"), f.integer("index_head_dim")
        b.matrix(i, "indexer.proj", s.hidden, heads)
        b.matrix(i, "indexer.attn_q_b", rank, heads * size)
        _compressor(b, i, "indexer_compressor_", size, ratio)


def _hash_layers(f: Fields, layers: int) -> int:
    """How many layers at the start route by table. Configs of transformers 5 list each layer."""
    if f.has("num_hash_layers") or not f.has("mlp_layer_types"):
        return f.integer("num_hash_layers", 0, layers)
    names = f.texts("mlp_layer_types", layers)
    hashed = names.count("hash_moe")
    if names != ["hash_moe"] * hashed + ["moe"] * (layers - hashed):
        raise f.fault("mlp_layer_types", "is not tables first and then experts by score")
    return hashed


def _table(b: Build, i: int, used: int) -> None:
    """A table from token to experts: whole numbers whatever the file's type."""
    b.tensors.append(
        Tensor(
            name=f"blk.{i}.ffn_gate_tid2eid.weight",
            columns=used,
            rows=b.s.vocab,
            dims=2,
            layer=i,
            type_name="I32",
        )
    )


def _mixture(b: Build, i: int, f: Fields, hashed: int) -> None:
    """The first layers look the token's experts up in a table; the others score, with a bias."""
    count, width = f.integer("n_routed_experts"), f.integer("moe_intermediate_size")
    b.norm(i, "ffn_norm")
    b.experts(i, count, width)
    if i < hashed:
        _table(b, i, f.integer("num_experts_per_tok"))
    else:
        b.vector(i, "exp_probs_b.bias", count)
    b.shared(i, width * f.integer("n_shared_experts"))


def _keys(b: Build, f: Fields, ratios: list[int], hashed: int) -> None:
    count, streams = f.integer("n_routed_experts"), f.integer("hc_mult", 1, 64)
    used = experts_used(f, "num_experts_per_tok", count)
    b.moe_keys(count, used, f.integer("moe_intermediate_size"))
    b.key("expert_shared_count", f.integer("n_shared_experts"))
    b.key("expert_weights_scale", f.number("routed_scaling_factor"))
    b.key("expert_weights_norm", f.flag_or("norm_topk_prob", default=True))
    b.key("swiglu_clamp_exp", [f.number("swiglu_limit")] * b.s.layers)
    gating(b, f)
    index_keys(b, f)
    b.key("attention.q_lora_rank", f.integer("q_lora_rank"))
    b.key("attention.sliding_window", f.integer("sliding_window"))
    b.key("attention.output_group_count", f.integer("o_groups"))
    b.key("attention.output_lora_rank", f.integer("o_lora_rank"))
    b.key("attention.compress_ratios", ratios)
    b.key("attention.compress_rope_freq_base", f.number("compress_rope_theta"))
    b.key("hyper_connection.count", streams)
    b.key("hyper_connection.sinkhorn_iterations", f.integer("hc_sinkhorn_iters"))
    b.key("hyper_connection.epsilon", f.number("hc_eps"))
    b.key("hash_layer_count", hashed)
    b.key("embedding_length_out", b.s.hidden * streams)


def _deepseek_v4(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True, need_head_dim=True, feed_forward="moe_intermediate_size")
    if s.kv_heads != 1:
        raise f.fault("num_key_value_heads", "other than 1 is not supported yet")
    b = Build("deepseek4", s, f.integer("qk_rope_head_dim"))
    ratios = _ratios(f, s.layers)
    hashed = _hash_layers(f, s.layers)
    _keys(b, f, ratios, hashed)
    streams = f.integer("hc_mult", 1, 64)
    for i in range(s.layers):
        _attention(b, i, f, ratios[i])
        stream_tensors(b, i, streams, (2 + streams) * streams, 3)
        _mixture(b, i, f, hashed)
    join_streams(b, streams)
    if tied(f, default=False):
        raise f.fault("tie_word_embeddings", "true is not supported yet for deepseek_v4")
    return b.done(tied=False)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {"deepseek_v4": _deepseek_v4}
