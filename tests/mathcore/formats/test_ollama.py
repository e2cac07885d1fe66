"""What Ollama says of a model, as its documentation shows it."""

import pytest

from mathcore.api import SpecError, weigh
from mathcore.formats.ollama import header_from_show, parse_manifest, parse_name, spec_from_show

DIGEST = "sha256:" + "ab" * 32


def tensors(layers: int = 2, hidden: int = 256, kv: int = 64) -> list[object]:
    """The list a 0.5.13 or later server adds: shapes as in the file, a row's length first."""
    out: list[object] = [
        {"name": "token_embd.weight", "type": "Q6_K", "shape": [hidden, 512]},
        {"name": "output_norm.weight", "type": "F32", "shape": [hidden]},
    ]
    for i in range(layers):
        for name, rows in (
            ("attn_q", hidden),
            ("attn_k", kv),
            ("attn_v", kv),
            ("attn_output", hidden),
            ("ffn_gate", 512),
            ("ffn_up", 512),
        ):
            shape = [hidden, rows]
            out.append({"name": f"blk.{i}.{name}.weight", "type": "Q4_K", "shape": shape})
        out.append({"name": f"blk.{i}.ffn_down.weight", "type": "Q4_K", "shape": [512, hidden]})
        out += [
            {"name": f"blk.{i}.{name}.weight", "type": "F32", "shape": [hidden]}
            for name in ("attn_norm", "ffn_norm")
        ]
    return out


def reply(**changes: object) -> dict[str, object]:
    """An /api/show reply in the shape of Ollama's API reference."""
    info: dict[str, object] = {
        "general.architecture": "llama",
        "general.file_type": 15,
        "general.parameter_count": 1_000_000,
        "general.quantization_version": 2,
        "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 0.00001,
        "llama.block_count": 2,
        "llama.context_length": 8192,
        "llama.embedding_length": 256,
        "llama.feed_forward_length": 512,
        "llama.rope.dimension_count": 32,
        "llama.rope.freq_base": 500000,
        "llama.vocab_size": 512,
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.token_type": None,
        "tokenizer.ggml.tokens": [],
    }
    details = {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "1.0M",
        "quantization_level": "Q4_K_M",
    }
    return {
        "modelfile": "# Modelfile",
        "template": "{{ .Prompt }}",
        "details": details,
        "model_info": info,
        "tensors": tensors(),
        "capabilities": ["completion"],
        **changes,
    }


def test_a_reply_describes_the_model_as_its_file_would() -> None:
    spec = spec_from_show(reply(), "m:latest")
    assert (spec.architecture, spec.quant, spec.context_length) == ("llama", "Q4_K_M", 8192)
    assert [layer.k_elements for layer in spec.layers] == [64, 64]
    embedding, layer = 512 * 210, 2 * 256 * 4 + (2 * 256 + 128 + 3 * 512) * 144
    assert weigh(spec, spec.quant).total_bytes == embedding + 256 * 4 + 2 * layer


def test_arrays_the_server_left_out_are_absent_not_empty() -> None:
    header = header_from_show(reply())
    assert "tokenizer.ggml.merges" not in header.metadata
    assert "tokenizer.ggml.token_type" not in header.metadata


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model_info": None}, "model_info"),
        ({"tensors": None}, "tensors"),
        ({"tensors": []}, "tensors"),
        ({"tensors": [{"name": "a"}] * 20_000}, "tensors"),
        ({"tensors": [7]}, "tensors"),
        ({"tensors": [{"name": "a", "type": "Q9", "shape": [32]}]}, "a"),
        ({"tensors": [{"name": "a", "type": "F32", "shape": []}]}, "a"),
        ({"tensors": [{"name": "a", "type": "F32", "shape": [1 << 40, 1 << 40]}]}, "a"),
        ({"tensors": [{"name": "a", "type": "F32", "shape": [0]}]}, "a"),
        ({"tensors": [{"name": "a", "type": "Q4_K", "shape": [100]}]}, "a"),
    ],
)
def test_a_reply_that_is_not_a_model_is_refused_by_name(
    changes: dict[str, object], field: str
) -> None:
    with pytest.raises(SpecError) as caught:
        spec_from_show(reply(**changes), "m")
    assert caught.value.field == field


def test_shapes_in_the_other_order_are_noticed() -> None:
    turned = tensors()
    turned[0] = {"name": "token_embd.weight", "type": "Q6_K", "shape": [512, 256]}
    with pytest.raises(SpecError):
        spec_from_show(reply(tensors=turned), "m")


@pytest.mark.parametrize(
    ("text", "short", "place"),
    [
        ("llama3.2", "llama3.2:latest", "registry.ollama.ai/library/llama3.2/latest"),
        ("llama3.2:1b", "llama3.2:1b", "registry.ollama.ai/library/llama3.2/1b"),
        ("me/own:x", "me/own:x", "registry.ollama.ai/me/own/x"),
        ("hf.co/a/b-GGUF:Q4_K_M", "hf.co/a/b-GGUF:Q4_K_M", "hf.co/a/b-GGUF/Q4_K_M"),
    ],
)
def test_a_name_s_absent_parts_are_filled_as_ollama_fills_them(
    text: str, short: str, place: str
) -> None:
    name = parse_name(text)
    assert name.short == short
    assert f"{name.host}/{name.namespace}/{name.model}/{name.tag}" == place


@pytest.mark.parametrize(
    "text", ["", "..", "a/../b", "../../etc/passwd", "a:..", "a b", "a/b/c/d", "a\\b", "x" * 400]
)
def test_a_name_that_could_leave_the_store_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_name(text)


def layer(kind: str, size: int = 100, digest: str = DIGEST) -> dict[str, object]:
    return {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": digest, "size": size}


def manifest(*layers: dict[str, object]) -> dict[str, object]:
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    return {"schemaVersion": 2, "mediaType": kind, "config": {}, "layers": list(layers)}


def test_a_manifest_names_the_weights_and_the_projector() -> None:
    found = parse_manifest(
        manifest(layer("model", 2_019_377_376), layer("template"), layer("projector", 77))
    )
    assert found.model_digest == "ab" * 32
    assert (found.model_bytes, found.projector_bytes) == (2_019_377_376, 77)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"layers": {}},
        manifest(),
        manifest(layer("template")),
        manifest(layer("tensor")),
        manifest(layer("model"), layer("model")),
        manifest(*[layer("license")] * 65),
        manifest(layer("model", digest="sha256:../../x")),
        manifest(layer("model", -1)),
        manifest(layer("model", digest="sha256:" + "AB" * 32)),
        {"layers": [7]},
    ],
)
def test_a_manifest_without_usable_weights_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        parse_manifest(bad)
