"""Figures from logs and papers, each with where it was read, met by the catalogue's models."""

import pytest

from mathcore.api import find_model, weigh
from mathcore.engines.footprint import ContextShape
from mathcore.engines.llamacpp.cache import kv_bytes, state_bytes
from mathcore.engines.llamacpp.memory import cache_groups
from mathcore.model.spec import ModelSpec


def model(name: str) -> ModelSpec:
    found = find_model(name)
    assert found is not None, name
    return found


@pytest.mark.parametrize(
    ("name", "resident", "active"),
    [
        ("llama-2-7b", 6_738_415_616, 6_738_415_616),
        ("llama-2-70b", 68_976_648_192, 68_976_648_192),
        ("llama-3-8b", 8_030_261_248, 8_030_261_248),
        ("llama-3.1-405b", 405_853_388_800, 405_853_388_800),
        ("qwen2.5-72b", 72_706_203_648, 72_706_203_648),
        ("mixtral-8x7b", 46_702_792_704, 12_879_925_248),
        ("deepseek-v3", 671_026_419_200, 37_552_297_472),  # without its draft layer
    ],
)
def test_parameters_are_those_published(name: str, resident: int, active: int) -> None:
    spec = model(name)
    assert (spec.parameters, spec.active_parameters) == (resident, active)


# llama.cpp's own logs: DeepSeek from ggml-org/llama.cpp#11446 and ik_llama.cpp#259; states
# of Jamba and Qwen3.5 from llama_memory_recurrent; Gemma 3 from llama_kv_cache, both its caches.
@pytest.mark.parametrize(
    ("name", "context", "sequences", "kv_type", "cache", "state"),
    [
        ("deepseek-v3", 32_768, 1, "f16", 2_302_672_896, 0),
        ("deepseek-v3", 32_768, 1, "q8_0", 1_223_294_976, 0),
        ("deepseek-v3", 163_840, 1, "f16", 11_513_364_480, 0),
        ("qwen2.5-7b", 2_048, 1, "f16", 117_440_512, 0),
        ("llama-2-70b", 4_096, 8, "f16", 10_737_418_240, 0),
        ("gemma3:27b", 4_096, 1, "f16", 335_544_320 + 654_311_424, 0),
        ("gemma3:4b", 4_096, 1, "f16", 83_886_080 + 182_452_224, 0),
        ("jamba-v0.1", 8_192, 1, "f16", 134_217_728, 17_432_576),
        ("qwen3.5-2b", 262_144, 1, "f16", 3_221_225_472, 20_201_472),
        ("qwen3.5-2b", 65_536, 4, "f16", 3_221_225_472, 80_805_888),
    ],
)
def test_caches_and_states_are_those_logged(
    name: str, context: int, sequences: int, kv_type: str, cache: int, state: int
) -> None:
    groups = cache_groups(model(name))
    shape = ContextShape(context=context, sequences=sequences, kv_type=kv_type)
    assert (kv_bytes(groups, shape), state_bytes(groups, shape)) == (cache, state)


@pytest.mark.parametrize(
    ("name", "quant", "gib"),
    [
        ("llama-3.1-70b", "Q4_0", 37.22),
        ("llama-3.1-8b", "F16", 14.96),
        ("llama-3.1-8b", "Q4_K_M", 4.57),
        ("qwen3.5-2b", "Q8_0", 1.86),
    ],
)
def test_files_have_the_sizes_people_see(name: str, quant: str, gib: float) -> None:
    assert abs(weigh(model(name), quant).total_bytes / 2**30 - gib) < 0.006
