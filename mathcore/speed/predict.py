"""Tokens per second and seconds, with an error bar: terms times what a class of devices reaches.

A step is bytes over eta x bandwidth, operations over mfu x flops, and times per layer, routed
layer, hop and sequence. Each constant is a sum of effects in logarithms: of the engine's kind, the
device's class, its architecture and the circumstances; `scripts/fit` writes them to `priors`.
"""

from dataclasses import dataclass
from math import exp
from typing import final

from mathcore.band import Band, spread_band
from mathcore.speed.chip import Chip
from mathcore.speed.priors import EFFECTS, SEEN, SPREADS
from mathcore.speed.terms import SERVERS, Run, Terms, decode_terms, prefill_terms
from mathcore.speed.work import Work


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one device reaches with one engine. Shares are of nominal rates; times in seconds."""

    eta: float  # share of bandwidth for weights
    kappa: float  # cost of a cache byte against a weight byte
    busy: float  # share of flops in a decode step of many sequences
    tau_s: float  # per layer and step
    sparse_s: float  # per routed layer and step
    latent_s: float  # per layer of latent attention and step
    hop_s: float  # per layer and further device
    link: float  # share of the link
    each_s: float  # per sequence and step
    mixed: float  # share of flops for prompts between steps
    mfu: float  # share of flops in prefill
    attend: float  # share of flops in a prompt's attention
    pass_s: float  # per layer and prefill pass
    fill: float  # tokens' worth of time a prefill pass wastes on every dense weight
    scatter: float  # the same on every routed expert it touches
    host: float  # share of the host's RAM bandwidth


NAMES: tuple[str, ...] = (
    "eta",
    "kappa",
    "busy",
    "tau",
    "sparse",
    "latent",
    "hop",
    "link",
    "each",
    "mixed",
    "mfu",
    "attend",
    "pass",
    "fill",
    "scatter",
    "host",
)


def group_of(engine: str) -> str:
    """Engines whose constants are fitted together: local ones, or servers."""
    return "local" if engine in ("llama.cpp", "ollama", "mlx") else "server"


def effect_names(name: str, chip: Chip, run: Run) -> list[str]:
    """The effects that add up to a constant's logarithm, from the general to the particular."""
    group = group_of(run.engine)
    out = [
        f"{name} {group}",
        f"{name} {group} by {chip.vendor}",
        f"{name} {group} {chip.klass}",
        f"{name} {group} {chip.klass} {chip.arch}",
        f"{name} {run.engine}",
        f"{name} {run.engine} {chip.klass}",
    ]
    if chip.name:
        out.append(f"{name} {group} on {chip.name}")
    for flag in run.flags:
        out.append(f"{name} +{flag}")
        out.append(f"{name} +{flag} {chip.klass}")
        out.append(f"{name} +{flag} on {chip.name}")
    return out


# Nobody reads faster than the memory or a link is: what a fit would have beyond is a row's mistake.
MOST: dict[str, float] = {"eta": 1.0, "link": 1.0, "host": 1.0}


def constant(name: str, chip: Chip, run: Run, effects: dict[str, float]) -> float:
    """One constant in natural units."""
    total = 0.0
    for part in effect_names(name, chip, run):
        total += effects.get(part, 0.0)
    return bounded(exp(total), MOST.get(name, 0.0))


# How sharply a constant bends before its bound; smooth, so that a fit finds its way back.
BEND = 8.0


def bounded(value: float, most: float) -> float:
    """The value, bent to stay below `most`; 0 = no bound."""
    if most <= 0.0:
        return value
    return float(value / (1.0 + (value / most) ** BEND) ** (1.0 / BEND))


# A search asks for the same few classes a million times; the bound is far above their number.
_MEMO_MOST = 4096
_memo: dict[str, Rates] = {}


