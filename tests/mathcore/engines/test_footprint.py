"""Memory, term by term."""

from hypothesis import given
from hypothesis import strategies as st

from mathcore.api import ContextShape, ModelSpec, find_model, footprint, weigh


def need(name: str, context: int, sequences: int = 1, kv: str = "f16", kind: str = "gpu") -> int:
    spec = model(name)
    shape = ContextShape(context=context, sequences=sequences, kv_type=kv)
    return footprint(spec, weigh(spec, "Q4_K_M"), shape, kind).total_bytes


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


def kv(name: str, context: int, sequences: int = 1, kv_type: str = "f16") -> int:
    spec = model(name)
    shape = ContextShape(context=context, sequences=sequences, kv_type=kv_type)
    return footprint(spec, weigh(spec, "Q4_K_M"), shape, "gpu").kv_bytes


def test_llama_2_70b_caches_ten_gib_for_eight_sequences_of_4096() -> None:
    assert kv("llama-70b", 4096, 8) == 10_737_418_240


def test_caches_are_those_of_published_logs() -> None:
    assert kv("llama-3.1-8b", 4096) == 536_870_912  # llama.cpp PR 10136
    assert kv("qwen2.5-7b", 2048) == 117_440_512  # llama-cpp-python PR 1
    assert kv("llama-3-70b", 32_000) == 10_485_760_000


def test_quantised_caches_carry_their_scales() -> None:
    assert kv("llama-2-70b", 4096, 8, "q8_0") * 32 == 10_737_418_240 * 17
    assert kv("llama-2-70b", 4096, 8, "q4_0") * 32 == 10_737_418_240 * 9


@given(
    context=st.integers(1, 60_000),
    more=st.integers(0, 60_000),
    sequences=st.integers(1, 16),
    extra=st.integers(0, 16),
    kind=st.sampled_from(["gpu", "cpu", "apple"]),
)
def test_more_context_or_batch_never_needs_less(
    context: int, more: int, sequences: int, extra: int, kind: str
) -> None:
    small = need("llama-3.2-1b", context, sequences, kind=kind)
    assert need("llama-3.2-1b", context + more, sequences, kind=kind) >= small
    assert need("llama-3.2-1b", context, sequences + extra, kind=kind) >= small


@given(kind=st.sampled_from(["gpu", "cpu", "apple"]))
def test_the_terms_sum_to_the_total(kind: str) -> None:
    spec = model("llama-3-70b")
    held = footprint(spec, weigh(spec, "Q8_0"), ContextShape(context=8192), kind)
    assert held.total_bytes == (
        held.weights_bytes
        + held.kv_bytes
        + held.state_bytes
        + held.compute_bytes
        + held.overhead_bytes
        + held.output_bytes
        + held.projector_bytes
    )
    assert held.card_bytes == held.total_bytes
