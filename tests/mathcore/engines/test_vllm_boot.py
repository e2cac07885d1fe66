"""What a boot of vLLM would print, worked out before it; and how it may split a model."""

from dataclasses import replace

import pytest

from mathcore.api import GIB, ModelSpec, find_model, weigh
from mathcore.engines.options import EngineOptions
from mathcore.engines.vllm.boot import Boot, boot, boot_footprint, longest, stage_weights
from mathcore.engines.vllm.cache import pages
from mathcore.engines.vllm.memory import HOPPER
from mathcore.engines.vllm.start import even_layers, rank_fault, splits, start_of

H100 = 85_017_493_504  # bytes a driver reports of an H100 80GB (Apron)
A100 = 85_093_777_408
RTX_4090 = 25_250_627_584
NONE = EngineOptions()


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


def on_h100(
    name: str, quant: str, split: tuple[int, int] = (1, 1), options: EngineOptions = NONE
) -> Boot:
    spec = model(name)
    start = start_of(options, H100, "H100", *split)
    return boot(spec, weigh(spec, quant), start, options, 8192, "auto", HOPPER, H100)


def test_large_cards_but_a100s_take_larger_batches() -> None:
    large = start_of(NONE, H100, "H100 80GB")
    assert (large.batched_tokens, large.max_num_seqs) == (8192, 1024)
    for size, name in ((A100, "A100 80GB"), (RTX_4090, "RTX 4090")):
        usual = start_of(NONE, size, name)
        assert (usual.batched_tokens, usual.max_num_seqs) == (2048, 256)
    told = start_of(
        EngineOptions(max_num_seqs=16, max_num_batched_tokens=4096, memory_permille=850), H100, ""
    )
    assert (told.batched_tokens, told.max_num_seqs, told.utilisation_permille) == (4096, 16, 850)


def test_the_terms_of_a_boot_sum_up_to_what_it_requests() -> None:
    found = on_h100("llama-3.1-8b", "HF-BF16", options=EngineOptions(memory_permille=900))
    (stage,) = found.stages
    assert found.requested_bytes == H100 * 900 // 1000
    assert stage.held_bytes + found.cache_bytes == found.requested_bytes
    assert found.blocks == found.cache_bytes // (16 * 131_072)  # 128 KiB a token
    assert found.shown_tokens == found.blocks * 16
    assert found.sequences == found.blocks // 512  # requests of 8192 tokens
    assert longest(model("llama-3.1-8b"), found) == found.shown_tokens


def test_fewer_graphs_and_smaller_batches_leave_more_cache() -> None:
    usual = on_h100("llama-3.1-8b", "HF-BF16")
    for options in (
        EngineOptions(max_num_seqs=16),
        EngineOptions(max_num_batched_tokens=2048),
        EngineOptions(enforce_eager=True),
    ):
        assert on_h100("llama-3.1-8b", "HF-BF16", options=options).cache_bytes > usual.cache_bytes


def test_no_more_requests_are_served_than_it_is_told() -> None:
    found = on_h100("llama-3.1-8b", "HF-BF16", options=EngineOptions(max_num_seqs=16))
    assert found.concurrency > 16 == found.sequences


@pytest.mark.parametrize(
    ("name", "ranks", "fault"),
    [
        ("llama-3.1-8b", 4, ""),
        ("llama-3.1-8b", 3, "32 heads do not divide by 3"),
        ("llama-3.1-8b", 16, ""),  # KV heads copied to two ranks each
        ("qwen2.5-14b", 3, "40 heads do not divide by 3"),
        ("phi-4", 5, ""),  # 40 heads, 10 KV heads, 17,920 wide
        ("phi-4", 8, "10 KV heads neither divide by 8 nor into it"),
        ("qwen3.5-27b", 3, "4 KV heads neither divide by 3 nor into it"),
        ("deepseek-v3", 8, ""),
        ("gpt-oss-20b", 3, "64 heads do not divide by 3"),
        ("smollm2-135m", 3, ""),  # 9 heads, 3 KV heads
    ],
)
def test_heads_and_widths_decide_over_how_many_cards_layers_split(
    name: str, ranks: int, fault: str
) -> None:
    assert rank_fault(model(name), ranks) == fault


def test_three_and_six_cards_become_a_pipeline_where_heads_do_not_divide() -> None:
    llama = model("llama-3.1-8b")
    assert (1, 3) in splits(llama, NONE, 3)
    assert (3, 1) not in splits(llama, NONE, 3)
    assert [split for split in splits(llama, NONE, 6) if split[0] * split[1] == 6] == [
        (2, 3),
        (1, 6),
    ]
    assert splits(llama, EngineOptions(tensor_parallel=2, pipeline_parallel=3), 8) == [(2, 3)]
    assert splits(llama, EngineOptions(tensor_parallel=3), 8) == []


@pytest.mark.parametrize("stages", [2, 3, 6])
def test_a_stage_holds_its_layers_and_their_cache_alone(stages: int) -> None:
    found = on_h100("llama-3.3-70b", "FP8", (1, stages))
    spec = model("llama-3.3-70b")
    weights = weigh(spec, "FP8")
    total = sum(stage.weights_bytes for stage in found.stages)
    assert total == weights.total_bytes  # its output layer is a matrix of its own
    whole = pages(spec, replace(found.stages[0].shape, layers=(0, 0)))
    assert sum(stage.cut.request_bytes for stage in found.stages) == whole.request_bytes
    assert found.cards == stages
    assert min(stage.cut.request_bytes for stage in found.stages) > 0


def test_a_tied_output_is_a_copy_on_the_last_stage() -> None:
    spec = model("gemma-3-27b")
    weights = weigh(spec, "HF-BF16")
    halves = [stage_weights(spec, weights, low, low + 31) for low in (0, 31)]
    assert sum(halves) == weights.total_bytes + weights.output_bytes


def test_layers_left_over_go_to_the_stages_before_the_last() -> None:
    assert even_layers(80, 3) == [27, 27, 26] or even_layers(80, 3) == [26, 27, 27]
    assert even_layers(61, 2) == [31, 30]


def test_a_model_too_large_for_a_card_has_no_room_for_one_request() -> None:
    found = on_h100("llama-3.3-70b", "HF-BF16")
    assert (found.cache_bytes, found.shown_tokens, found.sequences) == (0, 0, 0)
    assert not found.fits
    assert longest(model("llama-3.3-70b"), found) == 0


def test_a_footprint_counts_every_rank_and_the_sequences_asked_about() -> None:
    found = on_h100("llama-3.1-8b", "HF-BF16", (2, 1))
    one, four = boot_footprint(found, 1), boot_footprint(found, 4)
    assert one.total_bytes == 2 * one.card_bytes
    assert four.kv_bytes == 4 * one.kv_bytes == 4 * 8192 * 131_072
    assert one.card_bytes < H100 < 10 * GIB + H100


def test_a_tower_beside_the_language_model_takes_from_the_cache_of_the_first_stage() -> None:
    spec = model("llama-3.1-8b")
    start = start_of(NONE, H100, "H100")
    weights, tower = weigh(spec, "HF-BF16"), GIB
    plain = boot(spec, weights, start, NONE, 8192, "auto", HOPPER, H100)
    seeing = boot(spec, weights, start, NONE, 8192, "auto", HOPPER, H100, tower)
    assert plain.cache_bytes - seeing.cache_bytes == tower
