"""Options per kind of hardware: every layout that fits, with its time; dominated ones removed."""

import math
from dataclasses import replace
from typing import final

from mathcore.band import Band
from mathcore.device import DeviceSpec
from mathcore.engines.llamacpp.cache import cache_refusal
from mathcore.engines.llamacpp.layer_sums import LayerSums
from mathcore.engines.ollama import generation_batch, slots
from mathcore.model.spec import ModelSpec
from mathcore.planner.answer import Layout, Member
from mathcore.planner.estimate import Estimate, estimate
from mathcore.planner.layouts import DeviceFit
from mathcore.planner.query import Query
from mathcore.planner.refusals import NO_ENGINE, Refusal, refuse
from mathcore.planner.served.starts import start_fault
from mathcore.quant.families import AUTO, CACHES, ENGINES, FAMILIES, family_of
from mathcore.quant.ladder import ladder, nats_of, usual_quality, weights_of
from mathcore.quant.weights import Weights
from mathcore.speed.chip import Chip, chip_of
from mathcore.speed.learning import Observation
from mathcore.speed.work import Work, work_of_weights

# How the balanced objective weighs lost quality: a nat per token is worth e^40, so that Q6_K
# (0.005) beats Q4_K_M (0.031) where both fit, and Q8_0 (0.001) does not beat Q6_K.
NATS_WEIGHT = 40.0
SMALLEST = 1e-9  # stands for a quality of 0, which has no logarithm
MANY = 1 << 16  # slots an Ollama server may be told to have
# What the table of losses may be off for another model than the 8B it was measured on. Types that
# lose less (Q6_K and better) count alike: so small a difference decides nothing.
QUALITY_ERROR_NATS = 0.006

# Ollama starts llama.cpp's own server, and TGI vLLM's kernels, so neither computes faster than the
# plainer engine does. Public tables of them were made on other builds, other hosts and other days:
# where the plainer one may be as quick with no more lost, by its error bar, it is taken.
PLAINER: dict[str, str] = {"ollama": "llama.cpp", "tgi": "vllm"}
_ORDER: dict[str, int] = {name: at for at, name in enumerate(ENGINES)}


@final
class Option:
    """A layout that fits, timed: everything about it but a device's price.

    `judged_ms` is the answer's time it is ranked by: the median of one device, the p90 of a set.
    """

    __slots__ = (
        "answer_ms",
        "duration_ms",
        "first_ms",
        "judged_ms",
        "layout",
        "load_ms",
        "members",
        "nats",
        "quality",
        "roomy",
        "timed",
        "told_nats",
        "worth",
    )

    def __init__(
        self, spec: ModelSpec, layout: Layout, timed: Estimate, like: "Option | None" = None
    ) -> None:
        """`like` is an option of the same times and types, where there is one."""
        self.layout = layout
        self.members: tuple[Member, ...] = ()  # of a set
        self.roomy = True  # every card of a set keeps its margin
        self.timed = timed
        if like is None:
            self.nats = nats_of(spec, layout.quant) + cache_nats(layout.kv_type)
            self.quality = math.exp(-self.nats)
            self.told_nats = told_nats(self.nats)
            self.worth = math.exp(NATS_WEIGHT * self.told_nats)
            self.first_ms = _ms([timed.first_s])
            self.load_ms = _ms([timed.load_s])
            self.answer_ms = _ms([timed.first_s, timed.rest_s])
            self.duration_ms = _ms([timed.load_s, timed.first_s, timed.rest_s])
        else:
            self.nats, self.quality, self.worth = like.nats, like.quality, like.worth
            self.told_nats = like.told_nats
            self.first_ms, self.answer_ms = like.first_ms, like.answer_ms
            self.load_ms, self.duration_ms = like.load_ms, like.duration_ms
        self.judged_ms = self.answer_ms.p50


def told_nats(nats: float) -> float:
    """A loss as far as it can be told from others."""
    return max(nats, QUALITY_ERROR_NATS)


def cache_nats(kv_type: str) -> float:
    """What an 8-bit cache loses beside a 16-bit one: less than Q8_0 weights. Assumed."""
    return 0.0 if kv_type in ("f16", "bf16", "f32", "auto") else 0.002


def _ms(parts: list[Band]) -> Band:
    p10, p50, p90 = 0.0, 0.0, 0.0
    for part in parts:
        p10, p50, p90 = p10 + part.p10, p50 + part.p50, p90 + part.p90
    return Band(p10=1000.0 * p10, p50=1000.0 * p50, p90=1000.0 * p90)


