"""The overview's own example with the numbers it should have had.

It asks for llama-2-70b, batch 4, within 30 s, and calls three 24 GB cards fitting at $0. Weights do
not depend on the batch: at 4 bits they alone are 41 GB. With 4 x 4,096 tokens the cache is 5.4 GB.
"""

from dataclasses import replace

from mathcore.api import GIB, NUSD, DeviceSpec, Query, Rate, find_model, parse_bytes, plan, weigh
from mathcore.model.spec import ModelSpec
from mathcore.planner.answer import Placement, Plan
from mathcore.planner.query import Limits
from mathcore.planner.refusals import Refusal
from mathcore.price import cost_nusd
from tests.mathcore.fixtures import device


def _model() -> ModelSpec:
    spec = find_model("llama-2-70b")
    assert spec is not None
    return spec


MODEL = _model()
USABLE = 25_250_627_584  # what a driver reports of an RTX 4090's 24 GiB
KV = 4 * 4096 * 327_680  # 80 layers x 8 heads x 128 x 2 x 2 bytes a token


def card(name: str, dollars: float = 0.0, **changes: object) -> DeviceSpec:
    """An RTX 4090, owned for $1,600 or rented by the hour."""
    here = device(name, USABLE, memory_bytes=24 * GIB, **changes)
    return replace(here, rate=Rate(hourly_nusd=int(dollars * NUSD))) if dollars else here


LOCAL = card("local", ram_free_bytes=64 * GIB, ram_bandwidth_bytes_per_s=60 * 10**9)
VAST, RUNPOD = card("vast", 0.28), card("runpod", 0.45)
REMOTE = device(
    "remote",
    parse_bytes("79GiB"),
    model="A100 80GB",
    count=8,
    memory_bytes=80 * GIB,
    engines=("vllm",),
    bandwidth_bytes_per_s=2039 * 10**9,
    flops=312 * 10**12,
    rate=Rate(hourly_nusd=8 * 119 * NUSD // 100),
)
FLEET = [VAST, REMOTE, RUNPOD, LOCAL]


def ask(devices: list[DeviceSpec] = FLEET, **changes: object) -> Plan:
    fields: dict[str, object] = {
        "model": MODEL,
        "model_ref": "llama-2-70b",
        "batch": 4,
        "context": 4096,
        **changes,
    }
    return plan(Query(**fields), devices)  # type: ignore[arg-type]


def placed(answer: Plan) -> dict[str, Placement]:
    return {found.device_id: found for found in answer.placements}


def refused(answer: Plan) -> dict[str, Refusal]:
    return {found.device_id: found for found in answer.refusals}


def test_no_rented_24_gb_card_holds_the_model_and_what_is_missing_is_counted() -> None:
    answer = ask()
    for name in ("vast", "runpod"):
        refusal = refused(answer)[name]
        assert refusal.code == "NoFit(mem)"
        # Published Q4_K_M files of this model have 41.42 GB; the cache is exact.
        assert abs(refusal.missing_bytes + USABLE - KV - 41.42e9) < 0.6e9
    assert refused(answer)["vast"].missing_bytes == refused(answer)["runpod"].missing_bytes


def test_the_weights_are_those_of_the_published_file_and_the_cache_is_exact() -> None:
    assert abs(weigh(MODEL, "Q4_K_M").total_bytes - 41.42e9) < 0.01e9
    big = device("big", 80 * GIB, model="A100 80GB", bandwidth_bytes_per_s=2039 * 10**9)
    assert ask([big], quant="Q4_K_M").placements[0].footprint.kv_bytes == KV == 5_368_709_120


def test_the_owned_card_does_it_only_with_layers_in_ram() -> None:
    """The overview calls this "activation offloading"; it is the weights that go."""
    layout = placed(ask(quant="Q4_K_M"))["local"].layout
    assert 0 < layout.gpu_layers < 81
    assert layout.footprint.weights_bytes < USABLE < weigh(MODEL, "Q4_K_M").total_bytes
    assert layout.footprint.card_bytes <= USABLE
    assert layout.footprint.host_bytes > 41.42e9 - USABLE


def test_eight_cards_under_vllm_are_the_fastest_and_not_the_cheapest() -> None:
    fast, cheap = ask(objective="fastest"), ask(objective="cheapest")
    assert [found.device_id for found in fast.placements] == ["remote", "local"]
    remote = placed(fast)["remote"]
    assert (remote.engine, remote.layout.cards) == ("vllm", 8)
    assert remote.footprint.kv_bytes >= KV
    assert [found.device_id for found in cheap.placements] == ["local", "remote"]
    assert placed(cheap)["local"].cost_nusd.p50 > 0  # owned hardware wears and draws current


def test_within_thirty_seconds_only_the_remote_one_can_be_meant() -> None:
    free, bound = ask(), ask(limits=Limits(max_latency_ms=30_000))
    assert placed(free)["local"].duration_ms.p50 > 30_000
    codes = {name: refusal.code for name, refusal in refused(bound).items() if name != "remote"}
    assert codes == {"local": "TooSlow", "vast": "NoFit(mem)", "runpod": "NoFit(mem)"}
    assert set(placed(bound)) <= {"remote"}
    assert refused(bound)["local"].missing_ms > 0


def test_at_two_bits_all_three_hold_it_and_the_price_ranks_them() -> None:
    answer = ask(quant="IQ2_XXS", objective="cheapest")
    assert [found.device_id for found in answer.placements] == ["local", "vast", "runpod"]
    for found in answer.placements:
        assert found.footprint.kv_bytes == KV
        assert KV + 17.5e9 < found.footprint.total_bytes <= USABLE
        assert found.quality < 0.8  # Llama 2 70B at two bits
    times = {found.duration_ms for found in answer.placements}
    assert len(times) == 1


def test_the_overview_s_costs_follow_from_its_own_rates() -> None:
    """48 s at $0.28 and $0.45 an hour are $0.0037 and $0.006; its owned card is not free."""
    assert cost_nusd(VAST.rate, 48_000) == 3_733_333
    assert cost_nusd(RUNPOD.rate, 48_000) == 6_000_000
    owned = Rate(price_nusd=1600 * NUSD, lifetime_months=60)
    assert cost_nusd(owned, 45_000) == 456_621
