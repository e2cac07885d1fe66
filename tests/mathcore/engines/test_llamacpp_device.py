"""Compute buffers of cards and their host as logs print them, and what backends hold beside.

Logs: XiongjieDai/GPU-Benchmarks-on-LLM-Inference@aa72e0e (Meta-Llama-3-8B, 8192 tokens, no flash
attention, builds 2796 to 2843 on CUDA and Metal); LLamaSharp's thread (Qwen2.5-3B, 4096 tokens).
"""

import pytest

from mathcore.api import MIB, ContextShape, ModelSpec, find_model
from mathcore.engines.llamacpp.cache import kv_bytes
from mathcore.engines.llamacpp.device.backends import BACKENDS, RUNTIME_BYTES, Largest, beside_bytes
from mathcore.engines.llamacpp.device.compute import (
    NEWEST,
    PIPELINE_COPIES,
    Build,
    card_compute_bytes,
    cell_pad,
    host_compute_bytes,
)
from mathcore.engines.llamacpp.memory import cache_groups
from mathcore.engines.llamacpp.offload import Placing, card_of

OLD = Build(number=2824)
LOGGED = ContextShape(context=8192, flash=False, cell_pad=cell_pad(OLD, flash=False))


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


LLAMA = model("llama-3-8b")


def shown(size: int) -> float:
    """As the log prints it."""
    return round(size / MIB, 2)


def test_one_card_and_its_host_hold_what_the_log_says() -> None:
    assert shown(card_compute_bytes(LLAMA, LOGGED, OLD)) == 560.00
    assert shown(host_compute_bytes(LLAMA, LOGGED, OLD)) == 24.01
    assert shown(kv_bytes(cache_groups(LLAMA), LOGGED)) == 1024.00


@pytest.mark.parametrize("cards", [2, 4, 6, 8])
def test_cards_in_a_pipeline_keep_four_copies_of_their_inputs(cards: int) -> None:
    where = [card_of(i, 32, Placing(split=(1,) * cards)) for i in range(32)]
    said = []
    for card in range(cards):
        own = [i for i in range(32) if where[i] == card]
        layers = (own[0], own[-1] + 1)
        said.append(shown(card_compute_bytes(LLAMA, LOGGED, OLD, layers, PIPELINE_COPIES)))
    assert said == [*[640.01] * (cards - 1), 640.02]
    assert shown(host_compute_bytes(LLAMA, LOGGED, OLD, PIPELINE_COPIES)) == 72.02


def test_an_old_build_keeps_room_for_the_logits_of_a_whole_micro_batch() -> None:
    qwen, old = model("qwen2.5-3b"), Build(number=4000)
    shape = ContextShape(context=4096, flash=False, cell_pad=cell_pad(old, flash=False))
    assert shown(card_compute_bytes(qwen, shape, old)) == 300.75
    assert shown(host_compute_bytes(qwen, shape, old)) == 12.01
    today = ContextShape(context=4096)
    assert card_compute_bytes(qwen, today) < 200 * MIB


def test_a_context_shorter_than_a_micro_batch_makes_an_old_build_s_batch_shorter() -> None:
    old = Build(number=5863)
    short = ContextShape(context=128, cell_pad=cell_pad(old, flash=True))
    long = ContextShape(context=512, cell_pad=cell_pad(old, flash=True))
    assert 3 < card_compute_bytes(LLAMA, long, old) / card_compute_bytes(LLAMA, short, old) < 5


def test_cells_come_in_32s_without_flash_attention_until_b6970() -> None:
    assert [cell_pad(Build(number=n), flash=False) for n in (5863, 6118, 6970)] == [32, 32, 256]
    assert cell_pad(Build(number=5863), flash=True) == cell_pad(NEWEST, flash=False) == 256


@pytest.mark.parametrize("name", ["qwen3-30b-a3b", "gemma-3-27b", "gpt-oss-20b", "qwen3.5-27b"])
def test_the_last_of_two_cards_holds_the_logits(name: str) -> None:
    spec, shape = model(name), ContextShape(context=8192)
    half, count = len(spec.layers) // 2, len(spec.layers) - spec.draft_layers
    first = card_compute_bytes(spec, shape, Build(number=5863), (0, half))
    last = card_compute_bytes(spec, shape, Build(number=5863), (half, count))
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