def rates_of(chip: Chip, run: Run) -> Rates:
    """The prior of a device, an engine and the circumstances."""
    key = f"{chip.klass}|{chip.arch}|{chip.name}|{run.engine}|{' '.join(run.flags)}"
    found = _memo.get(key)
    if found is None:
        found = _rates(chip, run)
        if len(_memo) < _MEMO_MOST:
            _memo[key] = found
    return found


def _rates(chip: Chip, run: Run) -> Rates:
    value = [constant(name, chip, run, EFFECTS) for name in NAMES]
    return Rates(
        eta=value[0],
        kappa=value[1],
        busy=value[2],
        tau_s=value[3],
        sparse_s=value[4],
        latent_s=value[5],
        hop_s=value[6],
        link=value[7],
        each_s=value[8],
        mixed=value[9],
        mfu=value[10],
        attend=value[11],
        pass_s=value[12],
        fill=value[13],
        scatter=value[14],
        host=value[15],
    )


def step_parts(terms: Terms, rates: Rates) -> list[float]:
    """Seconds of one decode step by the constant they follow from, in the order of NAMES."""
    return [
        terms.weights / rates.eta,
        rates.kappa * terms.cache / rates.eta,
        (terms.compute + terms.attention) / rates.busy,
        terms.layers * rates.tau_s,
        terms.sparse * rates.sparse_s,
        terms.latent * rates.latent_s,
        terms.hops * rates.hop_s,
        terms.link / rates.link,
        terms.sequences * rates.each_s,
        terms.mixed / rates.mixed,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        terms.host / rates.host,
    ]


def prompt_parts(terms: Terms, rates: Rates) -> list[float]:
    """Seconds to read the prompts, likewise."""
    return [
        terms.weights / rates.eta,
        rates.kappa * terms.cache / rates.eta,
        0.0,
        0.0,
        0.0,
        0.0,
        terms.hops * rates.hop_s,
        terms.link / rates.link,
        0.0,
        0.0,
        terms.compute / rates.mfu,
        terms.attention / rates.attend,
        terms.layers * rates.pass_s,
        terms.fill * rates.fill / rates.mfu,
        terms.scatter * rates.scatter / rates.mfu,
        terms.host / rates.host,
    ]


def step_s(terms: Terms, rates: Rates) -> float:
    """Seconds of one decode step."""
    return sum(step_parts(terms, rates))


def prompt_s(terms: Terms, rates: Rates) -> float:
    """Seconds to read the prompts."""
    return sum(prompt_parts(terms, rates))


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


def is_seen(chip: Chip, run: Run) -> bool:
    """Whether public measurements of this very device are part of the fit."""
    return f"{group_of(run.engine)} {chip.name}" in SEEN


def spread_key(what: str, chip: Chip, run: Run, work: Work, away: bool, seen: bool) -> list[str]:
    """Where the error bar is looked up, the particular before the general.

    "seen": the device is part of the fit; "spilled": part of the weights is in the host's memory;
    "reported": by someone who does not say all circumstances; "rough": device or model not in a
    catalogue.
    """
    group = group_of(run.engine)
    kind = "known" if chip.known and work.basis != "size" else "rough"
    if "reported" in run.flags:
        kind = "reported"
    if away:
        kind = "spilled"
    first = [f"{what} {group} {chip.klass} {kind}"]
    if kind == "known" and seen:
        first.insert(0, f"{what} {group} {chip.klass} seen")
    elif "many" in run.flags or "old" in run.flags:
        named = "many" if "many" in run.flags else "old"
        first.insert(0, f"{what} {group} {chip.klass} {kind} {named}")
    return first + [f"{what} {group} {kind}", f"{what} {kind}"]


_FOUND: dict[tuple[object, ...], tuple[float, float]] = {}  # bars already looked up
FOUND_MOST = 4096  # flags and engines are few; this only bounds mistakes


