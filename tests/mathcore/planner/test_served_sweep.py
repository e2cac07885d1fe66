"""Grids under engines whose cells are asked one by one: equal to the planner's own answers."""

from dataclasses import replace

import pytest

from mathcore.api import GIB, Query, find_model, plan
from mathcore.engines.options import EngineOptions
from mathcore.planner.grids.arrays import FIT, NO_CONTEXT, NO_MEMORY, Length, SweepError
from mathcore.planner.grids.by_plan import sweep_by_plan
from tests.mathcore.fixtures import device

SPEC = find_model("llama-3.1-8b")
assert SPEC is not None
BASE = Query(
    model=SPEC,
    model_ref="m",
    engine="vllm",
    kv_type="f16",
    options=EngineOptions(memory_permille=900),
)
CARD = device("card", 40 * GIB, engines=("vllm", "ollama"))


def length(context: int) -> Length:
    return Length(context=context, prompt_tokens=context - 64, tokens=64)


def test_every_cell_is_what_a_plan_says() -> None:
    batches, lengths = [1, 8, 64], [length(2048), length(16_384), length(1 << 18)]
    (grid,) = sweep_by_plan(BASE, [CARD], ["HF-BF16"], batches, lengths)
    assert grid.verdicts.tolist() == [
        [FIT, FIT, NO_CONTEXT],
        [FIT, grid.verdicts[1, 1], NO_CONTEXT],
        [FIT, NO_MEMORY, NO_CONTEXT],
    ]
    query = Query(
        model=BASE.model,
        model_ref="m",
        engine="vllm",
        quant="HF-BF16",
        kv_type="f16",
        batch=8,
        context=2048,
        prompt_tokens=1984,
        tokens=64,
        options=BASE.options,
    )
    (placed,) = plan(query, [CARD]).placements
    assert grid.needs[1, 0] == placed.footprint.total_bytes
    assert grid.placements[grid.times[1, 0]].tokens_per_s == placed.tokens_per_s
    assert grid.spare[2, 1] < 0


def test_a_context_past_the_published_one_is_swept_as_a_plan_takes_it() -> None:
    asked = [length(SPEC.longest + 1)]
    (grid,) = sweep_by_plan(BASE, [CARD], ["HF-BF16"], [1], asked)
    (beyond,) = sweep_by_plan(replace(BASE, allow_beyond=True), [CARD], ["HF-BF16"], [1], asked)
    scaled = replace(SPEC, scaled_length=2 * SPEC.context_length)
    (declared,) = sweep_by_plan(replace(BASE, model=scaled), [CARD], ["HF-BF16"], [1], asked)
    assert grid.verdicts.tolist() == [[NO_CONTEXT]]
    assert NO_CONTEXT not in (beyond.verdicts[0, 0], declared.verdicts[0, 0])


def test_needs_grow_with_sequences_and_context() -> None:
    (grid,) = sweep_by_plan(BASE, [CARD], ["FP8"], [1, 2, 4], [length(1024), length(4096)])
    assert (grid.needs[1:] > grid.needs[:-1]).all()
    assert (grid.needs[:, 1] > grid.needs[:, 0]).all()


@pytest.mark.parametrize(
    ("changes", "quant", "text"),
    [({"engine": "mlx"}, "MLX-4bit", "does not run mlx"), ({}, "Q9_9", "Q9_9")],
)
def test_what_nobody_can_fill_is_refused(changes: dict[str, str], quant: str, text: str) -> None:
    with pytest.raises(SweepError, match=text):
        sweep_by_plan(replace(BASE, **changes), [CARD], [quant], [1], [length(1024)])  # type: ignore[arg-type]


def test_too_many_cells_are_refused() -> None:
    with pytest.raises(SweepError, match="plans"):
        sweep_by_plan(
            BASE, [CARD], ["FP8"], list(range(1, 201)), [length(n) for n in range(100, 210)]
        )
