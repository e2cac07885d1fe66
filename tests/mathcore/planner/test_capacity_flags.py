"""A capacity and a grid under llama.cpp's flags are what a plan of the same question answers."""

from dataclasses import replace
from typing import Any

import pytest

from mathcore.api import GIB, DeviceSpec, Query, find_model, plan
from mathcore.engines.draft import Draft
from mathcore.engines.flags import Flags
from mathcore.engines.footprint import Beside
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.planner.capacity import capacity
from mathcore.planner.grids import arrays
from mathcore.planner.grids.arrays import TIGHT, VERDICTS, Length
from mathcore.planner.grids.by_plan import sweep
from mathcore.planner.grids.closed import is_closed
from mathcore.planner.grids.timing import cell_query
from mathcore.quant.weights import weigh
from tests.mathcore.fixtures import device


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


SMALL, EXPERTS, WINDOWS = model("llama-3.1-8b"), model("qwen3-30b-a3b"), model("gemma-3-12b")
DRAFT = Draft(
    spec=model("llama-3.2-1b"), weights_bytes=weigh(model("llama-3.2-1b"), "Q8_0").device_bytes
)
HOST = {"ram_free_bytes": 48 * GIB, "ram_bandwidth_bytes_per_s": 50 * 10**9}


def question(spec: ModelSpec, **changes: Any) -> Query:
    base = Query(
        model=spec, model_ref="m", quant="Q4_K_M", engine="llama.cpp", kv_type="f16", sets=False
    )
    return replace(base, **changes)


QUESTIONS = {
    "layers": (question(SMALL, flags=Flags(gpu_layers=20)), 12, 1),
    "experts": (question(EXPERTS, flags=Flags(cpu_experts=30)), 16, 1),
    "override": (question(EXPERTS, flags=Flags(on_host=("ffn_.*_exps",))), 12, 1),
    "split": (question(SMALL, flags=Flags(split=(3000, 1000))), 12, 2),
    "passes": (question(SMALL, flags=Flags(micro_batch=2048)), 12, 1),
    "plain": (question(SMALL, flags=Flags(flash=False)), 16, 1),
    "one pool": (question(SMALL, batch=3, flags=Flags(unified=True)), 12, 1),
    "no windows": (question(WINDOWS, flags=Flags(full_window=True)), 16, 1),
    "values": (question(SMALL, flags=Flags(v_type="q8_0")), 12, 1),
    "adapters": (question(SMALL, beside=Beside(adapter_bytes=GIB)), 12, 1),
    "draft": (question(SMALL, draft=DRAFT), 12, 1),
}


def planned(query: Query, here: DeviceSpec, batch: int, context: int) -> bool:
    asked = replace(query.resized(batch, context), prompt_tokens=1, tokens=1)
    return bool(plan(asked, [here]).placements)


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_most_under_flags_is_planned_and_one_more_is_not(name: str) -> None:
    query, free, count = QUESTIONS[name]
    query = query.resized(query.batch, query.context)
    here = device("d", free * GIB, count=count, **HOST)
    found = capacity(query, here)
    assert found.context
    assert found.sequences
    # Without flags of places nothing is left to RAM here; a plan would leave what does not fit.
    alone = here if query.flags.places else replace(here, ram_free_bytes=0)
    assert planned(query, alone, query.batch, found.context)
    assert planned(query, alone, found.sequences, query.context)
    assert not planned(query, alone, found.sequences + 1, query.context)
    if found.context < query.longest:
        assert not planned(query, alone, query.batch, found.context + 256)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_cell_under_flags_is_what_a_plan_answers(name: str) -> None:
    query, free, count = QUESTIONS[name]
    here = device("d", free * GIB, count=count, **HOST)
    lengths = [Length(context=n, prompt_tokens=n - 64, tokens=64) for n in (2048, 8192, 32_768)]
    (grid,) = sweep(query, [here], ["Q4_K_M"], [1, 8], lengths)
    alone = here if query.flags.places else replace(here, ram_free_bytes=0)
    missing = grid.missing()
    for i, batch in enumerate((1, 8)):
        for j, length in enumerate(lengths):
            answer = plan(cell_query(query, "Q4_K_M", batch, length), [alone])
            if not answer.placements:
                assert answer.refusals[0].code == VERDICTS[grid.verdicts[i, j]]
                assert answer.refusals[0].missing_bytes == missing[i, j]
                continue
            (placed,) = answer.placements
            assert grid.verdicts[i, j] <= TIGHT
            assert (placed.footprint.total_bytes, placed.layout.cards) == (
                grid.needs[i, j],
                grid.cards[i, j],
            )
            assert grid.placements[grid.times[i, j]].tokens_per_s == placed.tokens_per_s
            if query.flags.uses_host:
                assert grid.host_needs[i, j] == placed.footprint.host_bytes


def test_a_draft_s_cache_grows_with_the_context_it_is_asked_for() -> None:
    query = question(SMALL, draft=DRAFT)
    short, long = (query.resized(1, n).beside.draft_bytes for n in (4096, 32_768))
    layers = DRAFT.spec.layers
    cells = sum(layer.k_elements + layer.v_elements for layer in layers) * 2 * (32_768 - 4096)
    assert 0 <= long - short - cells < 64 * 1024 * 1024  # the mask of a longer context
    here = device("d", 12 * GIB)
    assert capacity(query, here).context < capacity(question(SMALL), here).context


def test_layers_that_are_told_are_those_of_the_answer() -> None:
    here = device("d", 12 * GIB, **HOST)
    found = capacity(question(EXPERTS, flags=Flags(gpu_layers=30, cpu_experts=40)), here)
    assert (found.told, found.gpu_layers, found.cpu_experts) == (True, 30, 40)
    crowded = capacity(question(EXPERTS, flags=Flags(gpu_layers=49)), here)
    assert (crowded.gpu_layers, crowded.cpu_experts, crowded.context) == (-1, -1, 0)


def test_only_a_question_without_flags_and_drafts_is_worked_out_over_arrays() -> None:
    assert is_closed(question(SMALL))
    assert is_closed(question(SMALL, flags=Flags(backend="vulkan")))
    assert is_closed(question(SMALL, beside=Beside(adapter_bytes=GIB)))
    assert not any(is_closed(query) for query, _, _ in QUESTIONS.values() if query.flags != Flags())
    assert not is_closed(question(SMALL, draft=DRAFT))
    assert not is_closed(question(model("bge-m3")))
    assert not is_closed(question(SMALL, engine="ollama"))
    assert arrays.ENGINE == "llama.cpp"


def test_a_context_beyond_the_trained_one_must_be_asked_for() -> None:
    here = device("d", 40 * GIB)
    asked = question(SMALL, context=SMALL.longest + 1)
    with pytest.raises(SpecError, match="--allow-beyond"):
        capacity(asked, here)
    beyond = capacity(replace(asked, allow_beyond=True), here)
    assert beyond.sequences >= 1
    assert beyond.context > SMALL.longest


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"quant": "Q9"}, "quant"),
        ({"kv_type": "f7"}, "kv_type"),
        ({"flags": Flags(v_type="q8_0", flash=False)}, "kv_type"),
        ({"engine": "vllm"}, "engine"),
    ],
)
def test_what_no_device_could_do_is_refused_by_its_field(
    changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(SpecError) as error:
        capacity(question(SMALL, **changes), device("d", 12 * GIB))
    assert error.value.field == field
