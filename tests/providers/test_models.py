"""A model reference is read, or one clear line says why not."""

import json
from pathlib import Path

import pytest

from providers.base import ModelError
from providers.models import resolve
from tests.mathcore.fixtures import write_sparse

CARD = {
    "model_type": "llama", "hidden_size": 128, "num_attention_heads": 8, "vocab_size": 384,
    "num_key_value_heads": 2, "num_hidden_layers": 4, "intermediate_size": 384,
}  # fmt: skip


def test_a_name_and_its_alias_are_the_same_model() -> None:
    assert resolve("llama-70b") == resolve("Llama-2-70B")
    assert resolve("llama-2-70b").spec.parameters == 68_976_648_192


def test_a_file_and_its_config_agree(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CARD))
    write_sparse(tmp_path / "m.gguf", 4, 128, 384, 8, 2, 384)
    described, held = resolve(str(tmp_path)).spec, resolve(str(tmp_path / "m.gguf"))
    assert held.path == str(tmp_path / "m.gguf")
    assert described.parameters == held.spec.parameters
    assert described.layers == held.spec.layers


def test_an_unknown_name_suggests_a_known_one() -> None:
    with pytest.raises(ModelError) as caught:
        resolve("lama-2-70b")
    assert "llama-2-70b" in caught.value.hint


@pytest.mark.parametrize("ref", ["/nowhere/m.gguf", "./no.json", "", "zzzz", "a\0b"])
def test_what_is_not_there_is_refused(ref: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve(ref)
    assert caught.value.text
    assert caught.value.hint


def test_broken_files_are_refused_by_field(tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\3\0")
    (tmp_path / "bad.json").write_text("[1]")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "moe.json").write_text(json.dumps({**CARD, "model_type": "mixtral"}))
    (tmp_path / "empty").mkdir()
    for name in ("cut.gguf", "bad.json", "deep.json", "moe.json", "empty"):
        with pytest.raises(ModelError):
            resolve(str(tmp_path / name))
