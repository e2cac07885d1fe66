"""llama.cpp on several cards or partly in host memory: bytes of each, and which layers go where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.api import GIB, MIB, ContextShape, ModelSpec, SpecError, find_model, weigh
from mathcore.engines.llamacpp.fit import Split, cpu_experts, gpu_layers
from mathcore.engines.llamacpp.offload import Placing, bounds_of, placed_footprint


def card_of(i: int, layers: int, placing: Placing) -> int:
    """The card of layer i (`layers` = the output layer), -1 for host memory."""
    bounds = bounds_of(layers, placing.gpu_layers, placing.split)
    if i < bounds[0]:
        return -1
    for card in range(len(placing.split)):
        if i < bounds[card + 1]:
            return card
    return len(placing.split) - 1


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


SMALL = model("llama-3.2-1b")
LARGE = model("llama-3-70b")
EXPERTS = model("qwen3-30b-a3b")


def test_a_70b_on_two_equal_cards_puts_41_and_39_layers_there() -> None:
    # llama.cpp over two RPC devices, c=8192: KV 1312 and 1248 MiB, 32 MiB a layer.
    both = Placing(split=(1, 1))
    cards = [card_of(i, 80, both) for i in range(81)]
    assert (cards[:80].count(0), cards[:80].count(1), cards[80]) == (41, 39, 1)
    need = placed_footprint(LARGE, weigh(LARGE, "Q4_K_M"), ContextShape(context=8192), both)
    assert need.kv_bytes == (1312 + 1248) * MIB
    assert need.card_bytes == max(need.cards)


def test_unequal_cards_take_layers_in_proportion() -> None:
    cards = [card_of(i, 80, Placing(split=(24, 8))) for i in range(80)]
    assert cards.count(0) == 61
    assert cards == sorted(cards)


def test_layers_are_offloaded_from_the_last_and_the_rest_stays_in_host_memory() -> None:
    weights, shape = weigh(LARGE, "Q4_K_M"), ContextShape(context=4096)
    found = gpu_layers(Split(LARGE, weights, shape, (24 * GIB,), 64 * GIB))
    assert 0 < found < 81
    for layers, fits in ((found, True), (found + 1, False)):
        need = placed_footprint(LARGE, weights, shape, Placing(gpu_layers=layers))
        assert (need.card_bytes <= 24 * GIB) == fits
    assert gpu_layers(Split(LARGE, weights, shape, (24 * GIB,), GIB)) == -1


def test_experts_go_to_the_host_before_anything_else() -> None:
    weights, shape = weigh(EXPERTS, "Q4_K_M"), ContextShape(context=8192)
    found = cpu_experts(Split(EXPERTS, weights, shape, (8 * GIB,), 64 * GIB))
    assert 0 < found < 48
    moved = sum(weights.expert_bytes[:found])
    none = placed_footprint(EXPERTS, weights, shape, Placing())
    some = placed_footprint(EXPERTS, weights, shape, Placing(cpu_experts=found))
    assert none.weights_bytes - some.weights_bytes == moved


@given(
    layers=st.integers(-1, 90),
    experts=st.integers(0, 48),
    split=st.lists(st.integers(1, 100), min_size=1, max_size=4),
)
def test_every_byte_is_on_some_card_or_the_host(
    layers: int, experts: int, split: list[int]
) -> None:
    weights, shape = weigh(EXPERTS, "Q8_0"), ContextShape(context=2048, sequences=2)
    placing = Placing(gpu_layers=layers, cpu_experts=experts, split=tuple(split))
    need = placed_footprint(EXPERTS, weights, shape, placing)
    assert sum(need.cards) == need.total_bytes
    assert need.weights_bytes <= weights.device_bytes
    assert need.weights_bytes + need.host_bytes >= weights.total_bytes


def test_a_split_without_shares_is_refused() -> None:
    with pytest.raises(SpecError, match="split"):
        placed_footprint(SMALL, weigh(SMALL, "F16"), ContextShape(context=1), Placing(split=(0,)))
