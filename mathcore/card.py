"""Hugging Face config -> ModelSpec; refuses by field name what it cannot read.

An absent field is filled only where the library itself defines its value; never guessed.
"""

from mathcore.model import CardError, Layer, ModelSpec, parameter_count
from mathcore.tensors import Dims, Family, dense_tensors

# Far above any released model, far below what would cost us memory to describe.
MAX_SIZE = 1 << 24  # any one dimension
MAX_LAYERS = 1024

FAMILIES: dict[str, Family] = {
    "llama": Family(architecture="llama", tied_default=False),
    "mistral": Family(architecture="llama", tied_default=False, kv_heads_required=True),
    "qwen2": Family(
        architecture="qwen2", tied_default=False, qkv_bias=True, kv_heads_required=True
    ),
    "qwen3": Family(
        architecture="qwen3", tied_default=False, qk_norm="head",
        head_dim_required=True, kv_heads_required=True,
    ),
    "phi3": Family(architecture="phi3", tied_default=False, fused=True),
    "olmo2": Family(architecture="olmo2", tied_default=False, qk_norm="full"),
    "gemma": Family(
        architecture="gemma", tied_default=True, head_dim_required=True, kv_heads_required=True
    ),
    "gemma2": Family(
        architecture="gemma2", tied_default=True, layer_norms=4,
        head_dim_required=True, kv_heads_required=True, sliding=True,
    ),
    "gemma3_text": Family(
        architecture="gemma3", tied_default=True, layer_norms=4, qk_norm="head",
        head_dim_required=True, kv_heads_required=True, sliding=True,
    ),
}  # fmt: skip

# A field that means another kind of layer than this module describes.
_FOREIGN: tuple[str, ...] = (
    "kv_lora_rank", "num_experts", "num_local_experts", "n_routed_experts", "state_size",
    "ssm_state_size", "mamba_d_state", "linear_num_value_heads", "linear_attn_config",
    "attention_chunk_size", "block_configs", "num_kv_shared_layers",
)  # fmt: skip


def _int(card: dict[str, object], field: str, limit: int = MAX_SIZE) -> int:
    value = card.get(field)
    if value is None:
        raise CardError(field, "is missing")
    if isinstance(value, bool) or not isinstance(value, int):
        raise CardError(field, "is not a whole number")
    if value < 1 or value > limit:
        raise CardError(field, f"must be between 1 and {limit}")
    return value


def _int_or(card: dict[str, object], field: str, default: int) -> int:
    return default if card.get(field) is None else _int(card, field)


def _bool_or(card: dict[str, object], field: str, default: bool) -> bool:
    value = card.get(field)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise CardError(field, "is not true or false")
    return value


def _text(card: dict[str, object], field: str) -> str:
    value = card.get(field)
    if value is None:
        raise CardError(field, "is missing")
    if not isinstance(value, str):
        raise CardError(field, "is not text")
    return value


def _flat(card: dict[str, object]) -> dict[str, object]:
    """The language model of a nested config, its own fields first."""
    nested = card.get("text_config")
    if nested is None:
        return card
    if not isinstance(nested, dict):
        raise CardError("text_config", "is not an object")
    merged: dict[str, object] = dict(card)
    for key, value in nested.items():
        merged[str(key)] = value
    return merged


def _family(card: dict[str, object]) -> tuple[str, Family]:
    model_type = _text(card, "model_type")
    family = FAMILIES.get(model_type)
    if family is None:
        raise CardError("model_type", f"'{model_type}' is not supported yet")
    for field in _FOREIGN:
        if card.get(field):
            raise CardError(field, f"is not supported yet for model_type '{model_type}'")
    if _bool_or(card, "use_sliding_window", False) and card.get("sliding_window"):
        raise CardError("use_sliding_window", "true is not supported yet")
    return model_type, family


def _head_dim(card: dict[str, object], family: Family, hidden: int, heads: int) -> int:
    if card.get("head_dim") is not None or family.head_dim_required:
        return _int(card, "head_dim")
    if hidden % heads != 0:
        raise CardError("num_attention_heads", f"{heads} does not divide hidden_size {hidden}")
    return hidden // heads


