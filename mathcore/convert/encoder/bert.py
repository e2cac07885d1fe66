"""Encoders that embed text: BERT and RoBERTa, Nomic, Jina and ModernBERT. They cache nothing."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import need
from mathcore.convert.conversion import Conversion, matrix
from mathcore.convert.mixture import experts_used
from mathcore.convert.sizes import Sizes, head_size, legacy_sizes, sizes
from mathcore.model.fields import MAX_LAYERS, Fields


def _start(f: Fields, arch: str, s: Sizes) -> Build:
    b = Build(arch, s)
    b.key("attention.causal", value=False)
    types = f.integer_or("type_vocab_size", 1)
    b.metadata["tokenizer.ggml.token_type_count"] = types
    b.tensors.append(matrix("token_types.weight", s.hidden, types))
    return b


def _positions(f: Fields) -> int:
    """Rows of the table of positions. RoBERTa's first rows are padding; llama.cpp cuts them."""
    count = f.integer("max_position_embeddings")
    if f.text("model_type") in ("roberta", "xlm-roberta", "camembert"):
        count -= 1 + f.integer("pad_token_id", 0, count - 2)
    return count


def _bert_layer(b: Build, i: int) -> None:
    b.attention(i, bias=True, out_bias=True)
    b.norm(i, "attn_output_norm", bias=True)
    b.mlp(i, bias=True)
    b.norm(i, "layer_output_norm", bias=True)


def _jina_v2(f: Fields) -> Conversion:
    """Jina's BERT: no table of positions, and gate and up in one projection without bias."""
    if f.text("feed_forward_type") != "geglu":
        raise f.fault("feed_forward_type", "other than geglu is not supported yet")
    if f.has("auto_map") and "qk-post-norm" in str(f.values["auto_map"]):
        raise f.fault("auto_map", "norms of Q and K are not supported yet")
    s = sizes(f)
    b = _start(f, "jina-bert-v2", s)
    b.embedding_norm()
    for i in range(s.layers):
        b.attention(i, bias=True, out_bias=True)
        b.norm(i, "attn_output_norm", bias=True)
        b.matrix(i, "ffn_up", s.hidden, 2 * s.feed_forward)
        b.linear(i, "ffn_down", s.feed_forward, s.hidden, bias=True)
        b.norm(i, "layer_output_norm", bias=True)
    return b.conversion()


def _jina_v3(f: Fields) -> Conversion:
    """XLM-RoBERTa with rotary positions; its adapters are files of their own in llama.cpp."""
    s = sizes(f)
    b = _start(f, "jina-bert-v3", s)
    b.embedding_norm()
    for i in range(s.layers):
        b.fused_attention(i, bias=True, out_bias=True)
        b.norm(i, "attn_output_norm", bias=True)
        b.mlp(i, bias=True)
        b.norm(i, "layer_output_norm", bias=True)
    return b.conversion()


def _positions_kind(f: Fields, wanted: str) -> None:
    """Refuses positions of another kind than the family that another field names."""
    if not f.has("position_embedding_type") or f.text("position_embedding_type") != wanted:
        raise f.fault("position_embedding_type", f"is not '{wanted}', as the rest of the config is")


def _bert(f: Fields) -> Conversion:
    kind = f.text("position_embedding_type") if f.has("position_embedding_type") else "absolute"
    if kind == "alibi" or f.has("feed_forward_type"):
        _positions_kind(f, "alibi")
        return _jina_v2(f)
    if kind == "rotary" or f.has("lora_adaptations"):
        _positions_kind(f, "rotary")
        if not f.has("lora_adaptations"):
            raise f.fault("lora_adaptations", "is missing")
        return _jina_v3(f)
    if kind != "absolute":
        raise f.fault("position_embedding_type", f"'{kind}' is not supported yet")
    values = dict(f.values)
    values["max_position_embeddings"] = _positions(f)
    s = sizes(Fields(values))
    b = _start(f, "bert", s)
    b.tensors.append(matrix("position_embd.weight", s.hidden, s.context))
    b.embedding_norm()
    for i in range(s.layers):
        _bert_layer(b, i)
    return b.conversion()


def _nomic_sizes(f: Fields, width: int) -> Sizes:
    """The context is the trained length, not the size of the table, as llama.cpp has it."""
    trained = {8192: 2048, 2048: 512}
    positions = f.integer("n_positions")
    if positions not in trained:
        raise f.fault("n_positions", f"{positions} is not supported yet")
    values = dict(f.values)
    values["n_positions"] = trained[positions]
    return legacy_sizes(Fields(values), width, f.integer("n_head"), "n_positions")


