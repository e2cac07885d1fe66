"""The speed model: what must hold for every device, and a few published measurements."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.catalogue.models import find_model
from mathcore.hardware.facts import cpus, gpus
from mathcore.hardware.names import lookup_gpu
from mathcore.speed.chip import Chip, chip_of_facts, guessed_chip
from mathcore.speed.constants import rates_of, step_s
from mathcore.speed.predict import Speed, prior_speed
from mathcore.speed.priors import EFFECTS, SPREADS
from mathcore.speed.terms import Run, decode_terms, offloaded_share, prefill_terms
from mathcore.speed.work import Work, scaled, work_of, work_of_size


def chip(name: str) -> Chip:
    fact = lookup_gpu(name)
    assert fact is not None
    return chip_of_facts(fact)


def work(name: str, quant: str) -> Work:
    spec = find_model(name)
    assert spec is not None
    return work_of(spec, quant)


LLAMA = work("llama-3-8b", "Q4_K_M")
QWEN_MOE = work("qwen3-30b-a3b", "Q4_K_M")
DEVICES = ("RTX 4090", "RTX 3060", "A100 80GB", "Apple M2 Ultra", "RX 7900 XTX", "GB10", "MI300X")
ENGINES = ("llama.cpp", "ollama", "vllm", "mlx", "tgi", "trtllm", "sglang")

# (device, model, quant, engine flags, generated, measured tokens/s, source)
MEASURED = [
    ("RTX 4090", "llama-3-8b", "Q4_K_M", ("old",), 512, 130.6, "XiongjieDai, b2824"),
    ("RTX 6000 Ada", "llama-3-70b", "Q4_K_M", ("old",), 512, 18.5, "XiongjieDai, b2824"),
    ("A100 PCIe 80GB", "llama-3-8b", "Q4_K_M", ("old",), 512, 140.6, "XiongjieDai, b2824"),
    ("Apple M2 Ultra", "llama-3-8b", "F16", ("old", "wide"), 512, 36.9, "XiongjieDai, b2836"),
]


@pytest.mark.parametrize(
    ("device", "model", "quant", "flags", "tokens", "truth", "source"), MEASURED
)
def test_published_single_stream_speeds_are_met(
    device: str,
    model: str,
    quant: str,
    flags: tuple[str, ...],
    tokens: int,
    truth: float,
    source: str,
) -> None:
    run = Run(flags=flags, generated=tokens, depth=tokens / 2, bits=4.9)
    said = prior_speed(chip(device), run, work(model, quant)).decode_tps.p50
    assert said == pytest.approx(truth, rel=0.2), source


def speeds(name: str, **changes: object) -> Speed:
    run = Run(prompt=512, generated=128, depth=576, bits=4.9)
    return prior_speed(chip(name), replace(run, **changes), LLAMA)  # type: ignore[arg-type]


@given(
    name=st.sampled_from(DEVICES),
    engine=st.sampled_from(ENGINES),
    faster=st.floats(1.0, 8.0),
    stronger=st.floats(1.0, 8.0),
    batch=st.integers(1, 256),
)
def test_a_strictly_better_device_is_never_slower(
    name: str, engine: str, faster: float, stronger: float, batch: int
) -> None:
    old = chip(name)
    new = replace(
        old,
        bandwidth=old.bandwidth * faster,
        flops=old.flops * stronger,
        matmul=old.matmul * stronger,
        fp8_flops=old.fp8_flops * stronger,
        fp4_flops=old.fp4_flops * stronger,
    )
    run = Run(engine=engine, batch=batch, prompt=512, generated=64, depth=544, bits=4.9)
    before, after = prior_speed(old, run, QWEN_MOE), prior_speed(new, run, QWEN_MOE)
    assert after.step_s.p50 <= before.step_s.p50
    assert after.first_s.p50 <= before.first_s.p50


@given(
    name=st.sampled_from(DEVICES),
    engine=st.sampled_from(ENGINES),
    depth=st.integers(0, 100_000),
    more=st.integers(0, 100_000),
)
def test_more_context_is_never_faster_per_token(
    name: str, engine: str, depth: int, more: int
) -> None:
    shallow = speeds(name, engine=engine, depth=float(depth)).step_s.p50
    assert speeds(name, engine=engine, depth=float(depth + more)).step_s.p50 >= shallow


@given(
    name=st.sampled_from(DEVICES),
    engine=st.sampled_from(ENGINES),
    batch=st.integers(1, 200),
    more=st.integers(1, 200),
)
def test_more_sequences_raise_the_total_and_not_the_speed_of_one(
    name: str, engine: str, batch: int, more: int
) -> None:
    few = speeds(name, engine=engine, batch=batch, prompt=1)
    many = speeds(name, engine=engine, batch=batch + more, prompt=1)
    assert many.decode_tps.p50 <= few.decode_tps.p50
    assert many.decode_tps.p50 * (batch + more) >= 0.999 * few.decode_tps.p50 * batch


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("engine", ENGINES)
def test_percentiles_are_in_order_for_every_rate(name: str, engine: str) -> None:
    said = speeds(name, engine=engine)
    for band in (said.decode_tps, said.prefill_tps, said.total_tps, said.step_s, said.first_s):
        assert 0 < band.p10 < band.p50 < band.p90


def test_the_terms_of_a_step_add_up_to_it() -> None:
    run = Run(
        engine="vllm",
        devices=4,
        split="tensor",
        batch=32,
        prompt=512,
        generated=128,
        depth=576,
        mixed=True,
    )
    said = prior_speed(chip("H100"), run, QWEN_MOE)
    assert sum(seconds for _, seconds in said.terms) == pytest.approx(said.step_s.p50)


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_read_faster_than_the_memory_it_lies_in(engine: str) -> None:
    for facts in gpus() + cpus():
        card = chip_of_facts(facts)
        rates = rates_of(card, Run(engine=engine))
        assert 0.0 < rates.eta < 1.0
        assert 0.0 < rates.link < 1.0
        floor = LLAMA.weight_bytes(1.0) / card.bandwidth
        assert (
            step_s(decode_terms(card, Run(engine=engine, offloaded_share=0.0), LLAMA), rates)
            > floor
        )


def test_experts_touched_grow_with_the_batch_up_to_all() -> None:
    assert QWEN_MOE.touched(1) == pytest.approx(8 / 128)
    assert QWEN_MOE.touched(16) == pytest.approx(1 - (1 - 8 / 128) ** 16)
    assert QWEN_MOE.touched(10_000) == pytest.approx(1.0)
    assert LLAMA.touched(64) == 0.0


def test_an_unknown_device_gets_its_class_and_a_wider_bar_and_says_so() -> None:
    known, unknown = chip("RTX 4090"), guessed_chip("NVIDIA GeForce RTX 9999")
    assert unknown is not None
    run = Run(prompt=512, generated=128, depth=576, bits=4.9)
    sure, unsure = prior_speed(known, run, LLAMA), prior_speed(unknown, run, LLAMA)
    assert "not in the catalogue" in unsure.basis
    assert "not in the catalogue" not in sure.basis
    width = [said.decode_tps.p90 / said.decode_tps.p10 for said in (sure, unsure)]
    assert width[1] > width[0]


def test_an_engine_nobody_measured_says_whose_constants_it_takes() -> None:
    for engine in ("llama.cpp", "ollama", "mlx", "vllm"):
        assert "like other engines" not in speeds("RTX 4090", engine=engine).basis
    assert "tgi like other engines" in speeds("RTX 4090", engine="tgi").basis


def test_a_device_in_public_tables_is_named_in_the_basis_and_another_by_its_class() -> None:
    assert speeds("RTX 4090").basis == "prior: RTX 4090"
    assert speeds("RTX 4060").basis == "prior: gddr"


def test_a_card_held_back_by_its_power_limit_multiplies_less_than_its_cores_could() -> None:
    desktop, station = chip("RTX 4090"), chip("RTX 6000 Ada")
    assert station.flops > desktop.flops
    assert station.matmul < desktop.matmul


def test_error_correction_takes_its_share_of_a_servers_card() -> None:
    assert chip("A40").bandwidth == pytest.approx(0.9 * 696e9)
    assert chip("RTX A6000").bandwidth == 768e9


def test_few_prompt_tokens_waste_more_of_a_pass_than_many_and_routed_ones_most() -> None:
    short, long = Run(prompt=32), Run(prompt=512)
    for model in (LLAMA, QWEN_MOE):
        few, many = (prefill_terms(chip("RTX 4090"), run, model) for run in (short, long))
        assert (few.fill + few.scatter) / few.compute > (many.fill + many.scatter) / many.compute
    assert prefill_terms(chip("RTX 4090"), Run(prompt=1), LLAMA).fill == 0.0


def test_weights_that_do_not_fit_are_read_from_the_hosts_memory() -> None:
    small, big = chip("RTX 3060"), work("llama-3-70b", "Q4_K_M")
    run = Run(depth=512, bits=4.9)
    assert offloaded_share(small, run, big) > 0.5
    assert offloaded_share(small, run, LLAMA) == 0.0
    slow = replace(run, ram_bandwidth=20e9)
    fast = replace(run, ram_bandwidth=80e9)
    rates = rates_of(small, run)
    assert step_s(decode_terms(small, slow, big), rates) > step_s(
        decode_terms(small, fast, big), rates
    )


def test_a_prompt_finds_nearly_all_experts_in_the_hosts_memory_a_token_few() -> None:
    """All experts of a mixture in RAM: what a token reads of them is a small share of it, what 512
    tokens read is all of them. Of a dense model both are the share that lies there."""
    card, ram = chip("RTX 3090"), 40e9
    chosen = QWEN_MOE.expert_bytes * QWEN_MOE.touched(1.0)
    share = chosen / QWEN_MOE.weight_bytes(1.0)
    run = Run(prompt=512, offloaded_share=share, ram_bandwidth=ram)
    assert decode_terms(card, run, QWEN_MOE).host == pytest.approx(chosen / ram)
    prompt = prefill_terms(card, run, QWEN_MOE)
    assert prompt.host == pytest.approx(QWEN_MOE.expert_bytes * QWEN_MOE.touched(512.0) / ram)
    assert prompt.weights == pytest.approx(QWEN_MOE.dense_bytes / card.bandwidth)
    dense = replace(run, offloaded_share=0.25)
    for terms in (decode_terms(card, dense, LLAMA), prefill_terms(card, dense, LLAMA)):
        assert terms.host == pytest.approx(0.25 * LLAMA.weight_bytes() / ram)


def test_pipelined_prompts_use_every_device_once_they_are_long() -> None:
    one, four = Run(prompt=4096), Run(prompt=4096, devices=4)
    card = chip("RTX 4090")
    assert prefill_terms(card, four, LLAMA).compute < 0.6 * prefill_terms(card, one, LLAMA).compute
    short = prefill_terms(card, Run(prompt=128, devices=4), LLAMA).compute
    assert short == prefill_terms(card, Run(prompt=128), LLAMA).compute


@given(size=st.floats(1e8, 1e12), share=st.floats(0.02, 1.0), bits=st.floats(2, 16))
def test_a_model_known_by_size_only_still_has_a_plausible_shape(
    size: float, share: float, bits: float
) -> None:
    rough = work_of_size(size, size * share, size * bits / 8)
    assert rough.basis == "size"
    assert 0 < rough.weight_bytes(1) <= rough.total_bytes * 1.001
    assert rough.weight_bytes(64) <= rough.total_bytes * 1.001
    assert rough.layers > 0


def test_scaling_keeps_the_model_and_changes_the_bytes() -> None:
    half = scaled(QWEN_MOE, QWEN_MOE.total_bytes / 2)
    assert half.weight_bytes(1) == pytest.approx(QWEN_MOE.weight_bytes(1) / 2, rel=1e-6)
    assert half.active == QWEN_MOE.active


def test_the_fitted_constants_are_there_and_their_bars_straddle_nothing_absurd() -> None:
    assert len(EFFECTS) > 50
    for low, high in SPREADS.values():
        assert -3.0 <= low < 0.0 < high <= 3.0
