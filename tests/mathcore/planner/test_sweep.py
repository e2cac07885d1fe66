"""Every cell of a sweep is the planner's own answer."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.api import GIB, DeviceSpec, Query, find_model, plan
from mathcore.engines.footprint import ContextShape
from mathcore.engines.llamacpp.compute_buffer import buffer_bytes
from mathcore.engines.llamacpp.compute_by_length import ComputeByLength, alike
from mathcore.engines.llamacpp.memory import (
    PIPELINE_COPIES,
    SERVER,
    cache_groups,
    compute_bytes,
    micro_batch_of,
)
from mathcore.model.spec import ModelSpec
from mathcore.planner.grids.arrays import MAX_CELLS, VERDICTS, Grid, Length, SweepError
from mathcore.planner.grids.closed import cell_count, sweep
from mathcore.planner.grids.timing import cell_query
from tests.mathcore.fixtures import device


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


# Grouped attention, experts, windows, a hybrid with states, latent attention.
MODELS = [model(name) for name in ("llama-3-8b", "qwen3-30b-a3b", "gemma3:27b", "gpt-oss-20b")]
BY_NAME = st.sampled_from(MODELS)


def base(spec: ModelSpec) -> Query:
    return Query(model=spec, model_ref=spec.name)


def length(context: int) -> Length:
    tokens = min(256, max(1, context - 1))
    return Length(context=context, prompt_tokens=min(512, max(1, context - tokens)), tokens=tokens)


def filled(context: int) -> Length:
    """A prompt that leaves just room for the answer: what the speed under a context is of."""
    tokens = min(256, max(1, context // 2))
    return Length(context=context, prompt_tokens=max(1, context - tokens), tokens=tokens)


def check(grid: Grid, query: Query, spec: DeviceSpec, i: int, j: int) -> None:
    """The cell against one plan of its own."""
    answer = plan(query, [spec])
    verdict = VERDICTS[int(grid.verdicts[i, j])]
    if not answer.placements:
        assert answer.refusals[0].code == verdict
        if verdict == "NoFit(mem)":
            assert answer.refusals[0].missing_bytes == -grid.spare[i, j] * grid.cards[i, j]
        return
    placed = answer.placements[0]
    assert (placed.fit, placed.layout.cards) == (verdict, grid.cards[i, j])
    assert placed.footprint.total_bytes == grid.needs[i, j]
    assert placed.layout.spare_bytes == grid.spare[i, j]
    timed = grid.placements[int(grid.times[i, j])]
    assert timed.duration_ms == placed.duration_ms
    assert (timed.load_ms, timed.answer_ms) == (placed.load_ms, placed.answer_ms)
    assert timed.tokens_per_s == placed.tokens_per_s
    assert timed.cost_nusd == placed.cost_nusd


@settings(max_examples=40, deadline=None)
@given(
    spec=BY_NAME,
    batches=st.lists(st.integers(1, 70), min_size=1, max_size=3, unique=True),
    contexts=st.lists(st.integers(1, 40_000), min_size=1, max_size=4, unique=True),
    free=st.integers(4, 60),
    count=st.integers(1, 4),
    kind=st.sampled_from(["gpu", "apple", "cpu"]),
    quant=st.sampled_from(["Q4_K_M", "Q8_0", "F16"]),
    kv_type=st.sampled_from(["f16", "q8_0"]),
    shape=st.sampled_from([length, filled]),
    data=st.data(),
)
def test_a_cell_is_what_the_planner_answers(
    spec: ModelSpec,
    batches: list[int],
    contexts: list[int],
    free: int,
    count: int,
    kind: str,
    quant: str,
    kv_type: str,
    shape: Callable[[int], Length],
    data: st.DataObject,
) -> None:
    here = device("d", free * GIB, kind=kind, count=count if kind == "gpu" else 1)
    lengths = [shape(context) for context in sorted(contexts)]
    query = Query(model=spec, model_ref=spec.name, engine="llama.cpp", kv_type=kv_type)
    grid = sweep(query, [here], [quant], sorted(batches), lengths)[0]
    i = data.draw(st.integers(0, len(batches) - 1))
    j = data.draw(st.integers(0, len(lengths) - 1))
    asked = cell_query(query, quant, sorted(batches)[i], lengths[j])
    check(grid, asked, here, i, j)


@settings(max_examples=30, deadline=None)
@given(
    spec=st.sampled_from([*MODELS, model("lfm2-8b-a1b"), model("nemotron-h-8b")]),
    sequences=st.integers(1, 70),
    kv_type=st.sampled_from(["f16", "q8_0"]),
    steps=st.lists(st.integers(1, 600), min_size=12, max_size=60, unique=True),
)
def test_the_compute_buffer_of_many_lengths_is_that_of_each(
    spec: ModelSpec, sequences: int, kv_type: str, steps: list[int]
) -> None:
    """Best fit jumps: qwen3's and nemotron's buffers even shrink on the way."""
    table = ComputeByLength(spec, sequences, kv_type).table(sorted(steps))
    cache = cache_groups(spec)
    for at in (0, len(steps) // 3, len(steps) - 1):
        shape = ContextShape(context=sorted(steps)[at] * 256, sequences=sequences, kv_type=kv_type)
        assert table[at] == buffer_bytes(cache.graph_model, micro_batch_of(cache, shape, SERVER))


def test_a_buffer_that_shrinks_while_the_context_grows_is_met_exactly() -> None:
    """Qwen3-0.6B, 64 sequences: past some length the logits fit the gap the mask leaves."""
    spec = model("qwen3-0.6b")
    steps = list(range(100, 160))
    table = ComputeByLength(spec, 64, "f16").table(steps)
    assert table != sorted(table)
    cache = cache_groups(spec)
    for i in range(0, len(steps), 7):
        shape = ContextShape(context=steps[i] * 256, sequences=64)
        assert table[i] == buffer_bytes(cache.graph_model, micro_batch_of(cache, shape, SERVER))


@settings(max_examples=15, deadline=None)
@given(
    spec=st.sampled_from([*MODELS, model("lfm2-8b-a1b"), model("nemotron-h-8b")]),
    sequences=st.integers(1, 70),
    kv_type=st.sampled_from(["f16", "q8_0"]),
    steps=st.lists(st.integers(1, 600), min_size=12, max_size=40, unique=True),
    part=st.sampled_from([(0, 9), (9, 17), (9, 1 << 30)]),
)
def test_numbers_of_sequences_that_share_layouts_have_each_its_own_bytes(
    spec: ModelSpec, sequences: int, kv_type: str, steps: list[int], part: tuple[int, int]
) -> None:
    least, most = alike(sequences)
    assert least <= sequences <= most
    tables = ComputeByLength(
        spec, least, kv_type, card=True, layers=part, copies=PIPELINE_COPIES, most=most
    )
    table = tables.table(sorted(steps), sequences)
    for at in (0, len(steps) // 2, len(steps) - 1):
        shape = ContextShape(context=sorted(steps)[at] * 256, sequences=sequences, kv_type=kv_type)
        asked = compute_bytes(spec, shape, card=True, layers=part, copies=PIPELINE_COPIES)
        assert table[at] == asked


def test_sixteen_numbers_of_sequences_take_few_graphs() -> None:
    buffer = ComputeByLength(model("gemma3:27b"), 17, "f16", most=32)
    for sequences in range(17, 33):
        buffer.table(list(range(1, 513)), sequences)
    assert buffer.evaluated < 30


def test_few_layouts_serve_many_lengths() -> None:
    buffer = ComputeByLength(model("llama-2-70b"), 8, "f16")
    buffer.table(list(range(1, 513)))
    assert buffer.evaluated < 30


def test_speed_follows_the_context_that_a_prompt_fills() -> None:
    """Llama 3.1 8B at Q4_K_M on a 4090: what a plan says of a prompt of 120,000 tokens."""
    spec = model("llama-3.1-8b")
    card = device(free=40 * GIB)
    contexts = [2048, 8192, 32_768, 131_072]
    (grid,) = sweep(base(spec), [card], ["Q4_K_M"], [1], [filled(n) for n in contexts])
    rates = [grid.placements[int(at)].tokens_per_s.p50 for at in grid.times[0]]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 2 * rates[-1]
    asked = Query(
        model=spec, model_ref="m", quant="Q4_K_M", context=131_072, prompt_tokens=120_000,
        tokens=256,
    )  # fmt: skip
    (placed,) = plan(asked, [card]).placements
    assert abs(rates[-1] / placed.tokens_per_s.p50 - 1) < 0.1


def test_a_prompt_longer_than_a_column_s_context_is_marked_there() -> None:
    lengths = [Length(context=n, prompt_tokens=4000, tokens=96) for n in (2048, 8192)]
    (grid,) = sweep(base(MODELS[0]), [device()], ["Q4_K_M"], [1], lengths)
    assert [VERDICTS[int(at)] for at in grid.verdicts[0]] == ["NoFit(ctx)", "fit"]


def test_needs_never_shrink_by_adding_sequences() -> None:
    grid = sweep(base(MODELS[0]), [device()], ["Q4_K_M"], [1, 2, 4, 8], [length(4096)])[0]
    column = [int(n) for n in grid.needs[:, 0]]
    assert column == sorted(column)


def test_a_device_s_ram_is_left_out() -> None:
    small = device("small", 8 * GIB, ram_free_bytes=64 * GIB, ram_bandwidth_bytes_per_s=10**11)
    grid = sweep(base(model("llama-2-70b")), [small], ["Q4_K_M"], [1], [length(4096)])[0]
    assert VERDICTS[int(grid.verdicts[0, 0])] == "NoFit(mem)"


@pytest.mark.parametrize(
    ("kv_type", "quant", "field"),
    [("f16", "Q9_X", "quant"), ("f7", "Q8_0", "kv_type")],
)
def test_what_no_device_could_do_is_refused_by_name(kv_type: str, quant: str, field: str) -> None:
    query = Query(model=MODELS[0], model_ref="m", kv_type=kv_type)
    with pytest.raises(SweepError) as error:
        sweep(query, [device()], [quant], [1], [length(4096)])
    assert error.value.field == field


def test_a_device_without_the_engine_is_refused_by_its_name() -> None:
    with pytest.raises(SweepError, match=r"tpu: llama\.cpp is not available"):
        sweep(base(MODELS[0]), [device("tpu", engines=("vllm",))], ["Q8_0"], [1], [length(512)])


def test_too_many_cells_are_refused_before_any_work() -> None:
    many = [length(256 + n) for n in range(1 + MAX_CELLS // 64)]
    with pytest.raises(SweepError, match="cells"):
        cell_count(list(range(1, 65)), many, 1)
