"""The context a model is published for: trained, or reached by the rope scaling it declares."""

from typing import Any

import pytest

from mathcore.api import ModelSpec, Query, SpecError, plan, plan_dict, spec_from_config
from mathcore.gguf.header import GgufHeader
from mathcore.planner.refusals import question_notes
from mesh.edge.planning import what_ifs
from tests.mathcore.convert.test_normal import QWEN3


def scaled(trained: int, **scaling: object) -> ModelSpec:
    config = {**QWEN3, "max_position_embeddings": trained, "rope_scaling": scaling or None}
    return spec_from_config(config, "qwen3-8b")


YARN: dict[str, Any] = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 32_768,
}


@pytest.mark.parametrize(
    ("trained", "scaling", "longest"),
    [
        (40_960, {}, 40_960),
        (40_960, YARN, 131_072),  # Qwen3 with YaRN, as vLLM derives it
        (40_960, {**YARN, "type": "yarn", "rope_type": None}, 131_072),
        (163_840, {**YARN, "factor": 40, "original_max_position_embeddings": 4096}, 163_840),
        (131_072, {**YARN, "factor": 32, "original_max_position_embeddings": 4096}, 131_072),
        (32_768, {"type": "yarn", "factor": 4.0}, 131_072),
        (4096, {"type": "linear", "factor": 4.0}, 16_384),  # Vicuna 16k
        (2048, {"type": "dynamic", "factor": 2.0}, 4096),
        (
            131_072,
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "original_max_position_embeddings": 8192,
                "low_freq_factor": 1.0,
            },
            131_072,
        ),
        (131_072, {"type": "longrope", "factor": 32.0, "long_factor": [1.0] * 64}, 131_072),
        (32_768, {"rope_type": "default", "mrope_section": [16, 24, 24]}, 32_768),
    ],
)
def test_a_declared_scaling_reaches_as_far_as_its_publisher_says(
    trained: int, scaling: dict[str, object], longest: int
) -> None:
    spec = scaled(trained, **scaling)
    assert spec.context_length == trained  # llama.cpp's n_ctx_train
    assert spec.longest == longest


def test_gemma_3_s_factor_is_in_its_context_already() -> None:
    from mathcore.catalogue.models import find_row

    row = find_row("gemma-3-1b")
    assert row is not None
    config = {**row.config, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    spec = spec_from_config(config, "gemma")
    assert spec.longest == spec.context_length == 32_768


def test_newer_configs_say_it_in_rope_parameters() -> None:
    config = {**QWEN3, "rope_parameters": {**YARN, "rope_theta": 1e6}}
    assert spec_from_config(config, "x").longest == 131_072


@pytest.mark.parametrize("factor", [0, -1.0, 1e9, "4", True])
def test_a_factor_nobody_could_mean_is_refused(factor: object) -> None:
    with pytest.raises(SpecError) as caught:
        scaled(40_960, **{**YARN, "factor": factor})
    assert caught.value.field == "rope_scaling.factor"


def asked(spec: ModelSpec, context: int, *, allow_beyond: bool = False) -> Query:
    return Query(
        model=spec,
        model_ref="qwen3-8b",
        context=context,
        engine="vllm",
        allow_beyond=allow_beyond,
    )


def test_vllm_boots_with_the_context_that_yarn_reaches() -> None:
    """Declared YaRN x 4: 131072 tokens are served; the plan says what they rest on."""
    query = asked(scaled(40_960, **YARN), 131_072)
    answer = plan(query, list(what_ifs(["H100"]).values()))
    assert answer.placements
    (said,) = question_notes(query)
    assert said == (
        "qwen3-8b was trained for 40960 tokens; the rope scaling it declares reaches 131072"
    )
    assert plan_dict(answer)["notes"] == [said]


def test_beyond_it_a_plan_is_refused_unless_asked_for_and_then_warned_of() -> None:
    spec, cards = scaled(40_960), list(what_ifs(["H100"]).values())
    (refusal,) = plan(asked(spec, 65_536), cards).refusals
    assert refusal.code == "NoFit(ctx)"
    assert "--allow-beyond" in refusal.text
    query = asked(spec, 65_536, allow_beyond=True)
    assert plan(query, cards).placements
    (said,) = question_notes(query)
    assert "beyond 40960 its answers may make no sense" in said


def test_within_what_it_was_trained_for_nothing_is_said() -> None:
    assert question_notes(asked(scaled(40_960, **YARN), 40_960)) == ()
    assert question_notes(asked(scaled(40_960), 8192)) == ()


def test_a_file_s_own_scaling_counts_too() -> None:
    from mathcore.formats.config import convert
    from mathcore.formats.gguf import spec_from_gguf

    made = convert(QWEN3)
    tensors = tuple(
        type(tensor)(
            name=tensor.name,
            columns=tensor.columns,
            rows=tensor.rows,
            dims=tensor.dims,
            layer=tensor.layer,
            type_name="F16",
        )
        for tensor in made.tensors
    )
    metadata = {
        **made.metadata,
        "qwen3.rope.scaling.type": "yarn",
        "qwen3.rope.scaling.factor": 4.0,
        "qwen3.rope.scaling.original_context_length": 32_768,
    }
    header = GgufHeader(
        version=3,
        metadata=metadata,
        tensors=tensors,
        end=0,
        data_bytes=0,
        alignment=32,
        lengths={},
    )
    assert spec_from_gguf(header, "x").longest == 131_072
