"""A model reference is read, or one clear line says why not."""

import json
import struct
from pathlib import Path

import pytest

from providers.base import ModelError
from providers.sources.gguf import read_headers
from providers.sources.resolve import resolve
from tests.mathcore.fixtures import header, pair, text, write_sparse

CARD = {
    "model_type": "llama",
    "hidden_size": 128,
    "num_attention_heads": 8,
    "vocab_size": 384,
    "num_key_value_heads": 2,
    "num_hidden_layers": 4,
    "intermediate_size": 384,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}


def test_a_name_and_its_alias_are_the_same_model() -> None:
    assert resolve("llama-70b") == resolve("Llama-2-70B")
    assert resolve("llama-2-70b").spec.parameters == 68_976_648_192


@pytest.mark.parametrize(
    "ref",
    [
        "llama3.1:8b",
        "llama-3.1-8b-instruct",
        "meta-llama/Llama-3.1-8B-Instruct",
        "Meta-Llama-3.1-8B",
        " Llama-3.1-8B ",
    ],
)
def test_a_name_is_found_as_people_type_it(ref: str) -> None:
    assert resolve(ref).spec.name == "llama-3.1-8b"


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


@pytest.mark.parametrize(
    "ref",
    [
        "/nowhere/m.gguf",
        "./no.json",
        "",
        "zzzz",
        "a\0b",
        "http://127.0.0.1:9/m.zip",
        "ollama:../../etc/passwd",
        "x" * 5000,
        "ollama:",
    ],
)
def test_what_is_not_there_is_refused(ref: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve(ref)
    assert caught.value.text
    assert caught.value.hint


def test_broken_files_are_refused_by_field(tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\3\0")
    (tmp_path / "bad.json").write_text("[1]")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "long.json").write_text(" " * (2 << 20))
    (tmp_path / "odd.json").write_text(json.dumps({**CARD, "model_type": "no such family"}))
    (tmp_path / "lone.safetensors").write_bytes(b"\0" * 64)
    (tmp_path / "empty").mkdir()
    for name in (
        "cut.gguf",
        "bad.json",
        "deep.json",
        "long.json",
        "odd.json",
        "empty",
        "lone.safetensors",
    ):
        with pytest.raises(ModelError) as caught:
            resolve(str(tmp_path / name))
        assert caught.value.hint


def test_a_folder_of_ggufs_asks_which(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError) as caught:
        resolve(str(tmp_path))
    assert "a.gguf" in caught.value.hint


def part(number: int, count: int, tensors: list[str], promised: int) -> bytes:
    """One file of a split model: F32 rows of 32, data and all."""
    keys = (
        pair("general.architecture", 8, text("llama"))
        + pair("split.no", 2, struct.pack("<H", number))
        + pair("split.count", 2, struct.pack("<H", count))
        + pair("split.tensors.count", 5, struct.pack("<i", promised))
    )
    body = b"".join(
        text(name) + struct.pack("<IQIQ", 1, 32, 0, 128 * i) for i, name in enumerate(tensors)
    )
    data = header(4, len(tensors), keys + body)
    return data + bytes(-len(data) % 32 + 128 * len(tensors))


def test_any_file_of_a_split_model_stands_for_all(tmp_path: Path) -> None:
    names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
    (tmp_path / names[0]).write_bytes(part(0, 2, ["a"], 3))
    (tmp_path / names[1]).write_bytes(part(1, 2, ["b", "c"], 3))
    for name in names:
        assert [t.name for t in read_headers(tmp_path / name).tensors] == ["a", "b", "c"]


def test_a_missing_file_of_a_split_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "m-00001-of-00002.gguf").write_bytes(part(0, 2, ["a"], 3))
    with pytest.raises(ModelError, match=r"m-00002-of-00002\.gguf"):
        resolve(str(tmp_path / "m-00001-of-00002.gguf"))


def safetensors(names: list[str], shape: list[int]) -> bytes:
    entries: dict[str, object] = {}
    size = 2
    for each in shape:
        size *= each
    for i, name in enumerate(names):
        span = [i * size, (i + 1) * size]
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": span}
    body = json.dumps(entries).encode()
    return struct.pack("<Q", len(body)) + body + bytes(size * len(names))


def layer(i: int) -> list[str]:
    kinds = (
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    )
    return [f"model.layers.{i}.{kind}.weight" for kind in kinds]


def write_folder(folder: Path, index: dict[str, str]) -> None:
    card = {
        **CARD,
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "intermediate_size": 32,
        "vocab_size": 32,
        "num_attention_heads": 2,
    }
    (folder / "config.json").write_text(json.dumps(card))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    first = ["model.embed_tokens.weight", "lm_head.weight", *layer(0)]
    (folder / "model-00001-of-00002.safetensors").write_bytes(safetensors(first, [32, 32]))
    (folder / "model-00002-of-00002.safetensors").write_bytes(safetensors(layer(1), [32, 32]))


def weight_map() -> dict[str, str]:
    return {
        name: f"model-0000{1 + i // 9}-of-00002.safetensors"
        for i, name in enumerate(
            ["model.embed_tokens.weight", "lm_head.weight", *layer(0), *layer(1)]
        )
    }


def test_a_folder_of_safetensors_weighs_what_its_files_hold(tmp_path: Path) -> None:
    from mathcore.api import weigh

    write_folder(tmp_path, weight_map())
    (tmp_path / "consolidated.safetensors").write_bytes(b"not of the index, so not read")
    spec = resolve(str(tmp_path)).spec
    assert spec == resolve(str(tmp_path / "config.json")).spec
    assert weigh(spec, spec.quant).total_bytes == 16 * 32 * 32 * 2
    assert spec.quant == "HF-BF16"


def test_a_folder_with_a_file_missing_is_refused_by_its_name(tmp_path: Path) -> None:
    write_folder(tmp_path, weight_map())
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match="model-00002-of-00002"):
        resolve(str(tmp_path))


def test_an_index_that_points_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    write_folder(inner, {"a": "../outside.safetensors"})
    (tmp_path / "outside.safetensors").write_bytes(safetensors(["a"], [4]))
    with pytest.raises(ModelError, match="not there"):
        resolve(str(inner))


def test_safetensors_cut_short_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, weight_map())
    last = tmp_path / "model-00002-of-00002.safetensors"
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(ModelError, match="1 bytes are missing"):
        resolve(str(tmp_path))
