"""The fit works with the very sums the planner does, and its slopes are theirs."""

from pathlib import Path

import numpy as np
import pytest

from mathcore.speed.constants import Rates, constant, prompt_parts, step_parts
from scripts.lab.fit_effects import effects_for
from scripts.lab.fit_model import ALL, Fact, Model, facts_of
from scripts.lab.speed_rows import Row, case_of

ROW: Row = {
    "source_id": "geerling",
    "engine": "llama.cpp",
    "hardware": "NVIDIA GeForce RTX 4090",
    "n_devices": "1",
    "model": "llama 8B",
    "params_b": "8.03",
    "quant": "Q4_K - Medium",
    "model_gib": "4.58",
    "prompt_tokens": "512",
    "gen_tokens": "128",
    "batch": "1",
    "decode_tps": "120",
    "prefill_tps": "5000",
}
ROWS: list[Row] = [
    ROW,
    {**ROW, "hardware": "Apple M2 Ultra", "engine_version": "2824"},
    {**ROW, "model": "qwen3-30b-a3b", "params_b": "30.5", "model_gib": "17.3", "backend": "vulkan"},
    {
        **ROW,
        "engine": "vllm",
        "engine_version": "0.19.0",
        "hardware": "NVIDIA H100 SXM 80GB",
        "n_devices": "4",
        "batch": "32",
        "source_id": "aic_silicon",
        "quant": "fp8",
    },
]


def made() -> tuple[Model, np.ndarray]:
    facts = facts_of([case_of(i, row, Path("/nowhere")) for i, row in enumerate(ROWS)])
    model = Model(facts, effects_for(facts))
    draw = np.random.default_rng(7)
    return model, model.mean + 0.3 * draw.standard_normal(len(model.names))


def rates(fact: Fact, effects: dict[str, float]) -> Rates:
    found = [constant(name, fact.chip, fact.run, effects) for name in ALL]
    return Rates(**dict(zip(Rates.__dataclass_fields__, found, strict=True)))


def test_a_predicted_time_is_the_planners_own() -> None:
    model, theta = made()
    said = np.exp(model.predict(theta)[0])
    effects = dict(zip(model.names, theta, strict=True))
    for fact, seconds in zip(model.facts, said, strict=True):
        own = rates(fact, effects)
        parts = step_parts(fact.step, own) if fact.what == "decode" else None
        wanted = sum(parts if parts is not None else prompt_parts(fact.prompt, own))
        assert seconds == pytest.approx(wanted, rel=1e-9)


def test_slopes_by_effect_are_those_of_the_prediction() -> None:
    model, theta = made()
    _, slope = model.predict(theta)
    one = np.ones(len(model.facts))
    matrix, _ = model.normal(slope, one, one)
    step = 1e-6
    numeric = np.zeros((len(model.facts), len(theta)))
    for k in range(len(theta)):
        moved = theta.copy()
        moved[k] += step
        numeric[:, k] = (model.predict(moved)[0] - model.predict(theta)[0]) / step
    assert matrix == pytest.approx(numeric.T @ numeric, rel=1e-3, abs=1e-4)
