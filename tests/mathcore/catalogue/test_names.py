"""Names as people type them: a tag, a repository, a hub's page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.api import Query, find_model, plan, weigh
from mathcore.catalogue.models import rows
from mathcore.catalogue.names import MAX_NAME, find_named, parse_named
from mathcore.quant.formats import QUANTS
from mathcore.quant.ladder import ladder, nats_of
from mesh.edge.planning import what_ifs

TYPED = [
    # Ollama's tags
    ("llama3.1:8b", "llama-3.1-8b", "", ""),
    ("llama3.1:8b-instruct-q8_0", "llama-3.1-8b", "Q8_0", "gguf"),
    ("llama3.1:8b-instruct-q4_K_M", "llama-3.1-8b", "Q4_K_M", "gguf"),
    ("llama3.1:8b-instruct-fp16", "llama-3.1-8b", "F16", "gguf"),
    ("gemma3:27b-it-qat", "gemma-3-27b", "Q4_0", "gguf"),
    ("qwen3:30b-a3b-instruct-2507-q4_K_M", "qwen3-30b-a3b-2507", "Q4_K_M", "gguf"),
    ("deepseek-r1:32b-qwen-distill-q4_K_M", "deepseek-r1-distill-qwen-32b", "Q4_K_M", "gguf"),
    ("mistral:7b-instruct-v0.3-q4_K_M", "mistral-7b-v0.3", "Q4_K_M", "gguf"),
    ("gpt-oss:20b", "gpt-oss-20b", "", ""),
    # GGUF repositories, with and without a type
    ("hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M", "llama-3.2-3b", "Q4_K_M", "gguf"),
    ("hf.co/unsloth/Qwen3-30B-A3B-GGUF:UD-Q4_K_XL", "qwen3-30b-a3b", "Q4_K_M", "gguf"),
    ("bartowski/google_gemma-3-27b-it-GGUF:IQ3_XXS", "gemma-3-27b", "IQ3_XXS", "gguf"),
    ("unsloth/Qwen3-30B-A3B-Instruct-2507-GGUF", "qwen3-30b-a3b-2507", "", "gguf"),
    ("mradermacher/Llama-3.3-70B-Instruct-i1-GGUF", "llama-3.3-70b", "", "gguf"),
    ("unsloth/gpt-oss-20b-GGUF:F16", "gpt-oss-20b", "MXFP4_MOE", "gguf"),
    ("https://huggingface.co/Qwen/Qwen3-8B-GGUF", "qwen3-8b", "", "gguf"),
    # MLX
    ("mlx-community/Qwen3-8B-4bit", "qwen3-8b", "MLX-4bit", "mlx"),
    ("mlx-community/Qwen3-30B-A3B-4bit-DWQ", "qwen3-30b-a3b", "MLX-4bit", "mlx"),
    ("mlx-community/gpt-oss-20b-MXFP4-Q8", "gpt-oss-20b", "MLX-mxfp4-q8", "mlx"),
    ("mlx-community/Llama-3.3-70B-Instruct-bf16", "llama-3.3-70b", "MLX-16bit", "mlx"),
    ("lmstudio-community/Qwen3-8B-MLX-4bit", "qwen3-8b", "MLX-4bit", "mlx"),
    # safetensors
    ("Qwen/Qwen3-32B-AWQ", "qwen3-32b", "AWQ", "safetensors"),
    ("hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4", "llama-3.1-70b", "AWQ", "safetensors"),
    ("cyankiwi/Qwen3-8B-AWQ-4bit", "qwen3-8b", "AWQ", "safetensors"),
    ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "qwen2.5-7b", "GPTQ-INT4", "safetensors"),
    ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int8", "qwen2.5-72b", "GPTQ-INT8", "safetensors"),
    ("Qwen/Qwen3-30B-A3B-FP8", "qwen3-30b-a3b", "FP8-BLOCK", "safetensors"),
    ("RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", "llama-3.1-8b", "FP8-ROW", "safetensors"),
    ("neuralmagic/Meta-Llama-3.1-8B-Instruct-FP8", "llama-3.1-8b", "FP8", "safetensors"),
    ("nvidia/DeepSeek-R1-0528-NVFP4", "deepseek-r1-0528", "NVFP4", "safetensors"),
    ("RedHatAI/Llama-3.3-70B-Instruct-quantized.w4a16", "llama-3.3-70b", "W4A16", "safetensors"),
    ("unsloth/Llama-3.3-70B-Instruct-bnb-4bit", "llama-3.3-70b", "NF4-DQ", "safetensors"),
    ("unsloth/DeepSeek-V3-bf16", "deepseek-v3", "HF-BF16", "safetensors"),
    # a repository of its own is known as it is
    ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b", "", ""),
]


@pytest.mark.parametrize(("typed", "name", "quant", "family"), TYPED)
def test_a_name_says_the_model_and_the_type(typed: str, name: str, quant: str, family: str) -> None:
    found = parse_named(typed)
    assert found is not None
    assert (found.row.name, found.quant, found.family) == (name, quant, family)
    spec = find_named(typed)
    assert spec is not None
    assert (spec.name, spec.quant, spec.family) == (name, quant, family)


def test_a_named_type_is_what_is_planned_and_weighed() -> None:
    spec = find_named("llama3.1:8b-instruct-q8_0")
    assert spec is not None
    cards = list(what_ifs(["RTX 4090"]).values())
    placed = plan(Query(model=spec, model_ref="llama3.1:8b-instruct-q8_0"), cards).placements[0]
    assert placed.quant == "Q8_0"
    plain = find_model("llama-3.1-8b")
    assert plain is not None
    assert placed.footprint.weights_bytes < weigh(plain, "Q8_0").total_bytes


def test_a_repository_of_gguf_is_tried_at_its_types_alone() -> None:
    spec = find_named("unsloth/Qwen3-8B-GGUF")
    assert spec is not None
    assert ladder(spec, "llama.cpp")[0] == "F16"
    assert ladder(spec, "vllm") == ladder(spec, "mlx") == ()


def test_a_model_trained_for_four_bits_loses_nothing_at_them() -> None:
    spec = find_named("gemma3:27b-it-qat")
    assert spec is not None
    assert nats_of(spec, "Q4_0") == 0.0
    repo = find_named("unsloth/gemma-3-27b-it-qat-GGUF")
    assert repo is not None
    assert ladder(repo, "ollama")[0] == "Q4_0"
    plain = find_model("gemma-3-27b")
    assert plain is not None
    assert nats_of(plain, "Q4_0") > 0.05


def test_what_is_taken_for_something_else_is_said() -> None:
    spec = find_named("hf.co/unsloth/Qwen3-30B-A3B-GGUF:UD-Q4_K_XL")
    assert spec is not None
    assert spec.notes == ("UD-Q4_K_XL is a mix of its maker's own, planned as Q4_K_M",)
    other = find_named("unsloth/gpt-oss-20b-GGUF:BF16")
    assert other is not None
    assert "MXFP4 all the same" in other.notes[0]


def test_an_engine_that_does_not_read_it_is_refused_with_those_that_do() -> None:
    spec = find_named("mlx-community/Qwen3-8B-4bit")
    assert spec is not None
    cards = list(what_ifs(["RTX 4090"]).values())
    (refusal,) = plan(Query(model=spec, model_ref="x"), cards).refusals
    assert refusal.code == "NoFit(backend)"
    assert refusal.text.startswith("MLX-4bit needs mlx, which it lacks")


@pytest.mark.parametrize("typed", ["no-such-model-q4_0", "q4_0", "", ":", "gguf", "x" * 5000])
def test_a_model_nobody_knows_stays_unknown(typed: str) -> None:
    assert find_named(typed) is None


ROWS = rows()


@given(
    row=st.sampled_from(ROWS),
    owner=st.sampled_from(["", "unsloth/", "hf.co/bartowski/", "https://huggingface.co/a/"]),
    ending=st.sampled_from(["-GGUF", "-GGUF:Q5_K_M", "-Instruct-GGUF:q8_0", "-i1-GGUF"]),
)
def test_every_model_of_the_catalogue_is_found_in_a_gguf_repository(
    row: object, owner: str, ending: str
) -> None:
    found = parse_named(f"{owner}{row.name}{ending}")  # type: ignore[attr-defined]
    assert found is not None
    assert found.row is row
    assert found.family == "gguf"


@given(text=st.text(max_size=MAX_NAME))
def test_no_text_is_too_strange(text: str) -> None:
    found = parse_named(text)
    assert found is None or found.quant in ("", *QUANTS)
