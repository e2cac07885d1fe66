"""A config with one wrong field is read or refused by name; no arithmetic fails on it."""

import contextlib

import pytest

from mathcore.formats.config import spec_from_config
from mathcore.model.spec import SpecError
from tests.mathcore.engines.memory_configs import CONFIGS

SIZES = (1, 2, 3, 7, 1000, 10**6, 2**31, 10**12)
OTHERS = (None, 0, -1, 1.5, "x", [], {}, True, [1], [None], {"a": 1})


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_one_wrong_field_is_read_or_refused_by_name(name: str) -> None:
    config = CONFIGS[name]
    for field, value in config.items():
        for wrong in SIZES if type(value) is int else OTHERS:
            with contextlib.suppress(SpecError):
                spec_from_config({**config, field: wrong}, name)


def test_more_heads_than_numbers_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match="num_attention_heads"):
        spec_from_config({**CONFIGS["rwkv6qwen2"], "num_attention_heads": 10**6}, "wrong")