def spread_of(what: str, chip: Chip, run: Run, work: Work, away: bool) -> tuple[float, float]:
    """Logarithms of measured over predicted time at the 10th and 90th percentile.

    A device outside the catalogue has no class known for sure: the widest bar of its kind.
    """
    key: tuple[object, ...] = (
        what,
        chip.name,
        chip.klass,
        chip.known,
        work.basis == "size",
        away,
        run.engine,
        run.flags,
    )
    found = _FOUND.get(key)
    if found is None:
        if len(_FOUND) >= FOUND_MOST:
            _FOUND.clear()
        found = _spread(what, chip, run, work, away)
        _FOUND[key] = found
    return found


def _spread(what: str, chip: Chip, run: Run, work: Work, away: bool) -> tuple[float, float]:
    for key in spread_key(what, chip, run, work, away, is_seen(chip, run)):
        found = SPREADS.get(key)
        if found is not None:
            wider = 1.0 if chip.known else UNKNOWN_WIDER
            return (found[0] * wider, found[1] * wider)
    return (-1.0, 1.0)  # nothing of the kind was ever measured: a factor of three both ways


# A judgement: an unknown device's bandwidth and class are themselves guesses.
UNKNOWN_WIDER = 1.6


def _shown(terms: Terms, rates: Rates) -> tuple[tuple[str, float], ...]:
    named = (
        ("weights", terms.weights / rates.eta),
        ("cache", rates.kappa * terms.cache / rates.eta),
        ("compute", (terms.compute + terms.attention) / rates.busy),
        (
            "layers",
            terms.layers * rates.tau_s
            + terms.sparse * rates.sparse_s
            + terms.latent * rates.latent_s,
        ),
        ("links", terms.hops * rates.hop_s + terms.link / rates.link),
        ("sequences", terms.sequences * rates.each_s),
        ("prompts", terms.mixed / rates.mixed),
        ("host memory", terms.host / rates.host),
    )
    return tuple([part for part in named if part[1] > 0.0])


def _over(amount: float, time: Band) -> Band:
    return Band(p10=amount / time.p90, p50=amount / time.p50, p90=amount / time.p10)


def predict(chip: Chip, run: Run, work: Work, rates: Rates, basis: str) -> Speed:
    """The speed of a run with given rates; the error bar is that of the class."""
    decode = decode_terms(chip, run, work)
    step, first = step_s(decode, rates), prompt_s(prefill_terms(chip, run, work), rates)
    away = decode.host > 0.0
    steps = spread_band(step, spread_of("decode", chip, run, work, away))
    firsts = spread_band(first, spread_of("prefill", chip, run, work, away))
    whole = first + step * run.generated
    totals = spread_band(whole, spread_of("total", chip, run, work, away))
    prompts = float(max(1, run.prompt) * run.batch)
    return Speed(
        step_s=steps,
        first_s=firsts,
        decode_tps=_over(1.0, steps),
        prefill_tps=_over(prompts, firsts),
        total_tps=_over(float((run.prompt + run.generated) * run.batch), totals),
        terms=_shown(decode, rates),
        basis=basis,
    )


# Engines with constants of their own; another is taken for the middle of its group.
MEASURED_ENGINES: frozenset[str] = frozenset(
    engine for engine in ("llama.cpp", "ollama", "mlx", *SERVERS) if f"tau {engine}" in EFFECTS
)


PRIOR = "prior: "  # how the basis of an unlearned figure begins


def prior_basis(chip: Chip, run: Run) -> str:
    """What a figure rests on before any job: this device in public tables, its class, a guess."""
    name = chip.name if is_seen(chip, run) else chip.klass
    if not chip.known:
        name += ", device not in the catalogue"
    if run.engine not in MEASURED_ENGINES:
        name += f", {run.engine} like other engines of its kind"
    return PRIOR + name


def prior_speed(chip: Chip, run: Run, work: Work) -> Speed:
    """The speed of a device that has run nothing yet."""
    return predict(chip, run, work, rates_of(chip, run), prior_basis(chip, run))