@final
class Answers:
    """What a kind of hardware can do, and the nearest miss."""

    def __init__(self) -> None:
        self.options: list[Option] = []
        self.nearest: Layout | None = None
        self.chosen: Option | None = None  # the same at any price: cost grows with time alone
        self.lacking: Refusal | None = None  # the same text for all of the kind

    def note(self, layout: Layout) -> None:
        """Keep the layout that misses by least."""
        if self.nearest is None or missing_bytes(layout) < missing_bytes(self.nearest):
            self.nearest = layout

    def keep_sure(self, unsure_bytes: int) -> None:
        """Where something fits whatever a system's settings are, nothing that needs luck."""
        if unsure_bytes > 0:
            sure = [one for one in self.options if one.layout.spare_bytes >= unsure_bytes]
            self.options = sure or self.options

    def drop_ties(self) -> None:
        """Drop what a plainer engine's option, no worse and by its bar as quick, may equal."""
        kept: list[Option] = []
        for one in self.options:
            plainer = PLAINER.get(one.layout.engine, "")
            if not any([_may_equal(other, one, plainer) for other in self.options]):
                kept.append(one)
        self.options = kept

    def drop_beaten(self) -> None:
        """Keep only options no other one is at least as good as in everything."""
        self.options.sort(key=_quick)
        kept: list[Option] = []
        for option in self.options:
            if not any(beats(other, option) for other in kept):
                kept.append(option)
        self.options = kept


def _may_equal(a: Option, b: Option, plainer: str) -> bool:
    """Whether `a`, of the engine `plainer`, loses no more than `b` and may be as quick."""
    return a.layout.engine == plainer and a.nats <= b.nats and a.answer_ms.p10 <= b.answer_ms.p50


def _quick(option: Option) -> tuple[float, float, int, str]:
    layout = option.layout
    order = _ORDER[layout.engine]
    return (option.answer_ms.p50, option.nats, order, layout.quant + layout.kv_type)


def beats(a: Option, b: Option) -> bool:
    """Whether `a` is at least as good as `b` in everything an objective or a limit looks at."""
    return (
        a.answer_ms.p50 <= b.answer_ms.p50
        and a.answer_ms.p90 <= b.answer_ms.p90
        and a.duration_ms.p90 <= b.duration_ms.p90
        and a.first_ms.p90 <= b.first_ms.p90
        and a.timed.rest_s.p90 <= b.timed.rest_s.p90
        and a.nats <= b.nats
    )


def missing_bytes(layout: Layout) -> int:
    return max(-layout.spare_bytes, -layout.host_spare_bytes)


