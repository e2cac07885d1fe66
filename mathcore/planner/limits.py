"""Whether an option keeps to memory and a query's limits, and by how much the first broken one is
missed."""

from mathcore.band import Band
from mathcore.device import DeviceSpec
from mathcore.planner.answer import Layout
from mathcore.planner.query import Limits, Query
from mathcore.planner.refusals import (
    COST_ABOVE_CAP,
    LOW_QUALITY,
    NO_ENGINE,
    NO_MEMORY,
    PRICE_ABOVE_CAP,
    TOO_SLOW,
    Refusal,
    refuse,
)
from mathcore.price import hourly_nusd
from mathcore.units import GIB, show_bytes, show_ms, show_nusd

# llama.cpp's own --fit-target leaves 1 GiB; on a small device that would call everything tight,
# and what grows beside us (graphs, a desktop) grows with the device, so at most 5 % of it.
MARGIN_BYTES = GIB
MARGIN_SHARE = 20


def margin_bytes(free_bytes: int) -> int:
    """What must remain free of a card for the verdict "fit"."""
    return min(MARGIN_BYTES, free_bytes // MARGIN_SHARE)


def kept_bytes(device: DeviceSpec) -> int:
    """What must remain of a card's free bytes for "fit": the margin, and what is free only at best.

    A Mac whose macOS nobody named may give its GPU less than the newest one does.
    """
    sure = device.sure_bytes
    return margin_bytes(sure) + device.free_bytes - sure


def memory_refusal(device: DeviceSpec, nearest: Layout | None) -> Refusal:
    """What the layout that misses by least lacks."""
    if nearest is None:
        return refuse(device, NO_ENGINE, "no engine here can load these weights")
    need = nearest.footprint
    each = " per card" if nearest.cards > 1 else ""
    if nearest.spare_bytes < 0:
        free = f"{show_bytes(device.free_bytes)} free"
        usable = need.card_bytes + nearest.spare_bytes
        if usable < device.free_bytes:  # vLLM and TGI take a share of a card's memory, no more
            free = f"{nearest.engine} may use {show_bytes(usable)} of {free}"
        text = (
            f"{nearest.quant} needs {show_bytes(need.card_bytes)}{each}, "
            f"{free}: {show_bytes(-nearest.spare_bytes)} missing"
        )
        return refuse(device, NO_MEMORY, text, -nearest.spare_bytes * nearest.cards)
    text = (
        f"{nearest.quant} needs {show_bytes(need.host_bytes)} of host memory, "
        f"{show_bytes(device.ram_free_bytes)} free: "
        f"{show_bytes(-nearest.host_spare_bytes)} missing"
    )
    return refuse(device, NO_MEMORY, text, -nearest.host_spare_bytes)


def price_refusal(query: Query, device: DeviceSpec) -> Refusal | None:
    """Whether an hour here costs more than allowed, whatever runs."""
    most = query.limits.max_nusd_per_hour
    hourly = hourly_nusd(device.rate)
    if most is None or hourly <= most:
        return None
    text = f"costs {show_nusd(hourly)} an hour, {show_nusd(most)} allowed"
    return refuse(device, PRICE_ABOVE_CAP, text)


def _late(device: DeviceSpec, what: str, took: float, allowed: int | None) -> Refusal | None:
    """The limit is held against p90: a promise kept nine times in ten."""
    if allowed is None or took <= allowed:
        return None
    text = f"{what} up to {show_ms(int(took))} (p90), {show_ms(allowed)} allowed"
    return refuse(device, TOO_SLOW, text, 0, int(took) - allowed)


def late_refusal(
    limits: Limits, device: DeviceSpec, duration_ms: Band, answer_ms: Band, first_ms: Band
) -> Refusal | None:
    """Whether it takes too long: once loaded, to the first token, or to the deadline."""
    no = _late(device, "answers in", answer_ms.p90, limits.max_latency_ms)
    if no is None:
        no = _late(device, "first token takes", first_ms.p90, limits.max_ttft_ms)
    if no is None:
        no = _late(device, "ends in", duration_ms.p90 + device.wait_ms, limits.deadline_ms)
    return no


def rate_refusal(limits: Limits, device: DeviceSpec, each_p10: float) -> Refusal | None:
    """Whether one sequence gets too few tokens a second, in one case of ten."""
    least = limits.min_tokens_per_s
    if least is None or each_p10 >= least:
        return None
    text = f"{each_p10:.1f} tokens/s per sequence (p10), {least:g} wanted"
    return refuse(device, TOO_SLOW, text)


def cost_refusal(limits: Limits, device: DeviceSpec, cost_p90: float) -> Refusal | None:
    """Whether it may cost more than allowed."""
    most = limits.max_cost_nusd
    if most is None or cost_p90 <= most:
        return None
    text = f"costs up to {show_nusd(int(cost_p90))} (p90), {show_nusd(most)} allowed"
    return refuse(device, COST_ABOVE_CAP, text)


def quality_refusal(
    limits: Limits, device: DeviceSpec, quant: str, quality: float
) -> Refusal | None:
    """Whether too much of the 16-bit model is lost."""
    least = limits.min_quality
    if least is None or quality >= least:
        return None
    return refuse(device, LOW_QUALITY, f"{quant} keeps {quality:.3f}, {least:g} wanted")
