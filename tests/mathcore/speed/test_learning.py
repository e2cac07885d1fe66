"""What finished jobs change, and how little one of them may."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mathcore.catalogue.models import find_model
from mathcore.hardware.names import lookup_gpu
from mathcore.speed.chip import Chip, chip_of_facts
from mathcore.speed.constants import rates_of, step_s
from mathcore.speed.evidence import DECODE, PREFILL, Evidence, covariance
from mathcore.speed.learning import Observation, learned_speed
from mathcore.speed.lesson import Lesson
from mathcore.speed.predict import prior_speed
from mathcore.speed.terms import Run, decode_terms
from mathcore.speed.work import Work, work_of


def work(name: str, quant: str) -> Work:
    spec = find_model(name)
    assert spec is not None
    return work_of(spec, quant)


_FACT = lookup_gpu("RTX 4090")
assert _FACT is not None
CHIP = chip_of_facts(_FACT)
RUN = Run(prompt=512, generated=128, depth=576, bits=4.9)
SMALL, LARGE = work("llama-3-8b", "Q4_K_M"), work("qwen3-32b", "Q4_K_M")
MODELS = (SMALL, work("qwen3-4b", "Q4_K_M"), work("qwen3-14b", "Q4_K_M"))


def job(model: Work, slower: float, layers_slower: float = 1.0, run: Run = RUN) -> Observation:
    """A job on a device whose bytes and layers take that much longer than the prior says."""
    true = rates_of(CHIP, run)
    true = replace(true, eta=true.eta / slower, tau_s=true.tau_s * layers_slower)
    seconds = step_s(decode_terms(CHIP, run, model), true)
    first = prior_speed(CHIP, run, model).first_s.p50 * slower
    return Observation(
        device="d", key=str(model.total_bytes), run=run, work=model, step_s=seconds, first_s=first
    )


def asked(model: Work, key: str, run: Run = RUN) -> Evidence:
    return Evidence(DECODE, CHIP, run, model, key, 0.0)


def test_without_jobs_the_prior_stands() -> None:
    assert Lesson(DECODE, 0.01, []).answer(asked(SMALL, "k")) == (1.0, 1.0)
    said, prior = learned_speed(CHIP, RUN, SMALL, "k", []), prior_speed(CHIP, RUN, SMALL)
    assert said == prior


@given(slower=st.floats(0.6, 1.8), off=st.floats(0.8, 1.25))
def test_two_jobs_on_other_models_cut_the_error_by_a_third_and_more(
    slower: float, off: float
) -> None:
    layers = slower * off  # slow chips launch slowly, too
    seen = [job(model, slower, layers) for model in MODELS[:2]]
    truth = job(LARGE, slower, layers).step_s
    cold = abs(prior_speed(CHIP, RUN, LARGE).step_s.p50 / truth - 1)
    warm = abs(learned_speed(CHIP, RUN, LARGE, "other", seen).step_s.p50 / truth - 1)
    assert warm <= 2 / 3 * cold + 0.05  # nor do they spoil a good prior


@given(order=st.permutations(range(3)))
def test_the_order_of_jobs_changes_nothing(order: list[int]) -> None:
    seen = [job(model, 1.3) for model in MODELS]
    one = learned_speed(CHIP, RUN, LARGE, "k", seen)
    other = learned_speed(CHIP, RUN, LARGE, "k", [seen[i] for i in order])
    assert one.step_s.p50 == pytest.approx(other.step_s.p50, rel=1e-12)


@given(wild=st.floats(1e-6, 1e6))
def test_one_absurd_job_cannot_make_a_device_absurd(wild: float) -> None:
    said = learned_speed(CHIP, RUN, SMALL, "k", [replace(job(SMALL, 1.0), step_s=wild)])
    cold = prior_speed(CHIP, RUN, SMALL)
    assert cold.step_s.p50 / 10 < said.step_s.p50 < cold.step_s.p50 * 10


def test_jobs_of_another_engine_teach_nothing() -> None:
    seen = [replace(job(SMALL, 2.0), run=replace(RUN, engine="vllm"))]
    said = learned_speed(CHIP, RUN, SMALL, "k", seen)
    assert said == prior_speed(CHIP, RUN, SMALL)


def test_a_job_at_another_precision_or_backend_has_less_in_common() -> None:
    here = asked(SMALL, "a")
    alike = covariance(DECODE, here, asked(SMALL, "b"), 0.01)
    for changed in (replace(RUN, bits=16.0), replace(RUN, flags=("vulkan",))):
        assert covariance(DECODE, here, asked(SMALL, "b", changed), 0.01) < alike


@given(slower=st.lists(st.floats(0.95, 1.05), min_size=1, max_size=6))
def test_jobs_as_expected_never_widen_the_bar_and_it_never_closes(slower: list[float]) -> None:
    lesson = Lesson(DECODE, 0.01, [])
    widths = [lesson.answer(asked(LARGE, "q"))[1]]
    runs: list[Evidence] = []
    for i, factor in enumerate(slower):
        model, first = MODELS[i % 3], job(MODELS[i % 3], factor)
        runs.append(Evidence(DECODE, CHIP, RUN, model, str(i), first.step_s))
        widths.append(Lesson(DECODE, 0.01, runs).answer(asked(LARGE, "q"))[1])
    assert all(0.0 < after <= before for before, after in zip(widths, widths[1:], strict=False))


RUNS = st.builds(
    Run,
    batch=st.sampled_from([1, 4, 64]),
    prompt=st.integers(1, 9000),
    depth=st.floats(1, 70_000),
    bits=st.floats(1.5, 17),
    devices=st.sampled_from([1, 2]),
    flags=st.sampled_from([(), ("vulkan",), ("old",)]),
)


NEIGHBOURS = [(replace(RUN, depth=100.0 * 1.2**i), 0) for i in range(8)]


@example(NEIGHBOURS, DECODE)
@given(
    st.lists(st.tuples(RUNS, st.integers(0, 2)), min_size=2, max_size=12),
    st.sampled_from([DECODE, PREFILL]),
)
def test_what_runs_have_in_common_is_a_covariance(runs: list[tuple[Run, int]], what: str) -> None:
    """Else the process extrapolates without bound, as it once did for two almost equal depths."""
    found = [Evidence(what, CHIP, run, MODELS[i], f"m{i}", 0.0) for run, i in runs]
    matrix = np.array([[covariance(what, a, b, 0.02) for b in found] for a in found])
    assert np.linalg.eigvalsh(matrix).min() > -1e-9


@given(st.lists(st.floats(1e-5, 1e3), min_size=1, max_size=20), RUNS)
def test_no_jobs_make_the_answer_leave_its_bounds(seconds: list[float], run: Run) -> None:
    seen = [replace(job(SMALL, 1.0), step_s=value, first_s=value) for value in seconds]
    said = learned_speed(CHIP, run, LARGE, "q", seen)
    assert 0.0 < said.step_s.p10 <= said.step_s.p50 <= said.step_s.p90 < 1e6


def test_the_same_run_again_weighs_as_one_with_less_noise() -> None:
    once = learned_speed(CHIP, RUN, SMALL, "k", [replace(job(SMALL, 1.4), key="k")])
    often = learned_speed(CHIP, RUN, SMALL, "k", [replace(job(SMALL, 1.4), key="k")] * 50)
    truth = job(SMALL, 1.4).step_s
    assert abs(often.step_s.p50 / truth - 1) <= abs(once.step_s.p50 / truth - 1) < 0.25


def test_the_basis_says_where_a_figure_comes_from_and_the_bar_narrows() -> None:
    one, two = job(MODELS[1], 1.2), job(MODELS[2], 1.2)
    prior = learned_speed(CHIP, RUN, SMALL, "k", [])
    learned = learned_speed(CHIP, RUN, SMALL, "k", [one, two])
    measured = learned_speed(CHIP, RUN, SMALL, "k", [replace(one, key="k")])
    assert prior.basis.startswith("prior")
    assert learned.basis == "learned from 2 jobs on this device"
    assert measured.basis == "measured"
    widths = [said.step_s.p90 / said.step_s.p10 for said in (prior, learned, measured)]
    assert widths[0] > widths[1] > widths[2]


def test_a_learned_device_predicts_the_job_it_saw() -> None:
    seen = [job(SMALL, 1.4) for _ in range(8)]
    said = learned_speed(CHIP, RUN, SMALL, seen[0].key, seen).step_s.p50
    assert said == pytest.approx(seen[0].step_s, rel=0.02)


def test_jobs_far_from_their_class_are_believed_and_the_next_is_less_sure() -> None:
    calm, wild = ([job(model, slower) for model in MODELS[:2]] for slower in (1.0, 4.0))
    near, far = (learned_speed(CHIP, RUN, LARGE, "q", seen).step_s for seen in (calm, wild))
    assert far.p50 / near.p50 > 2.0
    assert far.p90 / far.p10 > near.p90 / near.p10


def test_a_model_that_ran_here_is_expected_as_it_ran_however_far_from_its_class() -> None:
    card = Chip(device_class="gddr", arch="ada", bandwidth=1e12, flops=165e12, known=True)
    run = Run(prompt=512, generated=128, depth=576.0, bits=4.9)
    work = Work(
        layers=32, hidden=4096, total_bytes=5 * 10**9, dense_bytes=5 * 10**9, active=8 * 10**9
    )
    cold = learned_speed(card, run, work, "m", [])
    for slower in (0.4, 3.0, 6.0):
        took = cold.step_s.p50 * slower
        seen = [Observation(device="d", key="m", run=run, work=work, step_s=took)] * 3
        warm = learned_speed(card, run, work, "m", seen)
        assert warm.basis == "measured"
        assert warm.step_s.p10 < took < warm.step_s.p90
        assert abs(warm.step_s.p50 / took - 1) < 0.15


# A processor whose cores `fleet calibrate` found busy, and a toy of 25 million 16-bit weights that
# its cache holds: read faster than memory, multiplied slower than it should be.
CPU = Chip(device_class="cpu", arch="", bandwidth=20e9, flops=0.04e12)
TOY = Work(
    layers=6, hidden=384, total_bytes=50_000_000, dense_bytes=45_000_000, active=22_000_000,
    kv_width=6 * 768, query_width=6 * 768,
)  # fmt: skip
TOY_RUN = Run(
    prompt=512, generated=128, depth=576.0, bits=16.0, offloaded_share=0.0, flags=("wide",)
)
TYPES = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M")


def toy(batch: int, slower: float) -> Observation:
    run = replace(TOY_RUN, batch=batch)
    took = prior_speed(CPU, run, TOY)
    return Observation(
        device="d", key="toy F16", run=run, work=TOY, step_s=took.step_s.p50 * slower,
        first_s=took.first_s.p50 * slower,
    )  # fmt: skip


def of_type(name: str, quant: str, batch: int = 1) -> tuple[Run, Work]:
    """A run of a model at a type, its answer short of 640 tokens deep."""
    spec = find_model(name)
    assert spec is not None
    model = work_of(spec, quant)
    bits = 8 * model.total_bytes / spec.parameters
    flags = ("wide",) if bits >= 12 else ()
    run = replace(TOY_RUN, batch=batch, generated=256, depth=640.0, bits=bits, flags=flags)
    return run, model


def test_a_toy_s_jobs_do_not_make_quantising_a_large_model_slower() -> None:
    """A newcomer read 1.0 tokens/s at F16, then 0.85, 0.72 and 0.57 at Q8_0, Q6_K and Q4_K_M."""
    seen = [toy(1, 0.5), toy(4, 2.0), toy(8, 4.0)]
    rates = []
    for quant in ("F16", "Q8_0", "Q6_K", "Q4_K_M"):
        run, model = of_type("llama-3.1-8b", quant)
        rates.append(learned_speed(CPU, run, model, f"8b {quant}", seen).decode_tps.p50)
    assert rates == sorted(rates)
    assert rates[-1] > 2 * rates[0]  # a third of the bytes


@given(
    st.lists(
        st.builds(toy, st.sampled_from([1, 2, 4, 8, 16]), st.floats(0.1, 10)),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["llama-3.1-8b", "qwen3-4b", "llama-2-13b"]),
    st.sampled_from([1, 4]),
)
def test_fewer_bytes_are_never_slower_than_the_type_that_ran(
    seen: list[Observation], name: str, batch: int
) -> None:
    """Beyond what the prior says of their kernels; to a thousandth, for the 16-bit model it is held
    to is this one resized, not weighed anew (its norms stay 32 bits wide)."""

    def factor(quant: str) -> float:
        run, model = of_type(name, quant, batch)
        said = learned_speed(CPU, run, model, f"{name} {quant}", seen).step_s.p50
        return said / prior_speed(CPU, run, model).step_s.p50

    widest = factor("F16")
    for quant in TYPES[1:]:
        assert factor(quant) <= widest * 1.001


def test_what_was_measured_at_about_the_size_stands_however_odd() -> None:
    """A Q4_K_M that really ran four times slower here is not taken for a toy's mistake."""
    run, model = of_type("llama-3.1-8b", "Q4_K_M")
    took = prior_speed(CPU, run, model).step_s.p50 * 4
    slow = Observation(device="d", key="8b Q4_K_M", run=run, work=model, step_s=took)
    seen = [toy(1, 0.5), slow, slow]
    said = learned_speed(CPU, run, model, "8b Q4_K_M", seen).step_s.p50
    assert said == pytest.approx(took, rel=0.2)


