"""A question's fields: counts in one notation, names in any case, one line for what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.api.errors import RequestError
from mesh.api.fields import COUNTS, TAKES
from mesh.api.hardware import DeviceRequest
from mesh.api.jobs import JobRequest, parse_job
from mesh.api.requests import (
    DEFAULT_CONTEXT,
    DEFAULT_PROMPT_TOKENS,
    DEFAULT_TOKENS,
    MAX_BODY_BYTES,
    PlanRequest,
    lengths,
    parse_plan,
)


def refusal(**given: object) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_plan({"model": "m", **given})
    assert caught.value.code == "BadRequest"
    return caught.value


def test_counts_are_numbers_or_text_alike() -> None:
    asked = parse_plan(
        {"model": "m", "context": "128k", "batch": "4", "prompt_tokens": "8k", "tokens": 512}
    )
    assert (asked.context, asked.batch, asked.prompt_tokens, asked.tokens) == (
        131_072,
        4,
        8192,
        512,
    )
    assert parse_job({"model": "m", "prompt": "x", "context": "8k"}).context == 8192


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("context", 999_999_999_999, "context: 999999999999 tokens of context: at most 100M"),
        ("context", "200M", "context: 209715200 tokens of context: at most 100M"),
        ("context", "much", "context: 'much' is not a whole number"),
        ("context", 0, "context: 0 is not a whole number from 1 to 100M"),
        ("batch", 70_000, "batch: 70000 sequences at once: at most 64k"),
        ("batch", True, "batch: True is not a whole number"),
        ("batch", 1.5, "batch: 1.5 is not a whole number"),
        ("engine", "vlm", "engine: unknown 'vlm'"),
        ("quant", "Q4_K_X", "quant: unknown 'Q4_K_X'"),
        ("kv_type", "q9", "kv_type: unknown 'q9'"),
        ("objective", "best", "objective: 'best' is not cheapest, fastest or balanced"),
        ("ttft", "soon", "ttft: 'soon' is not a duration"),
        ("max_price", "5 dollars", "max_price: '5 dollars' is not an amount of dollars"),
        ("what_if", ["x"] * 99, "what_if: a list of 99 is not a list of at most 64"),
        ("contxt", 1, "contxt: no such field"),
        ("on", "", "on: '' is not a device's name"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_field(
    field: str, value: object, says: str
) -> None:
    error = refusal(**{field: value})
    assert error.text.startswith(says)
    assert error.hint
    assert "fields:" not in error.hint
    assert error.hint.count("say") <= 1
    assert "say" not in error.text


def test_a_hint_s_example_works() -> None:
    """Every field's example, given as its hint shows it, is one the request takes."""
    for field in (
        "batch", "context", "engine", "quant", "kv_type", "ttft", "deadline", "max_cost",
        "parallel", "tensor_split", "ubatch", "cache_type_k", "cache_type_v",
    ):  # fmt: skip
        _, example = TAKES[field]
        parse_plan({"model": "m", field: example})
    for field in ("ram", "rate"):
        parse_plan({"model": "m", "what_if": ["L4"], field: TAKES[field][1]})


def test_every_field_has_its_words() -> None:
    for kind in (PlanRequest, JobRequest, DeviceRequest):
        assert set(kind.__struct_fields__) <= set(TAKES)
    assert set(COUNTS) <= set(TAKES)


def test_the_name_a_wrong_one_may_mean_is_said() -> None:
    assert refusal(contxt=1).hint == "context"
    assert refusal(quant="Q4_K_X").hint.startswith("one of Q4_K")
    assert refusal(engine="vlm").hint == "one of llama.cpp, ollama, vllm, sglang, tgi, mlx"


@pytest.mark.parametrize("typed", ["q4_k_m", "Q4_K_M", "q4_K_m"])
def test_a_quantisation_is_meant_whatever_its_case(typed: str) -> None:
    assert parse_plan({"model": "m", "quant": typed}).quant == "Q4_K_M"
    assert parse_job({"model": "m", "prompt": "x", "quant": typed}).quant == "Q4_K_M"


@pytest.mark.parametrize(
    ("prompt", "tokens", "context"),
    [(100_000, None, 4096), (4000, 100, 4096 - 1 + 4), (None, 4097, 4096), (4096, None, 4096)],
)
def test_a_prompt_and_an_answer_beyond_the_context_are_refused(
    prompt: int | None, tokens: int | None, context: int
) -> None:
    given = {"prompt_tokens": prompt, "tokens": tokens, "context": context}
    asked = {key: value for key, value in given.items() if value is not None}
    error = refusal(**asked)
    assert "do not fit a context of" in error.text
    with pytest.raises(RequestError):
        parse_job({"model": "m", "prompt": "x", **asked})


def test_what_is_refused_says_the_context_that_holds_it() -> None:
    error = refusal(prompt_tokens=100_000, tokens=256)
    assert error.text == (
        "prompt_tokens: 100000 prompt tokens and 256 answer tokens do not fit a context of 4096"
    )
    assert "--context 100256" in error.hint
    parse_plan({"model": "m", "prompt_tokens": 100_000, "tokens": 256, "context": 100_256})


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ((None, None, 4096), (512, 256)),
        ((None, None, 200), (1, 199)),  # an answer first, a prompt of what is left
        ((4000, None, 4096), (4000, 96)),
        ((None, 4000, 4096), (96, 4000)),
        ((3000, 1000, 4096), (3000, 1000)),
        ((None, None, 1), (1, 1)),
    ],
)
def test_what_was_not_asked_takes_the_room_there_is(
    asked: tuple[int | None, int | None, int], meant: tuple[int, int]
) -> None:
    assert lengths(*asked) == meant


@given(
    st.none() | st.integers(1, 10_000), st.none() | st.integers(1, 10_000), st.integers(2, 10_000)
)
def test_what_was_asked_is_never_changed_and_always_fits(
    prompt: int | None, tokens: int | None, context: int
) -> None:
    if (prompt or 1) + (tokens or 1) > context and (prompt or tokens):
        with pytest.raises(RequestError):
            lengths(prompt, tokens, context)
        return
    found, answer = lengths(prompt, tokens, context)
    assert found == (prompt or found)
    assert answer == (tokens or answer)
    assert found + answer <= context


def test_one_place_says_what_is_usual() -> None:
    assert (DEFAULT_CONTEXT, DEFAULT_PROMPT_TOKENS, DEFAULT_TOKENS) == (4096, 512, 256)
    assert parse_plan({"model": "m"}).context == DEFAULT_CONTEXT


def test_a_prompt_too_long_is_told_its_length_not_shown_again() -> None:
    with pytest.raises(RequestError) as caught:
        parse_job({"model": "m", "prompt": "x" * (MAX_BODY_BYTES + 1)})
    assert caught.value.text == "prompt: 1048577 characters, at most 1048576 travel with a job"
    assert parse_job({"model": "m", "prompt": "x" * MAX_BODY_BYTES}).prompt


def test_an_environment_is_a_commands_alone_and_its_values_are_never_shown_again() -> None:
    env = {"API_KEY": "sk-12345"}
    assert parse_job({"command": ["true"], "env": env}).env == env
    for wrong in (
        {"model": "m", "env": env},
        {"command": ["true"], "env": {"API KEY": "sk-12345"}},
    ):
        with pytest.raises(RequestError, match="env") as caught:
            parse_job(wrong)
        assert "sk-12345" not in caught.value.text + caught.value.hint
