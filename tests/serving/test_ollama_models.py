"""Ollama's lists of models, its embeddings, and the routes that are not here."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.api.errors import RequestError
from mesh.serving.family import EMBEDDINGS, Body, Problem
from mesh.serving.ollama_models import (
    NOT_HERE,
    Listed,
    OllamaEmbed,
    embedded,
    running,
    show,
    shown_name,
    tags,
    version,
)

LLAMA = Listed(
    name="llama-3.1-8b",
    size_bytes=4_900_000_000,
    digest="ab" * 32,
    modified_at="2026-11-29T12:00:00Z",
    family="llama",
    parameters=8_030_261_248,
    quant="Q4_K_M",
    context=8192,
    loaded=True,
    expires_at="2026-11-29T12:05:00Z",
    tools=True,
    vision=True,
    thinking=True,
)
NOMIC = Listed(name="nomic", size_bytes=1, parameters=137_000_000, embedding=True)


def test_the_version_is_three_numbers() -> None:
    numbers = version()["version"].split(".")
    assert len(numbers) == 3
    assert all(number.isdecimal() for number in numbers)


def test_every_model_is_listed_with_its_details() -> None:
    first, second = tags([LLAMA, NOMIC])["models"]
    assert first["name"] == first["model"] == "llama-3.1-8b"
    assert first["modified_at"] == LLAMA.modified_at
    assert first["details"]["parameter_size"] == "8.0B"
    assert first["details"]["families"] == ["llama"]
    assert second["details"]["parameter_size"] == "137.0M"


def test_a_time_that_is_not_known_is_left_out_for_clients_fail_at_an_empty_one() -> None:
    assert "modified_at" not in tags([NOMIC])["models"][0]
    assert "modified_at" not in show(NOMIC)


def test_only_loaded_models_are_said_to_run() -> None:
    (only,) = running([LLAMA, NOMIC])["models"]
    assert (only["name"], only["expires_at"]) == ("llama-3.1-8b", LLAMA.expires_at)
    assert (only["size_vram"], only["context_length"]) == (LLAMA.size_bytes, 8192)


def test_a_shown_model_says_its_context_and_what_it_can_do() -> None:
    shown = show(LLAMA)
    assert shown["model_info"] == {
        "general.architecture": "llama",
        "general.parameter_count": 8_030_261_248,
        "llama.context_length": 8192,
    }
    assert shown["capabilities"] == ["completion", "tools", "vision", "thinking"]
    assert shown["template"] == shown["modelfile"] == shown["parameters"] == ""


def test_a_model_for_embeddings_completes_nothing() -> None:
    assert show(NOMIC)["capabilities"] == ["embedding"]
    assert show(NOMIC)["model_info"]["general.architecture"] == "unknown"


def test_a_model_to_show_is_named_by_model_or_by_name() -> None:
    assert shown_name({"model": "llama:latest"}) == shown_name({"name": "llama"}) == "llama"
    with pytest.raises(RequestError):
        shown_name({})


@pytest.mark.parametrize("texts", ["hello", ["hello"]])
def test_texts_are_embedded_by_the_engine(texts: object) -> None:
    asked = OllamaEmbed(old=False).read({"model": "nomic:latest", "input": texts, "dimensions": 8})
    assert (asked.model, asked.path, asked.stream) == ("nomic", EMBEDDINGS, False)
    assert asked.body == {"input": ["hello"], "dimensions": 8}


def test_the_old_route_embeds_one_prompt() -> None:
    asked = OllamaEmbed(old=True).read({"model": "nomic", "prompt": "hello"})
    assert asked.body == {"input": "hello"}


@pytest.mark.parametrize("body", [{}, {"input": []}, {"input": [1]}, {"input": ""}, {"prompt": ""}])
@pytest.mark.parametrize("old", [False, True])
def test_nothing_to_embed_is_refused(body: Body, *, old: bool) -> None:
    with pytest.raises(RequestError) as refused:
        OllamaEmbed(old=old).read({"model": "nomic", **body})
    assert refused.value.status == 400


def test_vectors_come_in_the_order_of_their_texts() -> None:
    answer = {
        "data": [{"index": 1, "embedding": [0.0, 1.0]}, {"index": 0, "embedding": [1.0, 0.0]}],
        "usage": {"prompt_tokens": 4},
    }
    new = embedded(answer, "nomic", old=False)
    assert (new["embeddings"], new["prompt_eval_count"]) == ([[1.0, 0.0], [0.0, 1.0]], 4)
    assert embedded(answer, "nomic", old=True) == {"embedding": [1.0, 0.0]}


ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["index", "embedding", "prompt_tokens"]), inner)
    ),
    max_leaves=8,
)


@given(data=ANY, usage=ANY, old=st.booleans())
def test_an_answer_to_embed_never_fails(data: object, usage: object, *, old: bool) -> None:
    assert json.dumps(embedded({"data": data, "usage": usage}, "nomic", old=old))


@pytest.mark.parametrize("name", "pull push create copy delete blobs".split())
def test_a_route_that_is_not_here_says_why_and_what_to_do(name: str) -> None:
    problem = NOT_HERE[f"/api/{name}"]
    assert problem.status == 501
    assert problem.retry_after_s is None
    assert problem.hint.startswith("fleet models")


def test_a_refusal_has_words() -> None:
    problem = Problem(status=400, code="BadField", text="input is empty")
    assert OllamaEmbed(old=False).refusal(problem) == {"error": "input is empty"}
