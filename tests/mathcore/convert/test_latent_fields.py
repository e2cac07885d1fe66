"""A needed field that is absent or of another type is refused by its name, never guessed."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mathcore.formats.config import spec_from_config
from mathcore.model.spec import SpecError
from tests.mathcore.engines.memory_configs import CONFIGS, OPTIONAL

NEEDED = [
    (name, field)
    for name, config in CONFIGS.items()
    for field, value in config.items()
    if field not in OPTIONAL and value is not None
]


def refusal(config: dict[str, object]) -> str:
    with pytest.raises(SpecError) as caught:
        spec_from_config(config, "x")
    return caught.value.field


@pytest.mark.parametrize(("name", "field"), NEEDED)
def test_an_absent_field_is_refused_by_name(name: str, field: str) -> None:
    config = {key: value for key, value in CONFIGS[name].items() if key != field}
    named = refusal(config)
    # A field with two spellings is asked for by the newer one.
    newer = {
        "first_k_dense_replace": "first_k_dense_replace",
        "head_dim": "head_dim",
        "attention_head_dim": "head_dim",
        "attn_layer_indices": "layer_types",
        "full_attn_idxs": "layer_types",
        "block_ff_dim": "intermediate_size",
        "linear_attn_config": "layer_types",
        "mlp_layer_types": "first_k_dense_replace",
    }
    assert named == newer.get(field, field)


@given(
    place=st.sampled_from([(name, field) for name, config in CONFIGS.items() for field in config]),
    junk=st.sampled_from(["12", -1, 1.5, {}, [], [None], 1 << 40]),
)
@settings(max_examples=600, deadline=None)
def test_a_field_of_another_type_is_refused_or_changes_nothing(
    place: tuple[str, str], junk: object
) -> None:
    """Nothing else than a SpecError ever comes out, and no junk becomes another model."""
    name, field = place
    config = CONFIGS[name]
    assume(not (isinstance(junk, float) and isinstance(config[field], float)))  # that is no junk
    was = spec_from_config(config, "x")
    try:
        spec = spec_from_config({**config, field: junk}, "x")
    except SpecError:
        return
    assert (spec.layers, spec.tensors) == (was.layers, was.tensors)
