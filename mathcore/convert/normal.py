"""A config as every converter reads it: what libraries settle while they load it, settled.

A list with one number for every layer is that number; a window of null is one as long as the
context, which slides nowhere.
"""

# Families whose files need a window: null stands for none.
_WINDOWED: tuple[str, ...] = (
    "cohere2",
    "exaone_moe",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gpt_oss",
    "olmo3",
)
# Fields of a layer that some publishers write once for each.
_PER_LAYER: tuple[str, ...] = (
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "sliding_window",
    "num_experts_per_tok",
)


def normal(config: dict[str, object]) -> dict[str, object]:
    """The config with uniform lists as numbers, and null windows as wide as the context."""
    found = dict(config)
    layers = found.get("num_hidden_layers")
    for field in _PER_LAYER:
        value = found.get(field)
        if isinstance(value, list) and value and len(value) == layers and _uniform(value):
            found[field] = value[0]
    windowed = found.get("model_type") in _WINDOWED and "sliding_window" in found
    if windowed and found["sliding_window"] is None:
        found["sliding_window"] = found.get("max_position_embeddings")
    return found


def _uniform(values: list[object]) -> bool:
    return all([item == values[0] for item in values])
