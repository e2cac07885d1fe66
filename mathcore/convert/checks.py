"""What a config says beside its sizes: flags, lists of layers, and what no engine loads."""

from mathcore.model.fields import MAX_LAYERS, Fields

# Fields that mean another kind of layer than a dense decoder's.
_FOREIGN: tuple[str, ...] = (
    "kv_lora_rank",
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "state_size",
    "ssm_state_size",
    "mamba_d_state",
    "linear_num_value_heads",
    "linear_attn_config",
    "attention_chunk_size",
    "block_configs",
    "num_kv_shared_layers",
)


def dense_only(f: Fields) -> None:
    """Refuses a config that also asks for experts, latent attention or a state."""
    for field in _FOREIGN:
        if f.values.get(field):
            raise f.fault(field, "is not supported for this model_type")


def tied(f: Fields, *, default: bool) -> bool:
    """tie_word_embeddings, or what the library assumes."""
    return f.flag_or("tie_word_embeddings", default=default)


def no_window(f: Fields) -> None:
    """Refuses a config whose window is on: llama.cpp keeps every token of these families.

    The window is for the layers from `max_window_layers` up; usually there are none.
    """
    if not f.flag_or("use_sliding_window", default=False) or not f.has("sliding_window"):
        return
    layers = f.integer("num_hidden_layers", 1, MAX_LAYERS)
    if f.integer_or("max_window_layers", 0, 0) < layers:
        raise f.fault("use_sliding_window", "true is not supported yet")


def sliding_layers(f: Fields, layers: int, default: list[bool] | None) -> list[bool]:
    """Which layers slide, from `layer_types`; `default` when absent, None = the field is needed."""
    if not f.has("layer_types"):
        if default is None:
            raise f.fault("layer_types", "is missing")
        return default
    out: list[bool] = []
    for name in f.texts("layer_types", layers):
        if name not in ("sliding_attention", "full_attention"):
            raise f.fault("layer_types", f"'{name}' is not supported yet")
        out.append(name == "sliding_attention")
    return out


def all_but_every(layers: int, period: int) -> list[bool]:
    """True for all but each `period`-th layer."""
    return [(i + 1) % period != 0 for i in range(layers)]


def need(f: Fields, field: str, *, wanted: bool, default: bool) -> None:
    """Refuses any value of a flag but `wanted`, the only one llama.cpp loads."""
    if f.flag_or(field, default=default) != wanted:
        word = "false" if wanted else "true"
        raise f.fault(field, f"{word} is not supported yet")


def places(f: Fields, field: str, least: int, most: int) -> list[int]:
    """A list of layers; it must not be empty."""
    value = f.values.get(field)
    if not isinstance(value, list) or not value:
        raise f.fault(field, "is not a list of layers")
    return f.integers(field, len(value), least, most)
