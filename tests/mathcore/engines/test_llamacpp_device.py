"""Compute buffers of cards and their host as logs print them, and what backends hold beside.

Logs: XiongjieDai/GPU-Benchmarks-on-LLM-Inference@aa72e0e (Meta-Llama-3-8B, 8192 tokens, no flash
attention, builds 2796 to 2843 on CUDA and Metal); LLamaSharp's thread (Qwen2.5-3B, 4096 tokens).
"""

import pytest

from mathcore.api import MIB, ContextShape, ModelSpec, find_model, weigh
from mathcore.engines.llamacpp.cache import kv_bytes
from mathcore.engines.llamacpp.device.backends import BACKENDS, RUNTIME_BYTES, Largest, beside_bytes
from mathcore.engines.llamacpp.device.builds import cell_pad
from mathcore.engines.llamacpp.memory import (
    PIPELINE_COPIES,
    cache_groups,
    compute_bytes,
    host_compute_bytes,
)
from mathcore.engines.llamacpp.offload import ALL_LAYERS, Placing, Sums, placed_footprint

OLD = 2824
LOGGED = ContextShape(context=8192, flash=False, cell_pad=cell_pad(OLD, flash=False), build=OLD)


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


LLAMA = model("llama-3-8b")


def shown(size: int) -> float:
    """As the log prints it."""
    return round(size / MIB, 2)


def test_one_card_and_its_host_hold_what_the_log_says() -> None:
    assert shown(compute_bytes(LLAMA, LOGGED, card=True)) == 560.00
    assert shown(host_compute_bytes(LLAMA, LOGGED)) == 24.01
    assert shown(kv_bytes(cache_groups(LLAMA), LOGGED)) == 1024.00


# Weights, cache and compute buffer of each card in MiB, as 3090_2_v3 and 3090_4_v3 print them
# (Meta-Llama-3-8B Q4_K - Medium, build 2833, 33 of 33 layers on the cards).
LOGS = [
    [(2113.28, 544.00, 640.01), (2290.21, 480.00, 640.02)],
    [
        (1130.62, 288.00, 640.01),
        (982.66, 256.00, 640.01),
        (982.66, 256.00, 640.01),
        (1307.55, 224.00, 640.02),
    ],
]
ROUNDED = 3 * 0.005  # three numbers to two decimals


@pytest.mark.parametrize("log", LOGS, ids=["two cards", "four cards"])
def test_a_plan_on_several_cards_needs_on_each_what_its_log_prints(
    log: list[tuple[float, float, float]],
) -> None:
    weights, split = weigh(LLAMA, "Q4_K_M"), (1,) * len(log)
    need = placed_footprint(LLAMA, weights, LOGGED, Placing(split=split))
    cards = [(size - RUNTIME_BYTES["cuda"]) / MIB for size in need.cards]
    assert cards == pytest.approx([sum(card) for card in log], abs=ROUNDED)
    compute = sum(card[2] for card in log)
    assert need.compute_bytes / MIB == pytest.approx(compute, abs=0.005 * len(log))
    # The input table, the logits of one token, the host's own buffer; and the process.
    assert need.host_bytes / MIB == pytest.approx(281.81 + 0.49 + 72.02 + 150, abs=ROUNDED)


def test_cards_in_a_pipeline_keep_four_copies_of_their_inputs() -> None:
    """8,192 cells x 512 tokens x 4 bytes of mask, 4,096 x 512 x 4 of activations, 512 positions:
    24.002 MiB, three times more. A card by itself reuses the 8 MiB of the activations."""
    alone = compute_bytes(LLAMA, LOGGED, card=True, layers=(0, 17))
    piped = compute_bytes(LLAMA, LOGGED, card=True, layers=(0, 17), copies=PIPELINE_COPIES)
    assert piped - alone == 3 * (16 * MIB + 8 * MIB + 512 * 4) + 8 * MIB