def _nomic(f: Fields) -> Conversion:
    """Fused Q, K and V. The model with experts has them in every second layer, and biases."""
    mixed = f.integer_or("num_experts", 0, 0) > 0 or f.integer_or("moe_every_n_layers", 0, 0) > 0
    every = f.integer("moe_every_n_layers") if mixed else 0
    for field in ("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"):
        need(f, field, wanted=mixed, default=not mixed)
    need(f, "prenorm", wanted=False, default=False)
    width = f.integer("n_inner")
    s = _nomic_sizes(f, width)
    b = _start(f, "nomic-bert-moe" if mixed else "nomic-bert", s)
    b.embedding_norm()
    count = f.integer("num_experts") if mixed else 0
    if mixed:
        b.key("moe_every_n_layers", every)
        b.key("expert_count", count)
        b.key("expert_used_count", experts_used(f, "moe_top_k", count))
    for i in range(s.layers):
        b.fused_attention(i, bias=mixed, out_bias=mixed)
        b.norm(i, "attn_output_norm", bias=True)
        if mixed and i % every == 1:
            b.experts(i, count, width, gate=False)
        elif mixed:
            b.mlp(i, bias=True)
        else:
            b.gated_mlp(i)
        b.norm(i, "layer_output_norm", bias=True)
    return b.conversion()


def _global_every(f: Fields, layers: int) -> int:
    """The period of full layers, counted from the first; the layers between slide."""
    if f.has("global_attn_every_n_layers") or not f.has("layer_types"):
        return f.integer("global_attn_every_n_layers", 1, layers)
    names = f.texts("layer_types", layers)
    step = names.index("full_attention", 1) if "full_attention" in names[1:] else layers
    for i, name in enumerate(names):
        if name != ("full_attention" if i % step == 0 else "sliding_attention"):
            raise f.fault("layer_types", "is not a full layer first and every n-th from there")
    return step


def _modern_bert(f: Fields) -> Conversion:
    for field in ("attention_bias", "mlp_bias", "norm_bias"):
        need(f, field, wanted=False, default=False)
    s = sizes(f)
    b = Build("modern-bert", s)
    b.key("attention.causal", value=False)
    b.key("attention.sliding_window", f.integer("local_attention"))
    b.key("attention.sliding_window_pattern", _global_every(f, s.layers))
    b.top("token_embd_norm.weight", s.hidden)
    for i in range(s.layers):
        if i > 0:
            b.norm(i, "attn_norm")
        b.fused_attention(i)
        b.norm(i, "ffn_norm")
        b.fused_gated_mlp(i)
    b.top("output_norm.weight", s.hidden)
    return b.conversion()


def _eurobert(f: Fields) -> Conversion:
    for field in ("attention_bias", "mlp_bias"):
        need(f, field, wanted=False, default=False)
    s = sizes(f, need_kv=True)
    b = Build("eurobert", s)
    b.key("attention.causal", value=False)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.norm(i, "ffn_norm")
        b.gated_mlp(i)
    b.top("output_norm.weight", s.hidden)
    return b.conversion()


def _distilbert(f: Fields) -> Conversion:
    """BERT without token types, under names of its own."""
    need(f, "sinusoidal_pos_embds", wanted=False, default=False)
    hidden, heads = f.integer("dim"), f.integer("n_heads")
    s = Sizes(
        vocab=f.integer("vocab_size"),
        hidden=hidden,
        layers=f.integer("n_layers", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=heads,
        head_dim=head_size(f, hidden, heads, "n_heads"),
        feed_forward=f.integer("hidden_dim"),
        context=f.integer("max_position_embeddings"),
    )
    b = Build("bert", s)
    b.key("attention.causal", value=False)
    b.metadata["tokenizer.ggml.token_type_count"] = 1
    b.tensors.append(matrix("position_embd.weight", s.hidden, s.context))
    b.embedding_norm()
    for i in range(s.layers):
        _bert_layer(b, i)
    return b.conversion()


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "bert": _bert,
    "roberta": _bert,
    "xlm-roberta": _bert,
    "camembert": _bert,
    "distilbert": _distilbert,
    "nomic_bert": _nomic,
    "modernbert": _modern_bert,
    "eurobert": _eurobert,
}
