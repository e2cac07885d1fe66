"""The one reader of layers: every architecture's windows, and metadata nobody should trust."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.api import SpecError
from mathcore.architectures.registry import architectures, layers_from
from mathcore.convert.conversion import Conversion
from mathcore.formats.config import convert
from mathcore.formats.gguf import spec_from_parts
from tests.mathcore.convert.attention_configs import CONFIGS, LAYERS

FOUND: dict[str, Conversion] = {name: convert(config) for name, config in CONFIGS.items()}


def kinds(name: str, **changes: object) -> list[str]:
    """The kinds of a config's layers once some metadata is changed; None removes a key."""
    found = FOUND[name]
    arch = found.metadata["general.architecture"]
    metadata = dict(found.metadata)
    for key, value in changes.items():
        name = f"{arch}.{key.replace('__', '.')}"
        metadata.pop(name, None)
        if value is not None:
            metadata[name] = value
    return [layer.kind for layer in layers_from(metadata, found.tensors)]


def test_a_file_without_a_pattern_gets_its_architectures_own() -> None:
    assert kinds("gemma3", attention__sliding_window_pattern=None) == [
        "full" if (i + 1) % 6 == 0 else "sliding" for i in range(LAYERS)
    ]
    assert kinds("gpt_oss", attention__sliding_window_pattern=None) == ["sliding", "full"] * 4
    assert (
        kinds("olmo3", attention__sliding_window_pattern=None) == (["sliding"] * 3 + ["full"]) * 2
    )


def test_a_pattern_may_be_a_period() -> None:
    assert kinds("gemma3", attention__sliding_window_pattern=2) == ["sliding", "full"] * 4


def test_without_a_window_nothing_slides() -> None:
    assert kinds("gemma3", attention__sliding_window=None) == ["full"] * LAYERS
    assert kinds("llama4", attention__sliding_window=0) == ["full"] * LAYERS
    assert kinds("llama4") == (["chunked"] * 3 + ["full"]) * 2


def test_a_list_stepped_over_is_not_taken_for_an_absent_one() -> None:
    found = FOUND["gemma3"]
    metadata = {**found.metadata, "gemma3.attention.sliding_window_pattern": None}
    with pytest.raises(SpecError, match="longer than any model"):
        layers_from(metadata, found.tensors)


def test_layers_that_share_a_cache_say_whose() -> None:
    found = FOUND["gemma4-e2b"]
    layers = layers_from(found.metadata, found.tensors)
    assert [layer.reads for layer in layers] == [-1, -1, -1, -1, 2, 2, 2, 3]
    assert [layer.k_elements > 0 for layer in layers] == [True] * 4 + [False] * 4


def test_an_architecture_nobody_knows_is_refused() -> None:
    found = FOUND["llama"]
    with pytest.raises(SpecError, match="general.architecture"):
        layers_from({**found.metadata, "general.architecture": "llama9"}, found.tensors)


def test_every_configs_architecture_is_read() -> None:
    assert {str(f.metadata["general.architecture"]) for f in FOUND.values()} <= set(architectures())


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.one_of(st.integers(-2, 9), st.booleans(), st.text(max_size=2)), max_size=9),
)


@given(name=st.sampled_from(sorted(FOUND)), pick=st.integers(0, 99), junk=JUNK)
def test_metadata_of_strangers_is_read_or_refused(name: str, pick: int, junk: object) -> None:
    found = FOUND[name]
    keys = sorted(found.metadata)
    metadata = {**found.metadata, keys[pick % len(keys)]: junk}
    try:
        spec = spec_from_parts(metadata, found.tensors, "x")
    except SpecError:
        return
    assert all(layer.k_elements >= 0 and layer.window >= 0 for layer in spec.layers)
