"""Picture towers: the published model's count minus its language part; faults named."""

import pytest

from mathcore.convert.projector import Projector, projector_from_config
from mathcore.model.spec import SpecError

QWEN2_VL: dict[str, object] = {
    "depth": 32,
    "embed_dim": 1280,
    "num_heads": 16,
    "mlp_ratio": 4,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "hidden_size": 3584,
}
QWEN25_VL: dict[str, object] = {
    "depth": 32,
    "hidden_size": 1280,
    "num_heads": 16,
    "intermediate_size": 3420,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 3584,
}
QWEN3_VL: dict[str, object] = {
    "depth": 27,
    "hidden_size": 1152,
    "num_heads": 16,
    "intermediate_size": 4304,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 4096,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [8, 16, 24],
}
GEMMA3: dict[str, object] = {
    "num_hidden_layers": 27,
    "hidden_size": 1152,
    "num_attention_heads": 16,
    "intermediate_size": 4304,
    "patch_size": 14,
    "image_size": 896,
}
PIXTRAL: dict[str, object] = {
    "model_type": "pixtral",
    "num_hidden_layers": 24,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "patch_size": 14,
}
INTERN: dict[str, object] = {
    "num_hidden_layers": 24,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "patch_size": 14,
}
CONFIGS: dict[str, dict[str, object]] = {
    "qwen2_vl": {"vision_config": QWEN2_VL},
    "qwen2_5_vl": {"vision_config": QWEN25_VL},
    "qwen3_vl": {"vision_config": QWEN3_VL},
    "gemma3": {"vision_config": GEMMA3, "text_config": {"hidden_size": 2560}},
    "mistral3": {
        "vision_config": PIXTRAL,
        "spatial_merge_size": 2,
        "text_config": {"hidden_size": 5120},
    },
    "internvl_chat": {"vision_config": INTERN, "llm_config": {"hidden_size": 3584}},
}

TOWERS = {
    "qwen2_vl": QWEN2_VL,
    "qwen2_5_vl": QWEN25_VL,
    "qwen3_vl": QWEN3_VL,
    "gemma3": GEMMA3,
    "mistral3": PIXTRAL,
    "internvl_chat": INTERN,
}
FIELDS = [(kind, field) for kind, tower in TOWERS.items() for field in tower]


def projector(model_type: str, config: dict[str, object]) -> Projector:
    found = projector_from_config({**config, "model_type": model_type})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model_type", "parameters"),
    [
        # Qwen2-VL-7B: 8,291,375,616 less Qwen2-7B's 7,615,616,512
        ("qwen2_vl", 675_759_104),
        # Qwen2.5-VL-7B: 8,292,166,656 less the same
        ("qwen2_5_vl", 676_550_144),
        # Qwen3-VL-8B: 8,767,123,696 less Qwen3-8B's 8,190,735,360
        ("qwen3_vl", 576_388_336),
        # Gemma-3-4B: 4,300,079,472 less its text model's 3,880,263,168
        ("gemma3", 419_816_304),
        # Mistral-Small-3.1-24B: 24,011,361,280 less its text model's 23,572,403,200
        ("mistral3", 438_958_080),
        # InternVL3-8B: 7,944,373,760 less its text model's 7,612,820,992
        ("internvl_chat", 331_552_768),
    ],
)
def test_a_tower_has_what_its_model_has_beyond_its_text(model_type: str, parameters: int) -> None:
    assert projector(model_type, CONFIGS[model_type]).parameters == parameters


def test_a_config_without_a_tower_has_no_projector() -> None:
    assert projector_from_config({"model_type": "llama"}) is None


def test_an_unknown_tower_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match=r"vision_config\.model_type: .*'llava'"):
        projector_from_config({"model_type": "llava", "vision_config": {}})


@pytest.mark.parametrize(("model_type", "field"), FIELDS)
@pytest.mark.parametrize("junk", [None, "12", -1])
def test_a_field_of_the_tower_is_needed(model_type: str, field: str, junk: object) -> None:
    changed = {**TOWERS[model_type], field: junk}
    with pytest.raises(SpecError) as caught:
        projector(model_type, {**CONFIGS[model_type], "vision_config": changed})
    assert caught.value.field == f"vision_config.{field}"
