"""How long a set takes: its stages one after the other, and what passes between them.

Every stage is timed by the speed model of its own device and by that device's own jobs, on its
share of the layers; nothing is fitted here. Errors of one model family go the same way, so the bars
of stages add up instead of cancelling.
"""

import math
from typing import final

from mathcore.band import Band, time_band
from mathcore.device import DeviceSpec
from mathcore.model.spec import ModelSpec
from mathcore.planner.answer import Member
from mathcore.planner.estimate import Estimate, key_of, run_of
from mathcore.planner.loading import Storage, load_band, start_s, storage_of
from mathcore.planner.query import Query
from mathcore.planner.sets.layouts import SetLayout, Stage
from mathcore.planner.sets.members import host_of
from mathcore.quant.weights import Weights
from mathcore.speed.chip import PCIE_BYTES_PER_S, Chip, chip_of
from mathcore.speed.learning import Observation, learned_speed
from mathcore.speed.predict import PRIOR, Speed, prior_speed
from mathcore.speed.terms import MICRO_BATCH, PIPELINE_PASSES, SERVER_BATCH, SERVERS, Run
from mathcore.speed.work import Work

# From one card of a host to the next: copies, waiting, launching. The fitted 5.6 us per layer and
# further card (priors, "hop local") over the 70 layers of what needs two cards.
HOST_HOP_S = 0.0004
# A small message there and back over a switch, both kernels' network stacks included. Assumed.
LAN_ROUND_TRIP_S = 0.0003
# llama.cpp's RPC fetches an activation from one server and stores it on the next.
RPC_ROUND_TRIPS = 2.0
NETWORK_BPS = 1_000_000_000  # of hosts whose link nobody told: Gigabit Ethernet
# Payload of a TCP stream in full Ethernet frames: 1,448 of 1,538 bytes.
PAYLOAD_SHARE = 1448.0 / 1538.0
RPC_BYTES = 4  # of a number between llama.cpp's devices
SERVER_BYTES = 2  # and between vLLM's stages
# A hop's time is assumed, not measured: a factor of two both ways.
HOP_SPREAD = 1.0
# Sums in another order differ by less than this share.
ROUNDING = 1e-9


def network_bytes_per_s(a: DeviceSpec, b: DeviceSpec) -> float:
    """What the slower of two hosts' links carries."""
    slower = min(a.network_bps or NETWORK_BPS, b.network_bps or NETWORK_BPS)
    return slower / 8.0 * PAYLOAD_SHARE


def part_of(work: Work, spec: ModelSpec, weights: Weights, low: int, high: int) -> Work:
    """The share of layers `low` to `high`, the output layer one more; shares add up to the whole.

    A layer is taken as the mean of all: its kinds alternate in small periods.
    """
    count = work.layers
    a, b = min(low, count), min(high, count)
    last = 1 if high > len(spec.layers) else 0
    output = min(weights.output_bytes, work.dense_bytes)
    head = min(spec.vocab * spec.hidden, work.active - 1) if output else 0
    return Work(
        layers=b - a,
        hidden=work.hidden,
        total_bytes=_between(work.total_bytes, a, b, count),
        dense_bytes=max(1, _between(work.dense_bytes - output, a, b, count) + last * output),
        active=max(1, _between(work.active - head, a, b, count) + last * head),
        expert_bytes=_between(work.expert_bytes, a, b, count),
        experts=work.experts,
        experts_used=work.experts_used,
        sparse_layers=_between(work.sparse_layers, a, b, count),
        latent_layers=_between(work.latent_layers, a, b, count),
        kv_width=_between(work.kv_width, a, b, count),
        window_width=_between(work.window_width, a, b, count),
        window=work.window,
        state_bytes=_between(work.state_bytes, a, b, count),
        query_width=_between(work.query_width, a, b, count),
        window_query_width=_between(work.window_query_width, a, b, count),
        basis=work.basis,
    )


def _between(total: int, low: int, high: int, count: int) -> int:
    return total * high // count - total * low // count


def _run(base: Run, stage: Stage) -> Run:
    """The set's run on one stage."""
    return Run(
        engine=base.engine,
        devices=stage.cards,
        split=base.split,
        batch=base.batch,
        prompt=base.prompt,
        generated=base.generated,
        depth=base.depth,
        bits=base.bits,
        kv_scale=base.kv_scale,
        offloaded_share=0.0,
        ram_bandwidth=float(stage.device.ram_bandwidth_bytes_per_s),
        flags=base.flags,
    )


@final
class Chips:
    """The chip of each device of a question, looked up once."""

    def __init__(self) -> None:
        self.known: dict[str, Chip] = {}

    def of(self, device: DeviceSpec) -> Chip:
        found = self.known.get(device.device_id)
        if found is None:
            found = chip_of(device)
            self.known[device.device_id] = found
        return found


