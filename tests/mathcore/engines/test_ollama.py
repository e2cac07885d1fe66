"""What Ollama chooses before it starts: server/routes.go and server/sched.go, 0.33."""

import pytest

from mathcore.api import GIB, find_model, weigh
from mathcore.engines.ollama import (
    OllamaStart,
    default_context,
    generation_batch,
    ollama_start,
    predicted_bytes,
    slots,
)


@pytest.mark.parametrize(
    ("gib", "context"),
    [(8, 4096), (12, 4096), (16, 4096), (23, 32_768), (24, 32_768), (32, 32_768), (46, 32_768)]
    + [(47, 262_144), (80, 262_144), (192, 262_144)],
)
def test_the_default_context_follows_the_memory_of_all_cards(gib: int, context: int) -> None:
    assert default_context(gib * GIB) == context
    assert default_context(gib * GIB, trained=8192) == min(context, 8192)


def test_some_architectures_are_served_one_request_at_a_time() -> None:
    assert [slots("llama", 4), slots("qwen35", 4), slots("lfm2moe", 2), slots("gemma3")] == [
        4,
        1,
        1,
        1,
    ]


def test_its_prediction_is_the_file_and_a_plain_cache() -> None:
    llama = find_model("llama-3.1-8b")
    assert llama is not None
    assert predicted_bytes(llama, 5 * GIB, 8192) == 6 * GIB  # 128 KiB a token


@pytest.mark.parametrize(
    ("context", "free_gib", "batch"),
    [
        (4096, 80, 512),
        (8192, 24, 1024),
        (32_768, 24, 1024),
        (65_536, 48, 2048),
        (65_536, 20, 1024),  # no room for 2 GiB more within four fifths
        (131_072, 24, 512),
        (8192, 7, 512),
    ],
)
def test_long_contexts_get_larger_batches_where_there_is_room(
    context: int, free_gib: int, batch: int
) -> None:
    llama = find_model("llama-3.1-8b")
    assert llama is not None
    weights = weigh(llama, "Q4_K_M").total_bytes
    assert generation_batch(llama, weights, context, free_gib * GIB) == batch


@pytest.mark.parametrize(
    ("name", "gib", "start"),
    [
        ("llama-3.1-8b", 12, (4096, 1, 512)),
        ("llama-3.1-8b", 24, (32_768, 1, 1024)),
        ("llama-3.1-8b", 80, (131_072, 1, 2048)),
        ("llama-3.3-70b", 48, (4096, 1, 512)),  # 262144 and 32768 tokens of cache do not fit
        ("gemma-3-1b", 8, (4096, 1, 512)),
    ],
)
def test_it_lowers_a_context_nobody_named_until_it_fits(
    name: str, gib: int, start: tuple[int, int, int]
) -> None:
    spec = find_model(name)
    assert spec is not None
    found = ollama_start(spec, weigh(spec, "Q4_K_M").total_bytes, gib * GIB, gib * GIB)
    context, parallel, batch = start
    assert found == OllamaStart(num_ctx=context, num_parallel=parallel, num_batch=batch)
