"""Outcomes become payloads without floats."""

import pytest

from mesh.api.errors import RequestError
from mesh.api.jobs import parse_job
from mesh.api.requests import parse_plan
from mesh.edge.jobs.outcomes import decimal, plan_fact


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [(118_204, 3, "118.204"), (7, 9, "0.000000007"), (0, 3, "0.000"), (1_000, 3, "1.000")],
)
def test_decimal_text_is_exact(value: int, places: int, text: str) -> None:
    assert decimal(value, places) == text


def test_speeds_become_thousandths_and_bytes_stay() -> None:
    fact = plan_fact({"tokens_per_s": {"p50": 12.3456}, "footprint": {"kv_bytes": 5}, "ratio": 0.5})
    assert fact == {
        "tokens_per_s_milli": {"p50": 12346},
        "footprint": {"kv_bytes": 5},
        "ratio_milli": 500,
    }


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"model": "m", "batch": -1}, "batch"),
        ({"model": "m", "batch": 1.5}, "batch"),
        ({"model": "m", "context": 10**12}, "context"),
        ({"model": "m", "colour": "red"}, "colour"),
        ({"model": "m", "kv_type": "q3_z"}, "q3_z"),
        ({"model": "m", "max_latency": "soon"}, "max_latency"),
        ({"model": "m", "tokens": 9000, "context": 100}, "9000"),
        ({}, "model"),
    ],
)
def test_a_wrong_planning_question_is_refused_by_the_name_of_its_field(given, word: str) -> None:
    with pytest.raises(RequestError) as refusal:
        parse_plan(given)
    assert word in refusal.value.text
    assert "\n" not in refusal.value.text


def test_a_job_is_a_model_or_a_command_not_both() -> None:
    for given in ({}, {"model": "m", "command": ["ls"]}, {"command": []}):
        with pytest.raises(RequestError, match="either a model or a command"):
            parse_job(given)