@final
class Search:
    """One query's work shared by all devices: weights by quantisation, options by hardware."""

    def __init__(
        self,
        query: Query,
        seen: dict[str, list[Observation]],
        least_quality: float | None = None,  # None: what is usual of the model
    ) -> None:
        self.query = query
        least = usual_quality(query.model) if least_quality is None else least_quality
        self.least_quality = max(least, query.limits.min_quality or 0.0)
        self.seen = seen  # finished jobs by device
        self.tried: dict[str, list[str]] = {}
        self.weighed: dict[str, Weights | None] = {}
        self.works: dict[str, Work] = {}
        self.timings: dict[tuple[object, ...], Option] = {}
        self.known: dict[tuple[object, ...], Answers] = {}
        self.columns: dict[tuple[str, str, int], LayerSums] = {}

    def quants(self, engine: str) -> list[str]:
        """What to try with an engine, best first."""
        found = self.tried.get(engine)
        if found is None:
            found = self._quants(engine)
            self.tried[engine] = found
        return found

    def _quants(self, engine: str) -> list[str]:
        query = self.query
        tried = ladder(query.model, engine)
        if query.model.quant:
            return list(tried)
        if query.quant is not None:
            return [query.quant] if family_of(query.quant) == FAMILIES[engine] else []
        most = -math.log(max(self.least_quality, SMALLEST))
        return [quant for quant in tried if nats_of(query.model, quant) <= most]

    def weights(self, quant: str) -> Weights | None:
        """None where the model cannot be stored so."""
        if quant not in self.weighed:
            self.weighed[quant] = weights_of(self.query.model, quant)
        return self.weighed[quant]

    def caches(self, engine: str) -> tuple[str, ...]:
        """Cache types to try: the one named, or the 16-bit one, or with "auto" all that work."""
        given, tried = self.query.kv_type, CACHES[FAMILIES[engine]]
        if given is None:
            return tried[:1]
        if given != AUTO:
            return (given,)
        if FAMILIES[engine] != "gguf":
            return tried
        v_type, flash = self.query.flags.v_type, self.query.flags.flash
        model = self.query.model
        return tuple([kv for kv in tried if not cache_refusal(model, kv, v_type, flash=flash)])

    def answers(self, device: DeviceSpec) -> Answers:
        """Options on this hardware, from memory where its like was asked before."""
        key: tuple[object, ...] = (
            device.device_id if device.device_id in self.seen else "",
            device.hardware,
            device.free_bytes,
            device.free_low_bytes,
            device.ram_free_bytes,
        )
        found = self.known.get(key)
        if found is None:
            found = self._search(device)
            self.known[key] = found
        return found

    def column(self, quant: str, kv_type: str, weights: Weights, micro_batch: int = 0) -> LayerSums:
        """The model at a quantisation and cache type, for every device that reads GGUF.

        `micro_batch` is an engine's own choice; 0 = as asked.
        """
        found = self.columns.get((quant, kv_type, micro_batch))
        if found is None:
            query = self.query
            shape = query.shape(kv_type)
            if micro_batch > 0:
                shape = replace(shape, micro_batch=micro_batch)
            found = LayerSums(query.model, weights, shape, quant)
            self.columns[(quant, kv_type, micro_batch)] = found
        return found

    def micro_batch(self, engine: str, device: DeviceSpec, weights: Weights) -> int:
        """Tokens an engine that reads GGUF chooses to work on at once; 0 = as asked."""
        if engine != "ollama":
            return 0
        query = self.query
        context = query.context * query.batch
        free = device.free_bytes * device.count
        return generation_batch(query.model, weights.total_bytes, context, free)

    def work(self, quant: str, weights: Weights) -> Work:
        """What a token costs at a quantisation."""
        found = self.works.get(quant)
        if found is None:
            found = work_of_weights(self.query.model, weights)
            self.works[quant] = found
        return found

    def option(
        self,
        device: DeviceSpec,
        chip: Chip,
        layout: Layout,
        weights: Weights,
        work: Work,
        seen: list[Observation],
    ) -> Option:
        """The layout timed: alike on like hardware, however much of its memory is free."""
        spec = self.query.model
        if seen:
            timed = estimate(self.query, device, chip, layout, weights, work, seen)
            return Option(spec, layout, timed)
        key: tuple[object, ...] = (
            layout.moved_share,
            device.pace,
            layout.engine,
            layout.quant,
            layout.kv_type,
            layout.cards,
            layout.stages,
            layout.gpu_layers,
            layout.cpu_experts,
        )
        found = self.timings.get(key)
        if found is not None:
            return Option(spec, layout, found.timed, found)
        timed = estimate(self.query, device, chip, layout, weights, work, seen)
        made = Option(spec, layout, timed)
        self.timings[key] = made
        return made

    def _search(self, device: DeviceSpec) -> Answers:
        answers = Answers()
        seen, chip = self.seen.get(device.device_id, []), chip_of(device)
        for engine in ENGINES:
            if engine not in device.engines or self.query.engine not in (None, engine):
                continue
            if engine == "ollama" and self.query.batch > slots(self.query.model.architecture, MANY):
                continue
            gguf = FAMILIES[engine] == "gguf"
            for quant in self.quants(engine):
                weights = self.weights(quant)
                if weights is None:
                    continue
                work = self.work(quant, weights)
                micro = self.micro_batch(engine, device, weights)
                for kv_type in self.caches(engine):
                    column = self.column(quant, kv_type, weights, micro) if gguf else None
                    fit = DeviceFit(self.query, device, engine, quant, kv_type, weights, column)
                    for layout in fit.layouts():
                        if layout.fits:
                            answers.options.append(
                                self.option(device, chip, layout, weights, work, seen)
                            )
                        else:
                            answers.note(layout)
        answers.keep_sure(device.free_bytes - device.sure_bytes)
        answers.drop_ties()
        answers.drop_beaten()
        if not answers.options and answers.nearest is None:
            answers.lacking = self._lacking(device)
        return answers

    def _lacking(self, device: DeviceSpec) -> Refusal | None:
        """Why the engines asked about cannot even try here, where one can say."""
        query = self.query
        for engine in ENGINES:
            if engine not in device.engines or query.engine not in (None, engine):
                continue
            served = slots(query.model.architecture, MANY)
            if engine == "ollama" and query.batch > served:
                text = f"Ollama serves {query.model.architecture} models one request at a time"
                return refuse(device, NO_ENGINE, text)
            if FAMILIES[engine] == "safetensors" and self.quants(engine):
                kv_type = self.caches(engine)[0]
                fault = start_fault(query.model, engine, query.options, kv_type, device.count)
                if fault and device.kind == "gpu":
                    return refuse(device, NO_ENGINE, fault)
        return None
