"""What people ask is checked before it reaches the planner, and named when it is wrong."""

import pytest

from mesh.api.errors import RequestError
from mesh.api.hardware import parse_device
from mesh.api.requests import limits_of, parse_plan
from mesh.api.what_ifs import parse_what_if


def test_limits_are_read_in_the_words_people_use() -> None:
    asked = parse_plan(
        {
            "model": "m",
            "max_latency": "30s",
            "ttft": "500ms",
            "deadline": "2h",
            "min_tps": 12.5,
            "max_price": "$0.50",
            "max_cost": "0.02",
            "min_quality": "0.95",
        }
    )
    limits = limits_of(asked)
    assert (limits.max_latency_ms, limits.max_ttft_ms, limits.deadline_ms) == (
        30_000,
        500,
        7_200_000,
    )
    assert (limits.max_nusd_per_hour, limits.max_cost_nusd) == (500_000_000, 20_000_000)
    assert (limits.min_tokens_per_s, limits.min_quality) == (12.5, 0.95)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("min_quality", 1.5),
        ("min_quality", "good"),
        ("min_tps", "nan"),
        ("ttft", "soon"),
        ("max_price", "5 dollars"),
        ("objective", "best"),
        ("deadline", 7),
        ("what_if", ["x"] * 99),
    ],
)
def test_a_wrong_limit_is_named(field: str, value: object) -> None:
    with pytest.raises(RequestError, match=field):
        parse_plan({"model": "m", field: value})


@pytest.mark.parametrize(
    ("text", "count", "gib"),
    [("RTX 4090", 1, 24), ("RTX 4090 x2", 2, 24), ("2x RTX 4090", 2, 24), ("8 x A100 80GB", 8, 80)],
)
def test_a_what_if_names_cards_and_their_number(text: str, count: int, gib: int) -> None:
    _, payload = parse_what_if(text)
    assert payload["count"] == count
    memory = payload["memory_bytes"]
    assert isinstance(memory, int)
    assert abs(memory / 2**30 - gib) <= gib * 0.08


def test_a_card_nobody_knows_needs_its_memory() -> None:
    with pytest.raises(RequestError, match="not in the catalogue"):
        parse_what_if("Frobnicator 9000")
    assert parse_what_if("RTX 9000 48GiB")[1]["memory_bytes"] == 48 * 2**30


@pytest.mark.parametrize(
    "text",
    [
        "banana 24GiB",
        "Frobnicator 9000 48GiB",
        "Voodoo 5 32GB",
        "foo x2 16GB",
        "Groq LPU 230MB",
        "my workstation 64GB",
        "GPU 24GB",
        "graphics card 12GB",
        "Cerebras 44GB",
        "server 512GB",
        "the big one 80GB",
    ],
)
def test_what_nobody_can_tell_is_asked_about_not_planned_as_some_card(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_what_if(text)
    assert "not in the catalogue" in caught.value.text
    assert "say" in caught.value.hint or "add its memory" in caught.value.hint


def test_a_thousand_cards_in_one_host_is_a_typing_error() -> None:
    with pytest.raises(RequestError, match="1000 cards"):
        parse_what_if("RTX 4090 x1000")


def test_a_name_that_will_not_do_is_told_what_would() -> None:
    with pytest.raises(RequestError) as caught:
        parse_device({"name": "rig", "gpu": "RTX 4090", "host": "../x"})
    assert caught.value.text.startswith("host: takes letters, digits")
