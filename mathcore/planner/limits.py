"""Whether an option keeps to a query's limits, and by how much the first broken one is missed."""

from mathcore.band import Band
from mathcore.device import DeviceSpec
from mathcore.planner.answer import Refusal
from mathcore.planner.query import Limits, Query
from mathcore.price import hourly_nusd
from mathcore.units import GIB, show_ms, show_nusd

# llama.cpp's own --fit-target leaves 1 GiB; on a small device that would call everything tight,
# and what grows beside us (graphs, a desktop) grows with the device, so at most 5 % of it.
MARGIN_BYTES = GIB
MARGIN_SHARE = 20


def margin_bytes(free_bytes: int) -> int:
    """What must remain free of a card for the verdict "fit"."""
    return min(MARGIN_BYTES, free_bytes // MARGIN_SHARE)


def refuse(
    device: DeviceSpec, code: str, text: str, missing_bytes: int = 0, missing_ms: int = 0
) -> Refusal:
    return Refusal(
        device_id=device.device_id,
        name=device.name,
        code=code,
        text=text,
        missing_bytes=missing_bytes,
        missing_ms=missing_ms,
    )


def price_refusal(query: Query, device: DeviceSpec) -> Refusal | None:
    """Whether an hour here costs more than allowed, whatever runs."""
    most = query.limits.max_nusd_per_hour
    hourly = hourly_nusd(device.rate)
    if most is None or hourly <= most:
        return None
    text = f"costs {show_nusd(hourly)} an hour, {show_nusd(most)} allowed"
    return refuse(device, "PriceAboveCap", text)


def _late(device: DeviceSpec, what: str, took: float, allowed: int | None) -> Refusal | None:
    """The limit is held against p90: a promise kept nine times in ten."""
    if allowed is None or took <= allowed:
        return None
    text = f"{what} up to {show_ms(int(took))} (p90), {show_ms(allowed)} allowed"
    return refuse(device, "TooSlow", text, 0, int(took) - allowed)


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
    return refuse(device, "TooSlow", text)


def cost_refusal(limits: Limits, device: DeviceSpec, cost_p90: float) -> Refusal | None:
    """Whether it may cost more than allowed."""
    most = limits.max_cost_nusd
    if most is None or cost_p90 <= most:
        return None
    text = f"costs up to {show_nusd(int(cost_p90))} (p90), {show_nusd(most)} allowed"
    return refuse(device, "CostAboveCap", text)


def quality_refusal(
    limits: Limits, device: DeviceSpec, quant: str, quality: float
) -> Refusal | None:
    """Whether too much of the 16-bit model is lost."""
    least = limits.min_quality
    if least is None or quality >= least:
        return None
    return refuse(device, "LowQuality", f"{quant} keeps {quality:.3f}, {least:g} wanted")
