"""Quantisations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.api import SpecError
from mathcore.quant.families import (
    CACHE_TYPES,
    CACHES,
    ENGINES,
    FAMILIES,
    KV_TYPES,
    LADDERS,
    family_of,
)
from mathcore.quant.formats import QUANTS
from mathcore.quant.names import canonical_quant, counterpart, did_you_mean, quant_advice
from mathcore.quant.weights import quant_fault, tensor_sizes
from tests.mathcore.quant.test_weights import dense

NAMES = sorted(QUANTS)


@pytest.mark.parametrize(
    ("text", "quant"),
    [
        ("q4_k_m", "Q4_K_M"),
        ("Q4-K-M", "Q4_K_M"),
        ("iq2 xxs", "IQ2_XXS"),
        ("awq", "AWQ"),
        ("mlx-4BIT", "MLX-4bit"),
        ("gptq_int4", "GPTQ-INT4"),
        ("mxfp4", "MXFP4"),
        ("Q9_K", None),
        ("", None),
    ],
)
def test_a_name_is_known_in_any_case_and_with_other_separators(
    text: str, quant: str | None
) -> None:
    assert canonical_quant(text) == quant


@given(name=st.sampled_from(NAMES), separator=st.sampled_from(["", "-", "_", ".", " "]))
def test_every_name_is_found_however_it_is_separated(name: str, separator: str) -> None:
    spelt = name.replace("_", separator).replace("-", separator)
    assert canonical_quant(spelt.lower()) == canonical_quant(spelt.upper()) == name
    assert did_you_mean(name)[0] == name


@pytest.mark.parametrize(
    ("text", "family", "first"),
    [
        ("Q4_KM_S", "", "Q4_K_M"),
        ("fp16", "gguf", "F16"),
        ("Q4_K", "gguf", "Q4_K_S"),
        ("4bit", "mlx", "MLX-4bit"),
        ("iq3xx", "", "IQ3_XXS"),
    ],
)
def test_a_slip_of_the_pen_finds_what_was_meant(text: str, family: str, first: str) -> None:
    found = did_you_mean(text, family)
    assert first in found
    assert len(found) <= 3
    assert {family_of(name) for name in found} <= ({family} if family else set(QUANTS.values()))


@given(text=st.text(max_size=200))
def test_nonsense_gets_no_advice_or_names_that_exist(text: str) -> None:
    assert set(did_you_mean(text)) <= set(QUANTS)


@pytest.mark.parametrize(
    ("text", "engine", "advice"),
    [
        ("Q4_K_M", "llama.cpp", ""),
        ("Q4_K_M", "", ""),
        ("q4_k_m", "llama.cpp", "did you mean Q4_K_M?"),
        (
            "mxfp4",
            "llama.cpp",
            "MXFP4 is for vllm, sglang or tgi; for llama.cpp or ollama there is MXFP4_MOE",
        ),
        (
            "NVFP4",
            "ollama",
            "NVFP4 is for vllm, sglang or tgi; for llama.cpp or ollama there is GGUF-NVFP4",
        ),
        ("Q8_0", "mlx", "Q8_0 is for llama.cpp or ollama; for mlx there is MLX-8bit"),
        (
            "Q4_K_M",
            "vllm",
            "Q4_K_M is for llama.cpp or ollama; for vllm, sglang or tgi there is AWQ",
        ),
        ("zzzz", "vllm", ""),
        ("AWQ", "no such engine", ""),
    ],
)
def test_advice_is_the_right_spelling_or_what_the_engine_has_instead(
    text: str, engine: str, advice: str
) -> None:
    assert quant_advice(text, engine) == advice


@given(name=st.sampled_from(NAMES), family=st.sampled_from(sorted(LADDERS)))
def test_what_another_family_has_instead_is_one_of_its_own(name: str, family: str) -> None:
    assert family_of(counterpart(name, family)) == family


def test_a_refusal_says_what_to_write_instead() -> None:
    assert quant_fault(dense(), "q4_k_m") == ("unknown quantisation q4_k_m: did you mean Q4_K_M?")
    assert quant_fault(dense(), "MXFP4", "gguf").endswith("there is MXFP4_MOE")
    assert "known are MLX-16bit, " in quant_fault(dense(), "zzzz", "mlx")
    with pytest.raises(SpecError, match="did you mean Q4_K_M"):
        tensor_sizes(dense(), "q4_k_m")


def test_engines_ladders_and_cache_types_have_one_owner_that_agrees_with_itself() -> None:
    assert tuple(FAMILIES) == ENGINES
    assert set(FAMILIES.values()) == set(LADDERS) == set(CACHE_TYPES) == set(CACHES)
    for family, tried in CACHES.items():
        assert set(tried) <= set(CACHE_TYPES[family]) <= set(KV_TYPES)
        assert {family_of(quant) for quant in LADDERS[family]} == {family}