def test_the_newest_build_copies_a_mask_of_16_bits() -> None:
    """A log of September 2026: 131,072 cells of q4_0 on two cards of 12 and 6 GB took 808.35 MiB a
    card, and 408.09 when llama.cpp tried again without a pipeline."""
    spec = model("qwen3-coder-30b-a3b")
    shape = ContextShape(context=131_072, kv_type="q4_0")
    alone, piped = (
        compute_bytes(spec, shape, card=True, layers=(0, 36), copies=copies) for copies in (1, 4)
    )
    assert shown(piped - alone) == pytest.approx(808.35 - 408.09, abs=0.011)


def test_what_lies_in_host_memory_ends_the_pipeline() -> None:
    sums = Sums(LLAMA, weigh(LLAMA, "Q4_K_M"), ContextShape(context=8192))
    assert sums.copies(2, ALL_LAYERS, 0) == sums.copies(2, 33, 0) == PIPELINE_COPIES
    assert sums.copies(2, 32, 0) == sums.copies(2, ALL_LAYERS, 1) == 1
    assert sums.copies(1, ALL_LAYERS, 0) == 1
    inputs = 8 * MIB + 8192 * 512 * 2
    piped, whole = sums.computes([0, 17, 33], ALL_LAYERS, 0), sums.computes([1, 17, 33], 32, 0)
    assert piped[1] - whole[1] > 3 * inputs


def test_an_old_build_keeps_room_for_the_logits_of_a_whole_micro_batch() -> None:
    qwen, old = model("qwen2.5-3b"), 4000
    shape = ContextShape(context=4096, flash=False, cell_pad=cell_pad(old, flash=False), build=old)
    assert shown(compute_bytes(qwen, shape, card=True)) == 300.75
    assert shown(host_compute_bytes(qwen, shape)) == 12.01
    assert compute_bytes(qwen, ContextShape(context=4096), card=True) < 200 * MIB


def test_a_context_shorter_than_a_micro_batch_makes_an_old_build_s_batch_shorter() -> None:
    short, long = (
        compute_bytes(LLAMA, ContextShape(context=context, build=5863), card=True)
        for context in (128, 512)
    )
    assert 3 < long / short < 5


def test_cells_come_in_32s_without_flash_attention_until_b6970() -> None:
    assert [cell_pad(build, flash=False) for build in (5863, 6118, 6970)] == [32, 32, 256]
    assert cell_pad(5863, flash=True) == cell_pad(0, flash=False) == 256


@pytest.mark.parametrize("name", ["qwen3-30b-a3b", "gemma-3-27b", "gpt-oss-20b", "qwen3.5-27b"])
def test_the_last_of_two_cards_holds_the_logits(name: str) -> None:
    spec, shape = model(name), ContextShape(context=8192, build=5863)
    half, count = len(spec.layers) // 2, len(spec.layers) - spec.draft_layers
    first = compute_bytes(spec, shape, card=True, layers=(0, half))
    last = compute_bytes(spec, shape, card=True, layers=(half, count + 1))
    assert 0 < first < last


def test_vulkan_keeps_an_upload_buffer_as_large_as_the_largest_tensor() -> None:
    largest = Largest(LLAMA, "Q4_K_M")
    assert shown(largest.tensor_bytes) == 410.98  # output.weight in Q6_K
    assert largest.matrix_numbers == 14336 * 4096
    assert beside_bytes("vulkan", largest) == RUNTIME_BYTES["vulkan"] + largest.tensor_bytes
    assert beside_bytes("rocm", largest) == 165 * MIB + (2 * 14336 * 4096 + 80 * MIB) // 2


def test_a_tied_table_counts_for_its_copy_and_an_untied_one_does_not() -> None:
    tied, loose = model("gemma-3-27b"), model("qwen3-32b")
    table = tied.vocab * tied.hidden
    assert Largest(tied, "F16").tensor_bytes == 2 * table
    assert Largest(loose, "Q8_0").tensor_bytes == loose.vocab * loose.hidden * 34 // 32
    assert Largest(loose, "Q8_0").table_bytes == 0
    assert Largest(loose, "F16").table_bytes == 2 * loose.vocab * loose.hidden


def test_every_backend_has_a_figure() -> None:
    assert set(RUNTIME_BYTES) == set(BACKENDS)
    largest = Largest(LLAMA, "Q4_K_M")
    assert all(beside_bytes(backend, largest) >= 0 for backend in BACKENDS)
