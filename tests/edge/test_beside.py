"""What is loaded beside a model is counted, or the answer says that it is not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from mathcore.convert.projector import projector_from_config
from mathcore.engines.clip import (
    clip_compute_bytes,
    clip_weights_bytes,
    warm_up_side,
)
from mathcore.model.spec import Projector
from mathcore.quant.weights import weigh
from mathcore.units import MIB
from mesh.api.errors import RequestError
from mesh.edge.planning import plan_query, source_of
from mesh.state.state import State
from tests.mathcore.convert.test_projector import CONFIGS, QWEN2_VL, QWEN3_VL

QWEN3_VL_2B = {
    **QWEN3_VL, "hidden_size": 1024, "depth": 24, "intermediate_size": 4096,
    "out_hidden_size": 2048, "deepstack_visual_indexes": [5, 11, 17],
}  # fmt: skip
TEXT = {
    "model_type": "qwen3_vl_text", "hidden_size": 4096, "intermediate_size": 12288,
    "num_attention_heads": 32, "num_hidden_layers": 36, "num_key_value_heads": 8, "head_dim": 128,
    "vocab_size": 151936, "max_position_embeddings": 262144, "rms_norm_eps": 1e-06,
    "rope_theta": 5000000, "attention_bias": False,
}  # fmt: skip
QWEN3_VL_8B: dict[str, object] = {
    "architectures": ["Qwen3VLForConditionalGeneration"],
    "model_type": "qwen3_vl",
    "text_config": TEXT,
    "tie_word_embeddings": False,
    "vision_config": {**QWEN3_VL, "model_type": "qwen3_vl"},
}


def tower(model_type: str, vision: dict[str, object], **more: object) -> Projector:
    found = projector_from_config({"model_type": model_type, "vision_config": vision, **more})
    assert found is not None
    return found


def ask(model: str = "qwen3-vl-8b", what: str = "RTX 3090", **more: object) -> dict[str, Any]:
    asked = {"model": model, "what_if": [what], "quant": "Q4_K_M", "engine": "llama.cpp", **more}
    return dict(plan_query(State(), asked))


STACKLESS_8B = replace(tower("qwen3_vl", {**QWEN3_VL, "out_hidden_size": 5120}), deep=())
# MiB that llama.cpp said its picture towers compute in, without flash attention and with it
# (gguf-parser-go#44; MI300X, August 2026); gemma3 without it has two tables more than we know of.
MEASURED = [
    (tower("qwen3_vl", QWEN3_VL_2B), 4728, 323, 0.001),
    # Qwen3.6-27B's: as wide as Qwen3-VL-8B's, without deep stacks (logs of CUDA and Vulkan builds).
    (STACKLESS_8B, 4657.81, 248.10, 1e-5),
    (tower("qwen2_vl", {**QWEN2_VL, "hidden_size": 1536}), 4598, 267, 0.001),
    (tower("qwen2_5_vl", CONFIGS["qwen2_5_vl"]["vision_config"]), 4872, 705, 0.002),  # type: ignore[arg-type]
    (
        tower("gemma3", CONFIGS["gemma3"]["vision_config"], text_config={"hidden_size": 2560}),
        1132,
        121,
        0.035,
    ),  # type: ignore[arg-type]  # noqa: E501
]


@pytest.mark.parametrize(("projector", "off", "on", "error"), MEASURED)
def test_a_tower_computes_in_what_llama_cpp_said(
    projector: Projector, off: int, on: int, error: float
) -> None:
    found = [clip_compute_bytes(projector, flash=flash) / MIB for flash in (False, True)]
    assert found == pytest.approx([off, on], rel=error, abs=0.6)


def test_a_tower_s_file_has_matrices_in_16_bits_and_the_rest_in_32() -> None:
    """llama.cpp added 5,509 MiB for one whose buffer is 4,728."""
    assert clip_weights_bytes(MEASURED[0][0]) / MIB == pytest.approx(5509 - 4728, abs=0.6)


def test_the_towers_of_qwen3_vl_2b_and_8b_are_two_towers() -> None:
    """4,728 and 323 MiB are what the 2B's computes in: 24 layers of 1,024 numbers, whose file is
    the 781 MiB of the same table; the 8B's has 27 layers of 1,152 and 1,105 MiB.

    Ten buffers as wide as the tower are alive where the scores are, twelve with flash attention,
    and nothing else differs: the scores of 16 heads are the same.
    """
    small, large = MEASURED[0][0], tower("qwen3_vl", QWEN3_VL)
    assert (small.layers, small.hidden, small.heads) == (24, 1024, 16)
    assert (large.layers, large.hidden, large.heads) == (27, 1152, 16)
    assert round(clip_weights_bytes(large) / MIB) == 1105
    found = [clip_compute_bytes(large, flash=flash) / MIB for flash in (False, True)]
    assert found == pytest.approx([4769.39, 372.08], abs=0.01)
    wider = (large.hidden - small.hidden) * 46 * 46 * 4 * 4
    more = [
        clip_compute_bytes(large, flash=flash) - clip_compute_bytes(small, flash=flash)
        for flash in (False, True)
    ]
    assert more == [10 * wider, 12 * wider]


def test_the_tower_of_a_published_config_is_counted(tmp_path: Path) -> None:
    """576 million parameters; their buffer with flash attention, and without."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(QWEN3_VL_8B))
    spec = source_of(str(path)).spec
    assert spec.projector is not None
    assert round(spec.projector.parameters / 1e6) == 576
    by_path, by_name = ask(str(path)), ask()
    for answer in (by_path, by_name):
        need = answer["placements"][0]["footprint"]
        assert need["projector_bytes"] == clip_weights_bytes(spec.projector) + clip_compute_bytes(
            spec.projector
        )
        assert "is counted: 1.1 GiB" in answer["notes"][0]
    plain = ask(flash_attn=False)["placements"][0]["footprint"]
    scores = 16 * 8464 * 8464 * 4
    assert plain["projector_bytes"] - need["projector_bytes"] > scores - 200 * MIB


