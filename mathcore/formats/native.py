"""Configs that are not Hugging Face's: DeepSeek's own, Meta's and Mistral's params.json.

Each says the same sizes under other names; what it leaves out has the default of the code it comes
with (DeepSeek's and Meta's model.py, ModelArgs).
"""

from mathcore.model.fields import Fields

# ModelArgs of DeepSeek-V3's inference/model.py: their name, Hugging Face's, the default.
_DEEPSEEK: tuple[tuple[str, str, int], ...] = (
    ("vocab_size", "vocab_size", 102_400),
    ("dim", "hidden_size", 2048),
    ("inter_dim", "intermediate_size", 10_944),
    ("moe_inter_dim", "moe_intermediate_size", 1408),
    ("n_layers", "num_hidden_layers", 27),
    ("n_dense_layers", "first_k_dense_replace", 1),
    ("n_heads", "num_attention_heads", 16),
    ("n_routed_experts", "n_routed_experts", 64),
    ("n_shared_experts", "n_shared_experts", 2),
    ("n_activated_experts", "num_experts_per_tok", 6),
    ("kv_lora_rank", "kv_lora_rank", 512),
    ("qk_nope_head_dim", "qk_nope_head_dim", 128),
    ("qk_rope_head_dim", "qk_rope_head_dim", 64),
    ("v_head_dim", "v_head_dim", 128),
)
_INDEXER: tuple[str, ...] = ("index_n_heads", "index_head_dim", "index_topk")
# Its rope reaches original_seq_len x rope_factor tokens.
_SEQ_LEN, _ROPE_FACTOR = 4096, 40.0
# Its gate adds a bias at this width alone (Gate.__init__): V3's, not V2's.
_BIASED_WIDTH = 7168

# Meta's feed-forward: two thirds of four times the width, times a factor, rounded up.
_MULTIPLE_OF = 256
# The vocabulary of Llama 1 and 2, whose params.json say -1 and leave it to the tokenizer.
_LLAMA_2_VOCAB = 32_000
# What Meta publishes with scaled rope (Llama 3.1 and later); the others do not say.
_SCALED_CONTEXT = 131_072
# Llama 3.2 1B and 3B, the only ones with scaled rope this narrow, share embedding and output.
_SHARED_WIDTH = 3072


def translated(config: dict[str, object]) -> dict[str, object]:
    """A config under Hugging Face's names; one that has a model_type already, as it is."""
    if "model_type" in config or "dim" not in config or "n_layers" not in config:
        return config
    f = Fields(config)
    if f.has("kv_lora_rank") and f.has("inter_dim"):
        return _deepseek(f)
    if not f.has("norm_eps"):  # DistilBERT counts in the same words
        return config
    return _mistral(f) if f.has("hidden_dim") else _meta(f)


def _deepseek(f: Fields) -> dict[str, object]:
    out: dict[str, object] = {
        theirs: f.integer_or(ours, default, 0) for ours, theirs, default in _DEEPSEEK
    }
    q_rank = f.integer_or("q_lora_rank", 0, 0)
    out["q_lora_rank"] = q_rank if q_rank > 0 else None
    factor = f.number("rope_factor") if f.has("rope_factor") else _ROPE_FACTOR
    length = f.integer_or("original_seq_len", _SEQ_LEN)
    out["max_position_embeddings"] = int(length * factor)
    out["num_key_value_heads"] = out["num_attention_heads"]
    biased = out["hidden_size"] == _BIASED_WIDTH
    out["model_type"] = "deepseek_v3" if biased else "deepseek_v2"
    out["scoring_func"] = f.text("score_func") if f.has("score_func") else "softmax"
    if biased:  # with the bias comes V3's sigmoid, which its first config does not name
        out["scoring_func"] = "sigmoid"
        out["topk_method"] = "noaux_tc"
    if f.has("index_topk"):
        out["model_type"] = "deepseek_v32"
        for field in _INDEXER:
            out[field] = f.integer(field)
    if f.has("dtype") and f.text("dtype") == "fp8":
        out["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    return out


def _meta(f: Fields) -> dict[str, object]:
    dim, heads = f.integer("dim"), f.integer("n_heads")
    scaled = f.flag_or("use_scaled_rope", default=False)
    vocab = f.integer("vocab_size", -1)
    out: dict[str, object] = {
        "model_type": "llama",
        "hidden_size": dim,
        "intermediate_size": _feed_forward(f, dim),
        "num_hidden_layers": f.integer("n_layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": f.integer_or("n_kv_heads", heads),
        "vocab_size": vocab if vocab > 0 else _LLAMA_2_VOCAB,
        "tie_word_embeddings": scaled and dim <= _SHARED_WIDTH,
    }
    if scaled:
        out["max_position_embeddings"] = _SCALED_CONTEXT
        out["rope_scaling"] = {"rope_type": "llama3"}
    return out


def _feed_forward(f: Fields, dim: int) -> int:
    wide = 2 * 4 * dim // 3
    if f.has("ffn_dim_multiplier"):
        wide = int(f.number("ffn_dim_multiplier") * wide)
    step = f.integer_or("multiple_of", _MULTIPLE_OF)
    return step * -(-wide // step)


def _mistral(f: Fields) -> dict[str, object]:
    """Mistral's params.json, dense or with experts; a latent one is refused by its field."""
    for field in ("q_lora_rank", "kv_lora_rank"):
        if f.has(field):
            raise f.fault(field, "is not supported yet in a params.json")
    heads = f.integer("n_heads")
    out: dict[str, object] = {
        "model_type": "mistral",
        "hidden_size": f.integer("dim"),
        "intermediate_size": f.integer("hidden_dim"),
        "num_hidden_layers": f.integer("n_layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": f.integer_or("n_kv_heads", heads),
        "vocab_size": f.integer("vocab_size"),
        "tie_word_embeddings": f.flag_or("tied_embeddings", default=False),
    }
    if f.has("head_dim"):
        out["head_dim"] = f.integer("head_dim")
    for field in ("max_position_embeddings", "max_seq_len"):
        if f.has(field):
            out["max_position_embeddings"] = f.integer(field)
    if f.has("moe"):
        moe = f.nested("moe")
        out["model_type"] = "mixtral"
        out["num_local_experts"] = moe.integer("num_experts")
        out["num_experts_per_tok"] = moe.integer("num_experts_per_tok")
    return out
