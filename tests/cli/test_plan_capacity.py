"""`fleet capacity`: what it says fits, a plan accepts, and one more it does not."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.api import GIB, Query, find_model, plan
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.planner.capacity import capacity, most
from mesh.api.errors import RequestError
from mesh.cli.app import fleet
from mesh.cli.exits import Stop, code_of
from tests.mathcore.fixtures import device


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


def question(spec: ModelSpec, **changes: Any) -> Query:
    return Query(model=spec, model_ref="m", **changes)


SMALL, EXPERTS = model("llama-3.2-1b"), model("qwen3-30b-a3b")


def accepted(spec: ModelSpec, here: object, quant: str, batch: int, context: int) -> bool:
    query = Query(
        model=spec,
        model_ref="m",
        quant=quant,
        batch=batch,
        context=context,
        prompt_tokens=min(8, context - 1),
        tokens=1,
    )
    return bool(plan(query, [here]).placements)  # type: ignore[list-item]


@settings(max_examples=25, deadline=None)
@given(
    free=st.integers(2 * GIB, 12 * GIB),
    count=st.integers(1, 3),
    batch=st.integers(1, 6),
    context=st.integers(2, 8192),
)
def test_the_most_is_planned_and_one_more_is_not(
    free: int, count: int, batch: int, context: int
) -> None:
    here = device("d", free, count=count)
    found = capacity(question(SMALL, context=context, batch=batch, quant="Q8_0"), here)
    if found.context:
        assert accepted(SMALL, here, "Q8_0", batch, found.context)
    if found.context < SMALL.context_length:
        assert not accepted(SMALL, here, "Q8_0", batch, found.context + 256)
    if found.sequences:
        assert accepted(SMALL, here, "Q8_0", found.sequences, context)
    assert not accepted(SMALL, here, "Q8_0", found.sequences + 1, context)


def test_what_stays_in_ram_is_what_the_planner_leaves_there() -> None:
    here = device("d", 12 * GIB, ram_free_bytes=64 * GIB, ram_bandwidth_bytes_per_s=50 * 10**9)
    found = capacity(question(EXPERTS, quant="Q4_K_M"), here)
    query = Query(model=EXPERTS, model_ref="m", quant="Q4_K_M", objective="fastest")
    layout = plan(query, [here]).placements[0].layout
    assert 0 < found.cpu_experts < 48
    assert 0 < found.gpu_layers < found.layers == 49
    assert (layout.cpu_experts, layout.gpu_layers) in (
        (found.cpu_experts, -1),
        (0, found.gpu_layers),
    )


@given(st.integers(0, 500), st.integers(1, 300))
def test_the_most_of_a_growing_need(edge: int, limit: int) -> None:
    assert most(lambda n: n <= edge, limit) == min(edge, limit)


def test_an_engine_of_neither_kind_is_refused() -> None:
    with pytest.raises(SpecError, match="neither"):
        capacity(question(SMALL), device(engines=("vllm",)))


def ask(home: Path, *args: str) -> Result:
    return CliRunner().invoke(fleet, ["capacity", *args], env={"FLEET_HOME": str(home)})


def test_the_table_and_the_document_say_the_same(tmp_path: Path) -> None:
    args = ("llama-3-70b", "--what-if", "RTX 5090 x2", "--what-if", "RTX 3060")
    lines = ask(tmp_path, *args).stdout.splitlines()
    rows = json.loads(ask(tmp_path, *args, "-o", "json").stdout)
    assert [row["device"] for row in rows] == ["RTX 5090 x2", "RTX 3060"]
    assert rows[0]["best_quant"] == rows[0]["quant"] == "Q6_K"
    assert rows[0]["largest_context"] == 8192  # as trained
    assert str(rows[0]["most_sequences"]) in lines[1].split()
    assert lines[1].endswith("all")
    assert rows[1]["gpu_layers"] is None
    assert lines[2].endswith("does not fit")


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--quant", "Q9"), 2, "quant"),
        (("--kv-type", "f7"), 2, "kv_type"),
        (("--device", "none"), 102, "none"),
        (("--quant", "F16"), 104, ""),
    ],
)
def test_wrong_or_impossible_questions_have_their_codes(
    tmp_path: Path, args: tuple[str, ...], code: int, says: str
) -> None:
    CliRunner().invoke(fleet, ["note", "opens it"], env={"FLEET_HOME": str(tmp_path)})
    error = ask(tmp_path, "llama-3-70b", "--what-if", "RTX 4090", *args).exception
    assert isinstance(error, Stop | RequestError)
    assert code_of(error) == code
    assert says in error.text
