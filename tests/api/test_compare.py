"""What may be asked of a comparison, and the one line for what may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.units import HOUR_MS
from mesh.api.errors import RequestError
from mesh.api.market.compare import PPM, CompareRequest, parse_compare


def asked(**fields: object) -> CompareRequest:
    return parse_compare({"model": "qwen3-8b", "tokens_per_day": 1000, **fields})


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        (1, 1),
        ("2M", 2_000_000),
        ("500k", 500_000),
        ("1.5G", 1_500_000_000),
        ("3B", 3_000_000_000),
        ("2_000_000", 2_000_000),
        (10**15, 10**15),
    ],
)
def test_tokens_are_counted_in_powers_of_ten(value: object, tokens: int) -> None:
    assert asked(tokens_per_day=value).tokens_per_day == tokens


def test_of_four_tokens_three_are_read_unless_somebody_says_otherwise() -> None:
    found = asked()
    assert (found.prompt_parts, found.parts) == (750_000, PPM)
    assert (found.plan.prompt_tokens, found.plan.tokens) == (768, 256)
    assert (found.work_ms, found.months) == (8 * HOUR_MS, None)


def test_a_share_is_kept_exactly_and_a_request_comes_near_to_it() -> None:
    found = asked(prompt_share="0.333333")
    assert (found.prompt_parts, found.parts) == (333_333, PPM)
    assert (found.plan.prompt_tokens, found.plan.tokens) == (341, 683)


@pytest.mark.parametrize("share", [0, 1, "0", "1.0"])
def test_a_share_of_nothing_or_all_has_a_token_of_each_in_a_request(share: object) -> None:
    found = asked(prompt_share=share)
    assert min(found.plan.prompt_tokens or 0, found.plan.tokens or 0) == 1
    assert found.prompt_parts in (0, PPM)


def test_a_short_context_has_short_requests() -> None:
    found = asked(context=100)
    assert (found.plan.prompt_tokens, found.plan.tokens) == (75, 25)


def test_lengths_say_how_tokens_divide() -> None:
    found = asked(prompt_tokens=2000, tokens=500)
    assert (found.prompt_parts, found.parts) == (2000, 2500)
    assert (found.plan.prompt_tokens, found.plan.tokens) == (2000, 500)


def test_one_length_alone_takes_the_other_from_a_plan() -> None:
    found = asked(prompt_tokens="1k")
    assert (found.prompt_parts, found.parts) == (1024, 1280)


def test_devices_are_compared_one_by_one() -> None:
    assert not asked().plan.sets


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"tokens_per_day": None}, "tokens_per_day: missing"),
        ({"tokens_per_day": 0}, "tokens_per_day"),
        ({"tokens_per_day": -5}, "tokens_per_day"),
        ({"tokens_per_day": 1.5}, "tokens_per_day"),
        ({"tokens_per_day": True}, "tokens_per_day"),
        ({"tokens_per_day": "many"}, "tokens_per_day"),
        ({"tokens_per_day": "1e6"}, "tokens_per_day"),
        ({"tokens_per_day": "0.5"}, "tokens_per_day"),
        ({"tokens_per_day": 10**15 + 1}, "tokens_per_day"),
        ({"tokens_per_day": "9" * 5000}, "tokens_per_day"),
        ({"tokens_per_day": ["1"]}, "tokens_per_day"),
        ({"hours": 0}, "hours"),
        ({"hours": "24.1"}, "hours"),
        ({"hours": "all"}, "hours"),
        ({"hours": False}, "hours"),
        ({"prompt_share": "75"}, "prompt_share"),
        ({"prompt_share": "-0.1"}, "prompt_share"),
        ({"prompt_share": "nan"}, "prompt_share"),
        ({"prompt_share": "0.5", "tokens": 5}, "prompt_share: tokens say"),
        ({"months": 0}, "months"),
        ({"spot": "no"}, "spot"),
        ({"months": "1.5"}, "months"),
        ({"months": 10**9}, "months"),
        ({"cloud": True}, "cloud: no such field"),
        ({"sets": True}, "sets: no such field"),
        ({"deadline": "5m"}, "deadline: no such field"),
        ({"hour": 8}, "hour: no such field"),
        ({"batch": 0}, "batch"),
        ({"model": 5}, "model"),
        ({"prompt_tokens": 5000}, "do not fit a context"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], says: str) -> None:
    with pytest.raises(RequestError) as caught:
        asked(**fields)
    assert says in caught.value.text
    assert caught.value.hint
    assert "\n" not in caught.value.text
    assert len(caught.value.text) < 200


@given(st.text(max_size=60), st.sampled_from(["tokens_per_day", "hours", "prompt_share", "months"]))
def test_any_text_is_read_or_refused(text: str, field: str) -> None:
    try:
        found = asked(**{field: text})
    except RequestError:
        return
    assert found.tokens_per_day >= 1
    assert 0 < found.work_ms <= 24 * HOUR_MS
    assert 0 <= found.prompt_parts <= found.parts
