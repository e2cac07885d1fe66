"""What a device reaches with an engine: twenty constants, each a sum of effects in logarithms.

The effects are of the engine's kind, the device's class, its architecture and the circumstances;
`scripts/fit` writes them to `priors`. A step is terms times constants, and CONSTANTS is the one
list of them: whoever adds, times, shows or learns them walks it.
"""

from dataclasses import dataclass
from math import exp
from typing import final

from mathcore.speed.chip import Chip
from mathcore.speed.priors import EFFECTS
from mathcore.speed.terms import Run, Terms


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
    reread: float  # bytes moved per operation of attention in a decode step
    vector: float  # share of flops for the few columns that are multiplied as vectors
    unpack: float  # cost of an unpacked byte against a weight byte
    gather_s: float  # per routed layer and prefill pass of several tokens
    pace: float = 1.0  # of all of a decode step: what one release of a server made of it


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """One fitted constant: its name in the priors, its field of Rates, the cause people are shown
    its part of a decode step under, and an upper bound (0 = none)."""

    name: str
    field: str
    cause: str
    most: float = 0.0


# The order of every list of parts: `step_parts`, `prompt_parts` and what learning makes of them.
# Upper bounds: no engine exceeds nominal bandwidth; a fit that says so has a wrong row.
CONSTANTS: tuple[Constant, ...] = (
    Constant(name="eta", field="eta", cause="weights", most=1.0),
    Constant(name="kappa", field="kappa", cause="cache"),
    Constant(name="busy", field="busy", cause="compute"),
    Constant(name="tau", field="tau_s", cause="layers"),
    Constant(name="sparse", field="sparse_s", cause="layers"),
    Constant(name="latent", field="latent_s", cause="layers"),
    Constant(name="hop", field="hop_s", cause="links"),
    Constant(name="link", field="link", cause="links", most=1.0),
    Constant(name="each", field="each_s", cause="sequences"),
    Constant(name="mixed", field="mixed", cause="prompts"),
    Constant(name="mfu", field="mfu", cause="prompt compute"),
    Constant(name="attend", field="attend", cause="prompt attention"),
    Constant(name="pass", field="pass_s", cause="prompt passes"),
    Constant(name="fill", field="fill", cause="prompt fill"),
    Constant(name="scatter", field="scatter", cause="prompt fill"),
    Constant(name="host", field="host", cause="host memory", most=1.0),
    Constant(name="reread", field="reread", cause="cache"),
    Constant(name="vector", field="vector", cause="prompt compute"),
    Constant(name="unpack", field="unpack", cause="prompt passes"),
    Constant(name="gather", field="gather_s", cause="prompt passes"),
)
NAMES: tuple[str, ...] = tuple([one.name for one in CONSTANTS])
# What all of a step is multiplied by: releases of servers are offsets, one more for each kind of
# model they ran.
PACE = "pace"
UPPER_BOUNDS: dict[str, float] = {one.name: one.most for one in CONSTANTS if one.most > 0.0}


def group_of(engine: str) -> str:
    """Engines whose constants are fitted together: local ones, or servers."""
    return "local" if engine in ("llama.cpp", "ollama", "mlx") else "server"


def effect_names(name: str, chip: Chip, run: Run) -> list[str]:
    """The effects that add up to a constant's logarithm, from the general to the particular."""
    group = group_of(run.engine)
    if chip.device_class == "cpu" and group == "local":
        # Cores have nothing in common with what launches kernels.
        return [f"{name} cpu"]
    out = [
        f"{name} {group}",
        f"{name} {group} by {chip.vendor}",
        f"{name} {group} {chip.device_class}",
        f"{name} {group} {chip.device_class} {chip.arch}",
        f"{name} {run.engine}",
        f"{name} {run.engine} {chip.device_class}",
    ]
    if chip.name:
        out.append(f"{name} {group} on {chip.name}")
    for flag in run.flags:
        out.append(f"{name} +{flag}")
        out.append(f"{name} +{flag} {chip.device_class}")
        out.append(f"{name} +{flag} on {chip.name}")
    return out


def constant(name: str, chip: Chip, run: Run, effects: dict[str, float]) -> float:
    """One constant in natural units."""
    total = 0.0
    for part in effect_names(name, chip, run):
        total += effects.get(part, 0.0)
    return bounded(exp(total), UPPER_BOUNDS.get(name, 0.0))


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
    key = f"{chip.device_class}|{chip.arch}|{chip.name}|{run.engine}|{' '.join(run.flags)}"
    found = _memo.get(key)
    if found is None:
        found = _rates(chip, run)
        if len(_memo) < _MEMO_MOST:
            _memo[key] = found
    return found


def _rates(chip: Chip, run: Run) -> Rates:
    values = {one.field: constant(one.name, chip, run, EFFECTS) for one in CONSTANTS}
    return Rates(**values, pace=constant(PACE, chip, run, EFFECTS))


def step_parts(terms: Terms, rates: Rates) -> list[float]:
    """Seconds of one decode step by the constant they follow from, in the order of CONSTANTS."""
    parts = _step_parts(terms, rates)
    return parts if rates.pace == 1.0 else [part * rates.pace for part in parts]


def _step_parts(terms: Terms, rates: Rates) -> list[float]:
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
        terms.reread * rates.reread,
        0.0,
        0.0,
        0.0,
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
        0.0,
        terms.vector / rates.vector,
        terms.unpack * rates.unpack,
        terms.gather * rates.gather_s,
    ]


def step_s(terms: Terms, rates: Rates) -> float:
    """Seconds of one decode step."""
    return sum(step_parts(terms, rates))


def prompt_s(terms: Terms, rates: Rates) -> float:
    """Seconds to read the prompts."""
    return sum(prompt_parts(terms, rates))


_CAUSES: list[str] = [one.cause for one in CONSTANTS]


def shown_parts(parts: list[float]) -> tuple[tuple[str, float], ...]:
    """Seconds of one decode step by cause, those above 0, in the order of CONSTANTS."""
    causes: dict[str, float] = {}
    for i, part in enumerate(parts):
        if part > 0.0:
            cause = _CAUSES[i]
            causes[cause] = causes.get(cause, 0.0) + part
    return tuple(causes.items())
