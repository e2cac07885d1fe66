"""What a config says beside its sizes: flags, lists of layers, and what no engine loads."""

from mathcore.model.fields import Fields

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


def window_ignored(f: Fields) -> None:
    """Checks the fields of a window that llama.cpp does not read: it keeps every token of these
    families, whatever `use_sliding_window` and `max_window_layers` say."""
    f.flag_or("use_sliding_window", default=False)
    f.integer_or("sliding_window", 0, 0)
    f.integer_or("max_window_layers", 0, 0)


# Names of one kind of layer: that of the release, and that of another version of transformers,
# which renames what it loads (its remap of layer_types).
_SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("full_attention", "attention", "global_attention"),
    ("sliding_attention", "sliding_window_attention", "local_attention"),
    ("linear_attention", "mamba", "mamba2", "kda"),
    ("indexed_attention", "deepseek_sparse_attention"),
    ("conv", "short_conv"),
    ("chunked_attention", "local_chunked_attention"),
    ("dense", "mlp"),
    ("sparse", "moe"),
)


def layer_names(f: Fields, field: str, layers: int, known: tuple[str, ...]) -> list[str]:
    """A kind for each layer, by the names in `known`; synonyms of those are read as they."""
    out: list[str] = []
    for name in f.texts(field, layers):
        found = name if name in known else _synonym(name, known)
        if not found:
            raise f.fault(field, f"'{name[:40]}' is not supported yet")
        out.append(found)
    return out


def _synonym(name: str, known: tuple[str, ...]) -> str:
    """The name in `known` for the same kind of layer; "" for none."""
    for group in _SYNONYMS:
        if name in group:
            for other in group:
                if other in known:
                    return other
    return ""


def sliding_layers(f: Fields, layers: int, default: list[bool] | None) -> list[bool]:
    """Which layers slide, from `layer_types`; `default` when absent, None = the field is needed."""
    if not f.has("layer_types"):
        if default is None:
            raise f.fault("layer_types", "is missing")
        return default
    names = layer_names(f, "layer_types", layers, ("sliding_attention", "full_attention"))
    return [name == "sliding_attention" for name in names]


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