def different(slower: list[float]) -> list[Observation]:
    """Jobs of four models, each that much slower than the prior says."""
    models = (*MODELS, work("qwen3-8b", "Q4_K_M"))
    return [replace(job(models[i % 4], factor), key=str(i)) for i, factor in enumerate(slower)]


@pytest.mark.parametrize("wrong", [3.0, 1 / 3.0])
def test_one_poisoned_job_of_four_moves_the_next_prediction_little(wrong: float) -> None:
    """The machine was busy, or drafts made it quick: the other three say so."""
    truth = prior_speed(CHIP, RUN, LARGE).step_s.p50
    said = learned_speed(CHIP, RUN, LARGE, "q", different([wrong, 1.0, 1.02, 0.99])).step_s
    assert abs(said.p50 / truth - 1) < 0.15
    assert said.p10 < truth < said.p90


def test_a_single_wild_job_is_half_believed_and_one_that_repeats_is_believed() -> None:
    once = different([3.0])
    again = once * 3
    cold = prior_speed(CHIP, RUN, SMALL).step_s.p50
    first, third = (
        learned_speed(CHIP, RUN, MODELS[0], "0", seen).step_s.p50 / cold for seen in (once, again)
    )
    assert first < 2.0
    assert third > 2.0


def test_most_jobs_say_what_a_device_is_whatever_its_class() -> None:
    """A card at half its power: four models at half speed are no four accidents."""
    truth = 2.0 * prior_speed(CHIP, RUN, LARGE).step_s.p50
    said = learned_speed(CHIP, RUN, LARGE, "q", different([2.0, 2.1, 1.9, 2.0])).step_s.p50
    assert said == pytest.approx(truth, rel=0.25)