def test_a_model_asked_for_without_its_tower_is_smaller_by_it_and_that_is_said() -> None:
    seeing, blind = ask()["placements"][0], ask(vision=False)
    need = blind["placements"][0]["footprint"]
    assert need["projector_bytes"] == 0
    more = seeing["footprint"]["total_bytes"] - need["total_bytes"]
    assert more == seeing["footprint"]["projector_bytes"]
    assert blind["notes"] == ["without the vision tower of qwen3-vl-8b, as asked"]


def test_larger_pictures_need_more_and_smaller_ones_what_is_reserved() -> None:
    usual = ask()["placements"][0]["footprint"]["projector_bytes"]
    assert ask(image_size=448)["placements"][0]["footprint"]["projector_bytes"] == usual
    large = ask(image_size=2944)["placements"][0]["footprint"]["projector_bytes"]
    assert 3.5 < (large - 1105 * MIB) / (usual - 1105 * MIB) < 4.5
    assert warm_up_side(MEASURED[-1][0]) == 896


@pytest.mark.parametrize(
    "name", ["llama-4-scout", "qwen3.5-9b", "gemma-4-e4b", "mistral-small-3.1-24b", "kimi-k2.5"]
)
def test_a_tower_nobody_described_is_said_to_be_left_out(name: str) -> None:
    answer = ask(name, "8x H200", quant=None)
    assert answer["notes"] == [f"not counted: the vision tower of {name}; --mmproj FILE counts it"]


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gemma-3-1b", "qwen3-30b-a3b"])
def test_of_a_model_that_only_reads_nothing_is_said(name: str) -> None:
    assert ask(name)["notes"] == []