def _rope_tables(
    card: dict[str, object], family: Family, head_dim: int
) -> tuple[tuple[str, int], ...]:
    """Tables the converter writes for scaled rope: llama3 and phi3's longrope."""
    scaling = card.get("rope_scaling")
    if scaling is None:
        return ()
    if not isinstance(scaling, dict):
        raise CardError("rope_scaling", "is not an object")
    kind = scaling.get("rope_type", scaling.get("type"))
    if family.architecture == "llama" and kind == "llama3":
        return (("rope_freqs.weight", head_dim // 2),)
    if family.architecture == "phi3" and "long_factor" in scaling:
        share = card.get("partial_rotary_factor", 1.0)
        if isinstance(share, bool) or not isinstance(share, (int, float)):
            raise CardError("partial_rotary_factor", "is not a number")
        half = int(head_dim * share) // 2
        return (("rope_factors_long.weight", half), ("rope_factors_short.weight", half))
    return ()


def _sliding(card: dict[str, object], model_type: str, count: int) -> list[bool]:
    """Which layers keep only a window. gemma2: every even one; gemma3: all but each 6th."""
    types = card.get("layer_types")
    if types is None:
        period = 2 if model_type == "gemma2" else _int_or(card, "sliding_window_pattern", 6)
        return [(i + 1) % period != 0 for i in range(count)]
    if not isinstance(types, list) or len(types) != count:
        raise CardError("layer_types", f"is not a list of {count} names")
    out: list[bool] = []
    for item in types:
        if item not in ("sliding_attention", "full_attention"):
            raise CardError("layer_types", f"'{item}' is not supported yet")
        out.append(item == "sliding_attention")
    return out


def _layers(
    card: dict[str, object], model_type: str, family: Family, dims: Dims
) -> tuple[Layer, ...]:
    width = dims.kv_heads * dims.head_dim
    full = Layer(kind="full", k_elements=width, v_elements=width, head_dim=dims.head_dim)
    if not family.sliding:
        # llama.cpp keeps every token for these families, whatever sliding_window says.
        return tuple([full] * dims.layers)
    window = _int(card, "sliding_window")
    near = Layer(
        kind="sliding", k_elements=width, v_elements=width, head_dim=dims.head_dim, window=window
    )
    return tuple([near if s else full for s in _sliding(card, model_type, dims.layers)])


def _dims(card: dict[str, object], family: Family) -> Dims:
    hidden, heads = _int(card, "hidden_size"), _int(card, "num_attention_heads")
    kv_heads = (
        _int(card, "num_key_value_heads")
        if family.kv_heads_required
        else _int_or(card, "num_key_value_heads", heads)
    )
    if heads % kv_heads != 0:
        raise CardError("num_key_value_heads", f"{kv_heads} does not divide {heads} heads")
    head_dim = _head_dim(card, family, hidden, heads)
    return Dims(
        vocab=_int(card, "vocab_size"),
        hidden=hidden,
        layers=_int(card, "num_hidden_layers", MAX_LAYERS),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        feed_forward=_int(card, "intermediate_size"),
        tied=_bool_or(card, "tie_word_embeddings", family.tied_default),
        attention_bias=_bool_or(card, "attention_bias", False),
        mlp_bias=_bool_or(card, "mlp_bias", False),
        rope_tables=_rope_tables(card, family, head_dim),
    )


def spec_from_config(card: dict[str, object], name: str, source: str = "") -> ModelSpec:
    """A dense decoder from its config.json; CardError names the field that stops us."""
    flat = _flat(card)
    model_type, family = _family(flat)
    dims = _dims(flat, family)
    tensors = dense_tensors(family, dims)
    parameters = parameter_count(tensors)
    return ModelSpec(
        name=name,
        architecture=family.architecture,
        vocab=dims.vocab,
        hidden=dims.hidden,
        heads=dims.heads,
        feed_forward=dims.feed_forward,
        context_length=_int_or(flat, "max_position_embeddings", 0),
        layers=_layers(flat, model_type, family, dims),
        tensors=tensors,
        tied=dims.tied,
        parameters=parameters,
        active_parameters=parameters,
        source=source,
    )
