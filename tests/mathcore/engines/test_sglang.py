"""SGLang's share of a card and the tokens of its pool, by its own arithmetic."""

import pytest

from mathcore.api import GIB, MIB, SpecError, find_model, weigh
from mathcore.engines.options import EngineOptions
from mathcore.engines.sglang import sglang_footprint, sglang_pool, sglang_start, token_bytes
from mathcore.engines.vllm.cache import VllmShape
from mathcore.engines.vllm.memory import HOPPER
from mathcore.model.spec import ModelSpec

NONE = EngineOptions()


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    ("gib", "ranks", "chunk", "graphs", "reserve_mib"),
    [
        (16, 1, 2048, 8, 512 + 3072 + 16 + 128),
        (24, 1, 2048, 24, 512 + 3072 + 48 + 128),
        (24, 4, 2048, 80, 512 + 3072 + 160 + 512),
        (48, 2, 4096, 32, 512 + 6144 + 64 + 256),
        (80, 1, 8192, 256, 512 + 12288 + 512 + 128),
        (141, 8, 8192, 512, 512 + 12288 + 1024 + 1024),
        (192, 1, 16384, 512, 512 + 24576 + 1024 + 128),
    ],
)
def test_the_static_share_leaves_room_for_a_chunk_and_graphs(
    gib: int, ranks: int, chunk: int, graphs: int, reserve_mib: int
) -> None:
    start = sglang_start(NONE, gib * GIB, ranks)
    assert (start.chunk_tokens, start.graph_sequences) == (chunk, graphs)
    assert start.static_permille == round(1000 * (1 - reserve_mib / (gib * 1024)))


def test_a_named_share_is_taken_as_it_is() -> None:
    told = sglang_start(EngineOptions(memory_permille=850, max_num_seqs=16), 80 * GIB, 1)
    assert (told.static_permille, told.graph_sequences) == (850, 16)


def test_the_pool_holds_what_the_share_leaves_beside_the_weights() -> None:
    llama = model("llama-3.1-8b")
    weights = weigh(llama, "HF-BF16")
    start = sglang_start(EngineOptions(memory_permille=850), 80 * GIB, 1)
    pool = sglang_pool(llama, weights, start, "auto", 80 * GIB)
    assert pool.token_bytes == 131_072
    assert pool.tokens == (80 * GIB * 850 // 1000 - weights.total_bytes) // 131_072
    need = sglang_footprint(pool, 8192, 4, HOPPER)
    assert need.kv_bytes == 4 * GIB
    assert need.card_bytes - need.kv_bytes - weights.total_bytes == (
        need.compute_bytes + need.overhead_bytes
    )


def test_windows_take_their_smaller_share_and_states_are_set_aside() -> None:
    gemma, hybrid = model("gemma-3-27b"), model("qwen3.5-27b")
    shape = VllmShape(context=1)
    layer = gemma.layers[0]
    each = 2 * layer.kv_heads * layer.head_dim * 2
    near = sum(layer.kind == "sliding" for layer in gemma.layers)
    full = len(gemma.layers) - near
    assert token_bytes(gemma, shape) == full * each + near * each * 8 // 10
    start = sglang_start(NONE, 80 * GIB, 1)
    pool = sglang_pool(hybrid, weigh(hybrid, "FP8"), start, "auto", 80 * GIB)
    assert 100 * MIB < pool.state_bytes < 200 * MIB
    assert (
        pool.tokens * pool.token_bytes + start.graph_sequences * pool.state_bytes <= pool.pool_bytes
    )


def test_ranks_share_the_weights_and_the_heads() -> None:
    llama = model("llama-3.1-8b")
    weights = weigh(llama, "HF-BF16")
    one, two = (
        sglang_pool(llama, weights, sglang_start(NONE, 80 * GIB, ranks), "auto", 80 * GIB)
        for ranks in (1, 2)
    )
    assert two.token_bytes * 2 == one.token_bytes
    assert two.tokens > 2 * one.tokens


def test_a_cache_nobody_knows_is_refused() -> None:
    with pytest.raises(SpecError, match="compress_ratios"):
        token_bytes(model("deepseek-v4-flash"), VllmShape(context=1))


def test_a_pool_printed_by_a_boot_is_within_two_percent() -> None:
    # vllm#21348: max_total_num_tokens of Qwen3-235B-A22B-FP8 on four H100s, 0.9 of each.
    spec = model("qwen3-235b-a22b")
    start = sglang_start(EngineOptions(memory_permille=900), 85_017_493_504, 4)
    pool = sglang_pool(spec, weigh(spec, "FP8"), start, "auto", 85_017_493_504)
    assert pool.tokens == pytest.approx(367_404, rel=0.02)
