"""Rows whose arithmetic can be done by hand: a device that makes a thousand tokens a second."""

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from mathcore.band import Band
from mathcore.catalogue.models import find_model
from mathcore.device import DeviceSpec
from mathcore.market.api_prices import ApiPrice
from mathcore.planner.answer import Placement
from mathcore.planner.plan import plan
from mathcore.planner.query import Query
from mathcore.units import GB, GIB, HOUR_MS, NUSD
from mesh.edge.planning import what_ifs
from mesh.policy.compare.amounts import Amount, Spread
from mesh.policy.compare.owned import Owned
from mesh.state.market.quotes import Quote

EIGHT_HOURS = 8 * HOUR_MS
# 1,024 tokens of a batch in 1.024 s at the median; half as long and twice as long at the ends.
THOUSAND_A_SECOND = Band(p10=512.0, p50=1024.0, p90=2048.0)
NONE = Band(p10=0.0, p50=0.0, p90=0.0)


def amount(tokens: int, *, work_ms: int = EIGHT_HOURS, share: tuple[int, int] = (3, 4)) -> Amount:
    return Amount(
        tokens=tokens, prompt_parts=share[0], parts=share[1], batch_tokens=1024, work_ms=work_ms
    )


@lru_cache(1)
def _planned() -> Placement:
    model = find_model("qwen3-8b")
    assert model is not None
    devices: list[DeviceSpec] = list(what_ifs(["RTX 4090"]).values())
    return plan(Query(model=model, model_ref="qwen3-8b", quant="Q4_K_M"), devices).placements[0]


def placed(
    answer_ms: Band = THOUSAND_A_SECOND, load_ms: Band = NONE, weights_bytes: int = 0
) -> Placement:
    """A placement of these times, loading and bytes of weights."""
    one = _planned()
    layout = replace(
        one.layout, footprint=replace(one.layout.footprint, weights_bytes=weights_bytes)
    )
    return replace(one, layout=layout, answer_ms=answer_ms, load_ms=load_ms)


def quote(dollars: str, boot_ms: int | None = 0, **changes: object) -> Quote:
    price = int(Fraction(dollars) * NUSD)
    one = Quote(
        source="offer", provider="vastai", gpu="RTX 4090", gpu_count=1, memory_bytes=24 * GIB,
        hourly_nusd=price, at_ms=0, boot_ms=boot_ms, network_bps=GB,
    )  # fmt: skip
    return replace(one, **changes)  # type: ignore[arg-type]


def api(input_dollars: str, output_dollars: str, model: str = "qwen3-8b") -> ApiPrice:
    each = [int(Fraction(one) * NUSD) for one in (input_dollars, output_dollars)]
    return ApiPrice(
        provider="groq", name="some", model=model, input_nusd_per_million=each[0],
        cached_nusd_per_million=None, output_nusd_per_million=each[1], written_ms=0, seen_ms=0,
        page="https://example.org", source="test@1",
    )  # fmt: skip


def owned(
    dollars: int | None, months: int = 60, watts: int | None = None, cents: int | None = None
) -> Owned:
    """Bought for so many dollars, of so many watts at so many cents a kWh; it idles at nothing."""
    wear = None if dollars is None else Fraction(dollars * NUSD * 24, months * 730)
    return Owned(
        price_nusd=None if dollars is None else dollars * NUSD,
        wear_nusd=wear,
        load_mw=None if watts is None else watts * 1000,
        idle_mw=0,
        kwh_nusd=None if cents is None else Fraction(cents * NUSD, 100),
    )


def whole(value: Spread) -> tuple[int, int, int]:
    return round(value.good), round(value.mid), round(value.bad)
