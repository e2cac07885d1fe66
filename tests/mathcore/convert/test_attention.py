"""Every attention family: refused by the name of a bad field, and proven by real llama.cpp.

A config is converted, written as a GGUF with holes for weights and loaded in the engine, which
refuses a missing, misnamed or misshapen tensor; then its caches are compared with ours.
"""

from pathlib import Path

import pytest

from mathcore.api import MIB, ModelSpec, SpecError, spec_from_config
from mathcore.formats.config import convert
from mathcore.formats.gguf import spec_from_gguf
from providers.sources.gguf import read_header
from tests.mathcore.convert.attention_configs import CONFIGS
from tests.support.llamacpp_oracle import Breakdown, ask
from tests.support.sparse_gguf import write_gguf

CONTEXT, MICRO_BATCH, PAD = 8192, 512, 256
# Fields the model's own library (or llama.cpp's converter) fills when they are absent.
DEFAULTED = frozenset(
    "add_qkv_bias add_swa_attention_sink_bias attention_bias attention_k_eq_v attn_config bias "
    "attention_other_setting enable_moe_block gating max_context_length "
    "num_attention_heads_per_layer num_shared_experts head_dim hidden_size_per_layer_input "
    "layer_types "
    "max_position_embeddings mlp_bias moe_num_shared_experts multi_query multi_query_attention "
    "new_decoder_architecture num_global_key_value_heads num_key_value_heads "
    "partial_rotary_factor qk_layernorm qkv_bias rope_scaling rotary_dim rotary_pct "
    "sliding_window_pattern tie_word_embeddings use_double_wide_mlp use_head_wise_attn_gate "
    "use_moe_router_bias use_parallel_residual use_qk_norm use_sliding_window".split()
)
# Fields of our configs their family does not have or llama.cpp does not look at.
UNREAD = {
    "bailing_moe": ("architectures",),  # tells two generations apart
    "cohere2_moe": ("moe_intermediate_size",),
    "falcon": ("num_key_value_heads", "head_dim", "intermediate_size"),
    "gemma4_text": ("num_experts_per_tok",),
    "mistral": ("sliding_window",),
    "phi-msft": ("n_positions",),
    "qwen": ("head_dim", "max_position_embeddings"),
    "qwen2": ("sliding_window",),
    "smallthinker": ("intermediate_size",),
    "exaone4": ("sliding_window",),  # filled by llama.cpp where that model slides
    "minicpm": ("num_experts_per_tok",),  # says that there are experts
}


OBJECTS = ("rope_scaling", "attention_other_setting", "attn_config")  # an empty one says nothing


def refusal(config: dict[str, object]) -> str:
    """The field a config is refused for, "" when it is read."""
    try:
        spec_from_config(config, "x")
    except SpecError as error:
        return error.field
    return ""


def unread(name: str, field: str) -> bool:
    return field in UNREAD.get(str(CONFIGS[name].get("model_type")), ())


@pytest.mark.parametrize("name", list(CONFIGS))
def test_a_missing_field_is_named_unless_the_library_fills_it(name: str) -> None:
    for field in CONFIGS[name]:
        config = {key: value for key, value in CONFIGS[name].items() if key != field}
        found = refusal(config)
        if not unread(name, field):
            assert found == field or (not found and field in DEFAULTED), field


@pytest.mark.parametrize("name", list(CONFIGS))
def test_a_field_of_the_wrong_type_is_named(name: str) -> None:
    for field in CONFIGS[name]:
        found = refusal({**CONFIGS[name], field: {"no": "such type"}})
        assert found.startswith(field) or unread(name, field) or field in OBJECTS, field


def cells(spec: ModelSpec) -> list[int]:
    """Cells each layer keeps of one sequence: llama.cpp's rule, with a batch in flight."""
    out: list[int] = []
    for layer in spec.layers:
        near = -(-min(CONTEXT, layer.window + MICRO_BATCH) // PAD) * PAD
        out.append(near if layer.window else CONTEXT)
    return out


def loaded(name: str, folder: Path) -> tuple[Path, Breakdown]:
    path = folder / "model.gguf"
    size = write_gguf(path, convert(CONFIGS[name]))
    found = ask(path, context=CONTEXT, ubatch=MICRO_BATCH)
    assert found.model_bytes == size
    return path, found


@pytest.mark.parametrize("name", list(CONFIGS))
def test_llama_cpp_loads_it_and_keeps_what_we_say(name: str, tmp_path: Path) -> None:
    path, found = loaded(name, tmp_path)
    spec = spec_from_config(CONFIGS[name], "x")
    assert found.parameters == sum([t.columns * t.rows for t in spec.tensors])
    kept = [
        2 * n * (layer.k_elements + layer.v_elements)
        for n, layer in zip(cells(spec), spec.layers, strict=True)
    ]
    assert found.cache_mib == pytest.approx(sum(kept) / MIB, abs=0.01 * len(found.caches))
    read = spec_from_gguf(read_header(path), "x")
    assert read.layers == spec.layers
    assert read.active_parameters == spec.active_parameters


def test_draft_layers_are_counted_when_asked_for_and_keep_nothing(tmp_path: Path) -> None:
    config = {**CONFIGS["glm4_moe"], "num_nextn_predict_layers": 1}
    spec = spec_from_config(config, "x", draft=True)
    assert spec.draft_layers == 1
    assert spec_from_config(config, "x").draft_layers == 0
    path = tmp_path / "draft.gguf"
    size = write_gguf(path, convert(config, draft=True))
    assert spec_from_gguf(read_header(path), "x").layers == spec.layers
    found = ask(path, context=CONTEXT)
    # The engine leaves the draft layers out of a plain context.
    assert found.caches[0].layers == len(spec.layers) - 1
    assert found.model_bytes <= size