def passes_of(query: Query, *, servers: bool) -> float:
    """Passes in which all prompts are read."""
    tokens = max(1, query.prompt_tokens) * max(1, query.batch)
    step = SERVER_BATCH if servers else MICRO_BATCH
    return float((tokens + step - 1) // step)


def lanes_of(query: Query, *, servers: bool) -> float:
    """Passes of a prompt that stages work on at once (llama.cpp over RPC: since August 2026)."""
    return min(passes_of(query, servers=servers), PIPELINE_PASSES)


@final
class Hops:
    """Seconds between stages: of one decode step, and of all prompts."""

    __slots__ = ("first_s", "step_s")

    def __init__(self) -> None:
        self.step_s = 0.0
        self.first_s = 0.0

    def add(self, latency: float, rate: float, width: float, query: Query, passes: float) -> None:
        """A hop of `width` bytes a token."""
        self.step_s += latency + query.batch * width / rate
        tokens = max(1, query.prompt_tokens) * query.batch
        self.first_s += latency * passes + tokens * width / rate


def hops_of(query: Query, work: Work, stages: list[Stage], chips: Chips, *, servers: bool) -> Hops:
    """Every boundary between stages, and over hosts the way back to the first."""
    out, passes = Hops(), passes_of(query, servers=servers)
    width = float(work.hidden * (SERVER_BYTES if servers else RPC_BYTES))
    trips = 1.0 if servers else RPC_ROUND_TRIPS
    for i in range(len(stages)):
        here = stages[i].device
        there = stages[i + 1 if i + 1 < len(stages) else 0].device
        if host_of(here) != host_of(there):
            latency = HOST_HOP_S + trips * LAN_ROUND_TRIP_S
            out.add(latency, network_bytes_per_s(here, there), width, query, passes)
        elif i + 1 < len(stages):
            link = min(chips.of(here).link, chips.of(there).link, float(PCIE_BYTES_PER_S))
            out.add(HOST_HOP_S, link, width, query, passes)
    return out


def _pipelined(times: list[float], lanes: float) -> float:
    """Prompts in `lanes` overlapping passes: all stages once, then the slowest for the others."""
    total, most = 0.0, 0.0
    for time in times:
        total, most = total + time, max(most, time)
    return (total + (lanes - 1.0) * most) / lanes


def _sum(bands: list[Band], hop: Band) -> Band:
    p10, p50, p90 = hop.p10, hop.p50, hop.p90
    for band in bands:
        p10, p50, p90 = p10 + band.p10, p50 + band.p50, p90 + band.p90
    return Band(p10=p10, p50=p50, p90=p90)


def _prompts(bands: list[Band], hop: Band, lanes: float) -> Band:
    return Band(
        p10=hop.p10 + _pipelined([band.p10 for band in bands], lanes),
        p50=hop.p50 + _pipelined([band.p50 for band in bands], lanes),
        p90=hop.p90 + _pipelined([band.p90 for band in bands], lanes),
    )


@final
class Loading:
    """Seconds until a set can answer, and the storage that decides them."""

    __slots__ = ("seconds", "storage")

    def __init__(self, seconds: float, storage: Storage) -> None:
        self.seconds = seconds
        self.storage = storage


def loading_of(
    query: Query,
    engine: str,
    stages: list[Stage],
    weights: Weights,
    seen: dict[str, list[Observation]],
) -> Loading:
    """vLLM's hosts each read their own share from storage; llama.cpp's leading one, whose stage is
    the last, reads everything and sends the others theirs."""
    count = len(query.model.layers) + 1
    leader = stages[len(stages) - 1].device
    held: dict[str, int] = {}
    found: dict[str, Storage] = {}
    sent = 0.0
    for stage in stages:
        device, host = stage.device, host_of(stage.device)
        share = weights.total_bytes * (stage.high - stage.low) // count
        held[host] = held.get(host, 0) + share
        if host not in found:
            found[host] = storage_of(device, seen.get(device.device_id, []))
        if host != host_of(leader):
            sent += share / network_bytes_per_s(device, leader)
    first = found[host_of(leader)]
    if engine in SERVERS:
        slowest, reading = first, 0.0
        for host, size in held.items():
            if size / found[host].bytes_per_s > reading:
                slowest, reading = found[host], size / found[host].bytes_per_s
        return Loading(start_s(engine) + reading, slowest)
    return Loading(start_s(engine) + max(weights.total_bytes / first.bytes_per_s, sent), first)


def _basis(found: SetLayout, speeds: list[Speed]) -> str:
    hosts, bandwidths, bases = set[str](), set[str](), set[str]()
    for i, stage in enumerate(found.stages):
        hosts.add(host_of(stage.device))
        bandwidths.add(stage.device.bandwidth_basis)
        bases.add(speeds[i].basis)
    where = f"{len(hosts)} hosts" if len(hosts) > 1 else f"{len(found.parts)} devices of one host"
    learned = sorted([basis for basis in bases if not basis.startswith(PRIOR)])
    priors = sorted([basis[len(PRIOR) :] for basis in bases if basis.startswith(PRIOR)])
    said = " and ".join(learned + ([PRIOR + " and ".join(priors)] if priors else []))
    return f"{where}, {said}, bandwidth {' and '.join(sorted(bandwidths))}"


def _by_cause(speeds: list[Speed], tokens: float) -> list[tuple[str, float]]:
    """Seconds of all tokens by cause, over stages, in the order causes come up."""
    total: dict[str, float] = {}
    for speed in speeds:
        for name, seconds in speed.terms:
            total[name] = total.get(name, 0.0) + seconds * tokens
    return list(total.items())


@final
class SetClock:
    """Times layouts over sets for one question."""

    def __init__(self, query: Query, seen: dict[str, list[Observation]]) -> None:
        self.query = query
        self.seen = seen
        self.chips = Chips()
        self.known: dict[tuple[str, int, int, int, str, str, float], Speed] = {}  # of stages

    def _speed(self, stage: Stage, base: Run, work: Work, weights: Weights, quant: str) -> Speed:
        device = stage.device
        key = (
            device.device_id,
            stage.cards,
            stage.low,
            stage.high,
            base.engine,
            quant,
            base.kv_scale,
        )
        found = self.known.get(key)
        if found is None:
            part = part_of(work, self.query.model, weights, stage.low, stage.high)
            job = key_of(self.query.model.name, quant)
            found = self._predicted(device, _run(base, stage), part, job)
            self.known[key] = found
        return found

    def _predicted(self, device: DeviceSpec, run: Run, work: Work, key: str) -> Speed:
        seen = self.seen.get(device.device_id)
        if seen:
            return learned_speed(self.chips.of(device), run, work, key, seen)
        return prior_speed(self.chips.of(device), run, work)

    def alone(self, device: DeviceSpec, engine: str, work: Work) -> Speed:
        """Were all layers on one card of `device`: to order cards by, and to guess ahead."""
        query = self.query
        run = Run(
            engine=engine,
            batch=query.batch,
            prompt=query.prompt_tokens,
            generated=query.tokens,
            depth=query.prompt_tokens + query.tokens / 2.0,
            offloaded_share=0.0,
        )
        return self._predicted(device, run, work, "")

    def _speeds(
        self, found: SetLayout, base: Run, work: Work, weights: Weights, hops: Hops, most_s: float
    ) -> list[Speed]:
        """Of each stage; [] once those so far and all hops take longer than `most_s` (p90)."""
        tokens, lanes = float(self.query.tokens), lanes_of(self.query, servers=base.servers)
        taken = (hops.first_s + hops.step_s * tokens) * (1.0 + HOP_SPREAD)
        out: list[Speed] = []
        for stage in found.stages:
            if taken > most_s:
                return []
            speed = self._speed(stage, base, work, weights, found.layout.quant)
            taken += speed.step_s.p90 * tokens + speed.first_s.p90 / lanes
            out.append(speed)
        return out if taken <= most_s else []

    def time(
        self,
        device: DeviceSpec,
        found: SetLayout,
        weights: Weights,
        work: Work,
        most_s: float = math.inf,
    ) -> tuple[Estimate, list[Speed]] | None:
        """The set's times and its stages' speeds; `device` stands for the set.

        None where its answer surely takes more than `most_s` in a bad case (p90).
        """
        query, layout, stages = self.query, found.layout, found.stages
        base = run_of(query, device, layout, weights, work)
        hops = hops_of(query, work, stages, self.chips, servers=base.servers)
        speeds = self._speeds(found, base, work, weights, hops, most_s * (1.0 + ROUNDING))
        if not speeds:
            return None
        tokens, lanes = float(query.tokens), lanes_of(query, servers=base.servers)
        step = _sum([speed.step_s for speed in speeds], time_band(hops.step_s, HOP_SPREAD))
        first = _prompts(
            [speed.first_s for speed in speeds], time_band(hops.first_s, HOP_SPREAD), lanes
        )
        loading = loading_of(query, layout.engine, stages, weights, self.seen)
        load = loading.seconds
        estimate = Estimate(
            load_s=load_band(load, loading.storage),
            load_basis=loading.storage.basis,
            first_s=first,
            rest_s=Band(p10=step.p10 * tokens, p50=step.p50 * tokens, p90=step.p90 * tokens),
            terms=(
                ("load", load),
                ("prompt", first.p50),
                *_by_cause(speeds, tokens),
                ("hops", hops.step_s * tokens),
            ),
            basis=_basis(found, speeds),
            run=base,
            work=work,
        )
        return estimate, speeds

    def members(self, found: SetLayout, speeds: list[Speed]) -> tuple[Member, ...]:
        """What each member gives, the one that is filled first before the others."""
        tokens = float(self.query.tokens)
        out: list[Member] = []
        for part in found.parts:
            device = part.device
            own = [speeds[i] for i, stage in enumerate(found.stages) if device in stage.devices]
            out.append(
                Member(
                    device_id=device.device_id,
                    name=device.name,
                    cards=part.cards,
                    layers=part.layers,
                    need_bytes=part.need_bytes,
                    free_bytes=device.free_bytes * part.cards,
                    terms=tuple(_by_cause(own, tokens)),
                    first_layer=part.low,
                )
            )
        return tuple(out)