def test_a_toy_teaches_of_toys_alone() -> None:
    seen = [toy(1, 0.3), toy(4, 5.0)]
    run, model = of_type("llama-3.1-8b", "Q4_K_M")
    assert learned_speed(CPU, run, model, "8b", seen) == prior_speed(CPU, run, model)
    assert learned_speed(CPU, TOY_RUN, TOY, "toy F16", seen).basis == "measured"


def test_a_job_faster_than_memory_allows_teaches_nothing() -> None:
    """Drafts, or another model: an RTX 4090 reads 1,008 GB/s, never 1,500."""
    possible, not_possible = (
        replace(job(SMALL, 1.0), step_s=SMALL.weight_bytes(1.0) / rate) for rate in (0.9e12, 1.5e12)
    )
    cold = prior_speed(CHIP, RUN, SMALL)
    assert learned_speed(CHIP, RUN, SMALL, "k", [not_possible]) == cold
    assert learned_speed(CHIP, RUN, SMALL, "k", [possible]).basis != cold.basis


def test_a_bandwidth_measured_while_others_worked_refuses_no_job() -> None:
    busy = replace(CHIP, bandwidth=CHIP.bandwidth / 4)
    assert learned_speed(busy, RUN, SMALL, "k", [job(SMALL, 1.0)]).basis.startswith("learned")
