"""Every known model is described by its config, and found by the names people type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.api import find_model, model_names, weigh
from mathcore.catalogue.models import (
    PUBLISHED,
    Row,
    canonical,
    find_row,
    row_spec,
    rows,
    search,
)
from mathcore.model.cache_size import cache_bytes, growth_bytes
from mathcore.quant.weights import QUANTS
from scripts.lab.catalogue_match import match_model

NAMES = [row.name for row in rows()]


def row(name: str) -> Row:
    found = find_row(name)
    assert found is not None, name
    return found


def test_there_are_three_hundred_models_of_every_wanted_family() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 300
    families = (
        "llama-2 llama-3.1 llama-3.2 llama-3.3 llama-4 mistral mixtral codestral qwen2.5 qwen3- "
        "qwen3-next qwen3.5 gemma-2 gemma-3 gemma-4 phi-4 deepseek-v2 deepseek-v3 deepseek-r1 "
        "kimi-k2 kimi-linear glm-4.5 glm-5 minimax-m2 gpt-oss granite-4.0-h nemotron-h "
        "nemotron-3 falcon-h1 mamba lfm2 smollm2 olmo-2"
    )
    for family in families.split():
        assert any(name.startswith(family) for name in NAMES), family


@pytest.mark.parametrize("name", NAMES)
def test_the_config_gives_the_published_number_of_parameters(name: str) -> None:
    found = row(name)
    spec = row_spec(found)
    assert abs(spec.parameters / found.parameters - 1) < 0.01
    assert 0 < spec.active_parameters <= spec.parameters
    assert spec.context_length > 0
    assert found.published in PUBLISHED
    assert found.native in ("", *QUANTS)
    assert found.repo.count("/") == 1
    assert growth_bytes(spec, 1024) <= cache_bytes(spec, 1024)


def test_no_name_means_two_models() -> None:
    seen: dict[str, str] = {}
    for each in rows():
        for name in (each.name, each.repo, *each.aliases):
            assert seen.setdefault(canonical(name), each.name) == each.name, name


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("llama3.1:8b", "llama-3.1-8b"),
        ("llama-3.1-8b-instruct", "llama-3.1-8b"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("Llama 3.1 8B", "llama-3.1-8b"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama-3-8b"),
        ("qwen3:32b", "qwen3-32b"),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "qwen2.5-coder-7b"),
        ("gemma3:27b", "gemma-3-27b"),
        ("google/gemma-3-27b-it", "gemma-3-27b"),
        ("microsoft/phi-4", "phi-4"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-v0.3"),
        ("mistral", "mistral-7b-v0.3"),
        ("deepseek-r1:70b", "deepseek-r1-distill-llama-70b"),
        ("smollm2_135m", "smollm2-135m"),
    ],
)
def test_a_model_is_found_by_the_names_people_type(typed: str, meant: str) -> None:
    assert row(typed).name == meant


@pytest.mark.parametrize("typed", ["", "llama", "llama-9b", "llama-3.1-8b-awq", "../llama-2-7b/x"])
def test_what_is_not_known_is_not_guessed(typed: str) -> None:
    assert find_row(typed) is None


def test_every_alias_leads_to_a_model() -> None:
    names = model_names()
    assert names == sorted(names)
    assert all(find_row(name) is not None for name in names)


def test_facts_of_three_models_are_as_published() -> None:
    """Real files: Llama-3.1-8B Q4_K_M is 4,912,898,304 bytes of tensors, Llama-2-7B's 256 less."""
    llama = find_model("llama-3.1-8b")
    assert llama is not None
    assert weigh(llama, "Q4_K_M").total_bytes == 4_912_898_304
    assert growth_bytes(llama, 1) == 131_072  # 2 x 32 layers x 8 heads x 128 x 2 bytes
    gemma = find_model("gemma-3-27b")
    assert gemma is not None
    assert sum(layer.kind == "full" for layer in gemma.layers) == 10  # every sixth of 62
    phi = find_model("phi-4")
    assert phi is not None
    assert (len(phi.layers), phi.hidden, phi.vocab) == (40, 5120, 100_352)


def test_a_search_holds_every_word() -> None:
    assert {found.name for found in search("qwen2.5 coder 14b")} == {"qwen2.5-coder-14b"}
    assert search("llama zebra") == []
    assert len(search("")) == len(NAMES)


@pytest.mark.parametrize(
    ("name", "params_b", "meant"),
    [
        # As benchmarks write them: a file, a hub's name, llama-bench's own words.
        ("Mistral-Small-3.1-24B-Instruct-2503-UD-Q4_K_XL.gguf", 23.572, "mistral-small-3.1-24b"),
        ("llama-2-7b.Q4_0.gguf", 6.738, "llama-2-7b"),
        ("llama 8B", 8.03, "llama-3.1-8b"),
        ("llama 70B", 70.55, "llama-3-70b"),
        ("shisa-v2-llama3.1-8b.i1-Q4_K_M.gguf", 8.03, "llama-3.1-8b"),
        ("Llama 3.2 1B Instruct", 1.498, "llama-3.2-1b"),  # its tied table counted twice
        ("nvidia/Qwen3-32B-NVFP4", 0, "qwen3-32b"),
        ("Qwen/Qwen3-0.6B-GGUF", 1, "qwen3-0.6b"),
        ("Qwen2.5 14B Instruct", 14.77, "qwen2.5-14b"),
        ("Llama 3.2:3b", 0, "llama-3.2-3b"),
        ("DeepSeek-R1-Distill-Qwen-7B-Q4_K_M.gguf", 0, "deepseek-r1-distill-qwen-7b"),
        ("Qwen3-30B-A3B-UD-Q4_K_XL.gguf", 30.532, "qwen3-30b-a3b"),
        (
            "Qwen3-235B-A22B-Instruct-2507-UD-Q3_K_XL-00001-of-00003.gguf",
            235.094,
            "qwen3-235b-a22b-2507",
        ),
        ("qwen35moe 35B.A3B", 35.51, "qwen3.5-35b-a3b"),  # with its draft layers
        ("qwen3-coder-next:Q4_K_M", 0, "qwen3-coder-next"),
        ("Jackrong/DeepSeek-V4-Pro-Qwen3.5-9B-MTP-GGUF", 9, "qwen3.5-9b"),
    ],
)
def test_a_benchmark_s_model_is_matched(name: str, params_b: float, meant: str) -> None:
    assert match_model(name, params_b) == meant


@pytest.mark.parametrize(
    ("name", "params_b"),
    [
        ("z-lab/Qwen3-32B-DFlash", 2),
        ("Tess-4-27B", 0),
        ("qwen3-asr", 0),
        ("", 0),
        ("llama", 0),
        ("facebook/opt-6.7b", 0),
        ("llama 13B", 99.5),
        ("Qwen3-9B", 9),
    ],
)
def test_a_model_that_is_not_there_is_not_matched(name: str, params_b: float) -> None:
    assert match_model(name, params_b) == ""


@given(st.text(max_size=400), st.floats(0, 2000))
def test_no_name_breaks_the_match(name: str, params_b: float) -> None:
    assert match_model(name, params_b) in {"", *NAMES}
    assert find_row(name) is None or find_row(name) in rows()


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gemma-3-4b", "qwen3-4b"])
@given(tokens=st.integers(1, 200_000), more=st.integers(1, 200_000))
def test_more_tokens_never_cost_less_cache(name: str, tokens: int, more: int) -> None:
    spec = find_model(name)
    assert spec is not None
    assert cache_bytes(spec, tokens) <= cache_bytes(spec, tokens + more)
