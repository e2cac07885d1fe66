"""Weights are llama.cpp's to the byte."""

import pytest

from mathcore import find_model, weigh


@pytest.mark.parametrize(
    ("quant", "size"),
    # llama.cpp's own quantiser on Llama-3.1-8B; Q4_K_M is also the published file's tensor sum.
    [("F16", 16061055232), ("Q8_0", 8532934912), ("Q6_K", 6588170496), ("Q5_K_M", 5725151488),
     ("Q4_K_M", 4912898304), ("Q4_0", 4653375744), ("Q4_K_S", 4684833024)],
)  # fmt: skip
def test_llama_3_1_8b_weighs_what_llama_cpp_writes(quant: str, size: int) -> None:
    spec = find_model("llama-3.1-8b")
    assert spec is not None
    assert weigh(spec, quant).total_bytes == size


@pytest.mark.parametrize(
    ("quant", "size"),
    # As above for SmolLM2-135M, whose rows of 576 are no whole number of K blocks;
    # less the 128-byte rope table real files of this model do not have.
    [("Q4_K_M", 103668480), ("Q6_K", 136597248), ("Q4_0", 89941248)],
)
def test_rows_that_are_no_whole_number_of_blocks_fall_back(quant: str, size: int) -> None:
    spec = find_model("smollm2-135m")
    assert spec is not None
    assert weigh(spec, quant).total_bytes == size


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("llama-2-7b", 6738415616), ("llama-2-13b", 13015864320), ("llama-2-70b", 68976648192),
     ("llama-3-8b", 8030261248), ("llama-3-70b", 70553706496), ("llama-3.1-405b", 405853388800),
     ("mistral-7b", 7241732096), ("qwen2.5-7b", 7615616512), ("qwen2.5-72b", 72706203648)],
)  # fmt: skip
def test_parameters_are_the_published_counts(name: str, parameters: int) -> None:
    spec = find_model(name)
    assert spec is not None
    assert spec.parameters == parameters


def test_a_tied_embedding_is_counted_once_in_ram_and_copied_to_a_gpu() -> None:
    spec = find_model("llama-3.2-1b")
    assert spec is not None
    weights = weigh(spec, "Q8_0")
    assert weights.device_bytes == weights.total_bytes
    untied = find_model("llama-3-8b")
    assert untied is not None
    heavy = weigh(untied, "Q8_0")
    assert (
        heavy.total_bytes - heavy.device_bytes == heavy.embedding_bytes == 128256 * 4096 // 32 * 34
    )
