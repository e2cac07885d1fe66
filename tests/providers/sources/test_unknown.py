"""What is said of a model nobody knows: near names, and what can be given instead."""

import pytest

from providers.base import ModelError
from providers.sources.resolve import resolve
from providers.sources.unknown import near, taken_apart


def said(ref: str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        resolve(ref)
    assert caught.value.text == f"unknown model: {ref}"
    assert ".gguf by path or URL" in caught.value.hint
    assert "\n" not in caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("ref", "model", "quant"),
    [
        ("unsloth/Qwen3-32B-GGUF", "Qwen3-32B", ""),
        ("hf.co/bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M", "Llama-3.3-70B", "Q4_K_M"),
        ("llama3.1:8b-instruct-q4_K_M", "llama3.1:8b", "Q4_K_M"),
        ("Qwen/Qwen3-32B-AWQ", "Qwen3-32B", "AWQ"),
        ("llama-3-8b", "llama-3-8b", ""),
    ],
)
def test_a_repository_s_name_holds_a_model_and_how_it_is_stored(
    ref: str, model: str, quant: str
) -> None:
    assert taken_apart(ref) == (model, quant)


def test_a_near_name_under_a_repository_s_name_is_named_with_its_type() -> None:
    hint = said("hf.co/x/Lama-3.3-70B-GGUF:Q4_K_M").hint
    assert hint.startswith("did you mean llama-3.3-70b")
    assert "--quant Q4_K_M" in hint


def test_a_known_model_in_a_repository_is_that_model_stored_so() -> None:
    spec = resolve("hf.co/x/Llama-3.3-70B-GGUF:Q4_K_M").spec
    assert (spec.name, spec.quant) == ("llama-3.3-70b", "Q4_K_M")
    assert resolve("https://huggingface.co/unsloth/Qwen3-32B-GGUF").spec.name == "qwen3-32b"


def test_a_type_that_cannot_hold_a_model_is_said_when_it_is_named() -> None:
    """gpt-oss has rows of 2880 numbers, no whole groups of 128."""
    with pytest.raises(ModelError, match="can't be stored as AWQ"):
        resolve("x/gpt-oss-20b-AWQ")


def test_an_ollama_tag_of_a_type_can_be_asked_of_ollama() -> None:
    assert "ollama:lama3.1:8b-instruct-q4_K_M" in said("lama3.1:8b-instruct-q4_K_M").hint


def test_a_mistyped_name_suggests_different_models_not_names_of_one() -> None:
    found = near("lama3.1:8b")
    assert found[0] in ("llama-3.1-8b", "llama3.1:8b")
    assert len({resolve(name).spec.name for name in found}) == len(found) > 1


def test_a_name_like_no_other_suggests_the_list() -> None:
    assert said("zzzzqq").hint.startswith("fleet models lists the known names")
