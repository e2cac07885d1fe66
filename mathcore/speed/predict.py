"""Tokens per second and seconds, with an error bar: terms times what a class of devices reaches."""

from dataclasses import dataclass
from typing import final

from mathcore.band import Band, spread_band
from mathcore.speed.bars import is_seen, spread_of
from mathcore.speed.chip import Chip
from mathcore.speed.constants import Rates, prompt_s, rates_of, shown_parts, step_parts
from mathcore.speed.priors import EFFECTS
from mathcore.speed.terms import SERVERS, Run, decode_terms, prefill_terms
from mathcore.speed.work import Work


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One run's rates. Decode is per sequence; total counts all prompt and generated tokens."""

    step_s: Band
    first_s: Band  # from loaded to the first token
    decode_tps: Band
    prefill_tps: Band
    total_tps: Band
    terms: tuple[tuple[str, float], ...]  # seconds of one decode step, by cause
    basis: str


def _over(amount: float, time: Band) -> Band:
    return Band(p10=amount / time.p90, p50=amount / time.p50, p90=amount / time.p10)


def predict(chip: Chip, run: Run, work: Work, rates: Rates, basis: str) -> Speed:
    """The speed of a run with given rates; the error bar is that of the class."""
    decode = decode_terms(chip, run, work)
    parts = step_parts(decode, rates)
    step, first = sum(parts), prompt_s(prefill_terms(chip, run, work), rates)
    offloaded = decode.host > 0.0
    steps = spread_band(step, spread_of("decode", chip, run, work, offloaded=offloaded))
    firsts = spread_band(first, spread_of("prefill", chip, run, work, offloaded=offloaded))
    whole = first + step * run.generated
    totals = spread_band(whole, spread_of("total", chip, run, work, offloaded=offloaded))
    prompts = float(max(1, run.prompt) * run.batch)
    return Speed(
        step_s=steps,
        first_s=firsts,
        decode_tps=_over(1.0, steps),
        prefill_tps=_over(prompts, firsts),
        total_tps=_over(float((run.prompt + run.generated) * run.batch), totals),
        terms=shown_parts(parts),
        basis=basis,
    )


# Engines with constants of their own; another is taken for the middle of its group.
MEASURED_ENGINES: frozenset[str] = frozenset(
    engine for engine in ("llama.cpp", "ollama", "mlx", *SERVERS) if f"tau {engine}" in EFFECTS
)


PRIOR = "prior: "  # how the basis of an unlearned figure begins


def prior_basis(chip: Chip, run: Run) -> str:
    """What a figure rests on before any job: this device in public tables, its class, a guess."""
    name = chip.name if is_seen(chip, run) else chip.device_class
    if not chip.known:
        name += ", device not in the catalogue"
    if run.engine not in MEASURED_ENGINES:
        name += f", {run.engine} like other engines of its kind"
    return PRIOR + name


def prior_speed(chip: Chip, run: Run, work: Work) -> Speed:
    """The speed of a device that has run nothing yet."""
    return predict(chip, run, work, rates_of(chip, run), prior_basis(chip, run))