def write_projector(path: Path) -> int:
    """A qwen3vl projector of two small layers; bytes of its tensors."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_string("clip.projector_type", "qwen3vl_merger")
    for key, value in (
        ("block_count", 2), ("embedding_length", 64), ("feed_forward_length", 128),
        ("attention.head_count", 4), ("patch_size", 16), ("image_size", 768),
    ):  # fmt: skip
        writer.add_uint32(f"clip.vision.{key}", value)
    total = 0
    for name, rows, columns in (
        ("v.blk.0.attn_qkv.weight", 192, 64), ("v.blk.0.ffn_up.weight", 128, 64),
        ("mm.0.weight", 256, 256), ("mm.2.weight", 512, 256),
    ):  # fmt: skip
        data = np.zeros((rows, columns), np.float16)
        writer.add_tensor(name, data)
        total += data.nbytes
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return total


def test_a_projector_s_file_is_counted_byte_by_byte(tmp_path: Path) -> None:
    path = tmp_path / "mmproj.gguf"
    size = write_projector(path)
    answer = ask("llama-4-scout", "2x H100", mmproj=str(path))
    need = answer["placements"][0]["footprint"]
    assert size < need["projector_bytes"] < size + 200 * MIB
    assert "is counted" in answer["notes"][0]
    with pytest.raises(RequestError, match="this is no projector|cannot read"):
        ask(mmproj=str(tmp_path / "nothing.gguf"))


def test_a_model_that_drafts_is_counted_with_its_cache_and_no_gain_is_promised() -> None:
    alone, both = ask("llama-3.3-70b", "H100"), ask("llama-3.3-70b", "H100", draft="llama-3.2-1b")
    need = both["placements"][0]["footprint"]
    weights = weigh(source_of("llama-3.2-1b").spec, "Q8_0").device_bytes
    cache = 4096 * 16 * 2 * 512 * 2
    assert need["draft_bytes"] - weights - cache < 200 * MIB
    assert need["draft_bytes"] > weights + cache
    assert both["placements"][0]["tokens_per_s"] == alone["placements"][0]["tokens_per_s"]
    assert "no gain in speed is assumed" in both["notes"][0]


def test_a_model_s_own_heads_are_counted_where_it_has_any() -> None:
    need = ask("glm-4.5-air", "2x H100", draft="mtp")["placements"][0]["footprint"]
    assert need["draft_bytes"] > 1024 * MIB  # one layer of 128 experts
    with pytest.raises(RequestError, match="has no heads that draft"):
        ask("llama-3.1-8b", draft="mtp")


def test_adapters_are_files_or_sizes(tmp_path: Path) -> None:
    file = tmp_path / "adapter.gguf"
    file.write_bytes(bytes(1000))
    need = ask("llama-3.1-8b", lora=["160MB", str(file)])["placements"][0]["footprint"]
    assert need["adapter_bytes"] == 160 * MIB + 1000
    with pytest.raises(RequestError, match="there is no file"):
        ask("llama-3.1-8b", lora=["nowhere.gguf"])


@pytest.mark.parametrize("path", ["x" * 700, "~nobody-of-that-name/a.gguf", "a\0.gguf"])
@pytest.mark.parametrize("field", ["lora", "mmproj", "draft"])
def test_what_no_file_can_be_called_is_refused_as_a_missing_file_is(field: str, path: str) -> None:
    with pytest.raises(RequestError) as error:
        ask("llama-3.1-8b", **{field: [path] if field == "lora" else path})
    assert error.value.status < 500


@pytest.mark.parametrize("what", ["RTX 4070", "2x RTX 3060 12GB", "RTX 3060 12GB + CPU 64GB"])
def test_what_does_not_fit_with_it_is_not_placed(what: str) -> None:
    answer = ask("qwen3-vl-8b", what, context="64k", quant="Q8_0")
    for placed in answer["placements"]:
        need = placed["footprint"]
        assert need["projector_bytes"] > 1000 * MIB
        assert need["total_bytes"] <= need["free_bytes"]


def test_a_plan_of_sets_and_of_a_sweep_counts_it_too() -> None:
    both = "RTX 3060 12GB + RTX 4070"
    with_tower = ask("qwen3-vl-8b", both, context="64k", quant="Q8_0")["placements"]
    without = ask("qwen3-vl-8b", both, context="64k", quant="Q8_0", vision=False)["placements"]
    assert with_tower
    sets = [max(p["footprint"]["total_bytes"] for p in one) for one in (with_tower, without)]
    assert sets[0] > sets[1] + 1000 * MIB


BGE_M3: dict[str, object] = {
    "architectures": ["XLMRobertaModel"], "model_type": "xlm-roberta", "hidden_size": 1024,
    "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24,
    "vocab_size": 250002, "max_position_embeddings": 8194, "type_vocab_size": 1,
    "layer_norm_eps": 1e-05, "hidden_act": "gelu", "position_embedding_type": "absolute",
    "pad_token_id": 1,
}  # fmt: skip


def test_an_encoder_reads_a_text_in_one_pass_and_keeps_nothing(tmp_path: Path) -> None:
    """An embedding of 8,192 tokens needs a pass of 8,192: its buffer, not a cache, grows."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(BGE_M3))
    asked = {"prompt_tokens": 100, "tokens": 1, "quant": "F16"}
    short = ask(str(path), context=512, **asked)
    long = ask(str(path), context=8192, **asked)
    needs = [one["placements"][0]["footprint"] for one in (short, long)]
    assert [need["kv_bytes"] for need in needs] == [0, 0]
    assert needs[1]["compute_bytes"] > 14 * needs[0]["compute_bytes"]
    assert "--ubatch-size 8192" in long["notes"][1]
    assert "makes no tokens" in short["notes"][0]
    told = ask(str(path), context=8192, ubatch=512, **asked)["placements"][0]["footprint"]
    assert told["compute_bytes"] <= needs[0]["compute_bytes"]
