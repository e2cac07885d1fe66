"""Where nothing answers a question, what would: and each way that is named works."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.api import GIB, DeviceSpec, Plan, Query, Rate, WayOut, find_model, plan, plan_dict
from mathcore.planner.query import Limits
from mathcore.planner.ways_out import HARDWARE, MAX_WAYS, RAM_GIB
from mathcore.quant.quality import USUAL_QUALITY
from mathcore.units import parse_memory
from mesh.edge.planning import what_ifs
from tests.mathcore.fixtures import device

SILENT = Rate(source="what-if")  # described for a question, its RAM not told


def question(name: str, **changes: object) -> Query:
    fields: dict[str, object] = {"model": find_model(name), "model_ref": name, **changes}
    return Query(**fields)  # type: ignore[arg-type]


def ways(answer: Plan) -> dict[str, WayOut]:
    return {way.kind: way for way in answer.ways_out}


def taken(query: Query, devices: list[DeviceSpec], way: WayOut) -> Plan:
    """The same question with the way's options, as the command line would read them."""
    flag, value = way.options
    if flag == "--what-if":
        return plan(query, [*devices, *what_ifs([value]).values()])
    if flag == "--ram":
        ram = parse_memory(value)
        silent = [one for one in devices if one.ram_free_bytes == 0]
        told = [replace(one, ram_free_bytes=ram) if one in silent else one for one in devices]
        return plan(query, told)
    name = flag.removeprefix("--")
    changed: object = int(value) if name in ("context", "batch") else value
    return plan(replace(query, **{name: changed}), devices)  # type: ignore[arg-type]


def test_where_something_fits_there_is_no_way_out() -> None:
    assert plan(question("llama-3-8b"), [device()]).ways_out == ()


def test_a_cheaper_card_that_takes_no_work_does_not_hide_its_like() -> None:
    open_ = device("dear", 192 * GIB, model="MI300X", rate=Rate(hourly_nusd=3 * 10**9))
    shut = replace(open_, device_id="cheap", name="cheap", rate=Rate(hourly_nusd=10**9))
    closed = replace(shut, withheld=("reserved", "reserved until noon"))
    answer = plan(question("glm-4.6", quant="Q4_K_M"), [open_, closed])
    assert "dear" in ways(answer)["quant"].text


def test_a_smaller_type_that_fits_is_named_with_its_bytes_and_its_quality() -> None:
    """GLM 4.6 at Q4_K_M misses a 192 GiB card by a little; IQ4_XS fits."""
    big = device("mi300x", 192 * GIB, model="MI300X", bandwidth_bytes_per_s=5300 * 10**9)
    answer = plan(question("glm-4.6", quant="Q4_K_M"), [big])
    way = ways(answer)["quant"]
    assert way.options == ("--quant", "IQ4_XS")
    (placed,) = plan(question("glm-4.6"), [big]).placements
    assert placed.quant == "IQ4_XS"
    need = f"{placed.footprint.total_bytes / GIB:.1f} GiB of 192.0 GiB"
    assert way.text == f"IQ4_XS fits mi300x: {need}, quality {placed.quality:.3f}"
    assert 0.96 < placed.quality < 0.98


def test_a_type_somebody_named_is_answered_with_the_next_smaller_one_that_fits() -> None:
    way = ways(plan(question("llama-3-70b", quant="Q8_0"), [device("big", 52 * GIB)]))["quant"]
    assert way.options == ("--quant", "Q5_K_M")


def test_a_type_no_engine_here_reads_is_refused_with_those_that_would() -> None:
    (refusal,) = plan(question("llama-3-8b", quant="AWQ"), [device()]).refusals
    assert refusal.text == "AWQ needs vllm or sglang or tgi, which it lacks (engines: llama.cpp)"
    (refusal,) = plan(question("llama-3-8b", engine="mlx"), [device()]).refusals
    assert refusal.text == "mlx is not available here (engines: llama.cpp)"


def test_a_card_described_without_ram_is_told_how_much_would_do() -> None:
    card = device("card", 12 * GIB, rate=SILENT)
    way = ways(plan(question("llama-3-70b"), [card]))["offload"]
    flag, value = way.options
    assert flag == "--ram"
    least = parse_memory(value) // GIB
    smaller = RAM_GIB[RAM_GIB.index(least) - 1]
    assert plan(question("llama-3-70b"), [replace(card, ram_free_bytes=least * GIB)]).placements
    less = plan(question("llama-3-70b"), [replace(card, ram_free_bytes=smaller * GIB)])
    assert all(placed.quality < USUAL_QUALITY for placed in less.placements)


@pytest.mark.parametrize(
    "card",
    [
        device("probed"),
        device("unified", 24 * GIB, model="Ryzen AI Max+ 395", rate=SILENT),
        device("mac", 24 * GIB, kind="apple", model="Apple M3 Max", rate=SILENT),
    ],
)
def test_ram_is_not_asked_for_where_it_is_known_or_would_not_count(card: DeviceSpec) -> None:
    assert "offload" not in ways(plan(question("llama-3-70b"), [card]))


def test_a_context_too_long_is_answered_with_the_longest_that_fits() -> None:
    asked = question("llama-3.1-8b", context=131_072, quant="Q8_0")
    way = ways(plan(asked, [device("small", 16 * GIB)]))["context"]
    context = int(way.options[1])
    assert plan(replace(asked, context=context), [device("small", 16 * GIB)]).placements
    longer = replace(asked, context=context + 1024)
    assert plan(longer, [device("small", 16 * GIB)]).placements == ()


def test_a_context_shorter_than_prompt_and_answer_is_not_named() -> None:
    asked = question("llama-3.1-8b", context=131_072, prompt_tokens=130_000, quant="Q8_0")
    assert "context" not in ways(plan(asked, [device("small", 16 * GIB)]))


def test_a_prompt_longer_than_the_context_is_answered_with_a_context_that_holds_it() -> None:
    asked = question("llama-3.1-8b", context=1000, prompt_tokens=5000, tokens=100)
    assert ways(plan(asked, [device()]))["context"].options == ("--context", "5100")


def test_a_context_beyond_what_the_model_knows_is_answered_with_all_it_knows() -> None:
    asked = question("llama-3-8b", context=20_000)
    assert ways(plan(asked, [device()]))["context"].options == ("--context", "8192")


def test_too_many_sequences_are_answered_with_the_most_that_fit() -> None:
    asked = question("llama-3-8b", batch=64, context=8192, quant="Q8_0")
    way = ways(plan(asked, [device()]))["batch"]
    most = int(way.options[1])
    assert plan(replace(asked, batch=most), [device()]).placements
    assert plan(replace(asked, batch=most + 1), [device()]).placements == ()


def test_a_device_named_and_too_small_is_answered_with_another_one() -> None:
    fleet = [device("small", 1 * GIB), device("large", 80 * GIB)]
    way = plan(question("llama-3-8b", on="small"), fleet).ways_out[0]
    assert (way.kind, way.options) == ("device", ("--on", "large"))


def test_an_engine_nobody_has_is_answered_with_one_that_is_there() -> None:
    way = plan(question("llama-3-8b", engine="mlx"), [device()]).ways_out[0]
    assert (way.kind, way.options) == ("engine", ("--engine", "llama.cpp"))


def test_the_smallest_common_hardware_that_would_do_is_named() -> None:
    asked = question("llama-3-8b", quant="F16", engine="llama.cpp")
    way = ways(plan(asked, [device("small", 4 * GIB)]))["device"]
    name = way.options[1]
    assert plan(asked, list(what_ifs([name]).values())).placements
    for smaller in HARDWARE[: HARDWARE.index(name)]:
        assert plan(asked, list(what_ifs([smaller]).values())).placements == ()


def test_common_hardware_is_known_by_its_name() -> None:
    for name in HARDWARE:
        (found,) = what_ifs([name]).values()
        assert found.bandwidth_basis == "catalogue"


def test_a_question_that_is_wrong_has_no_way_out() -> None:
    for wrong in ({"quant": "Q9_X"}, {"kv_type": "f7"}, {"engine": "abacus"}):
        assert plan(question("llama-3-8b", **wrong), [device()]).ways_out == ()


def test_json_says_what_to_add_to_the_command() -> None:
    shown = plan_dict(plan(question("llama-3-8b", engine="mlx"), [device()]))["ways_out"]
    assert isinstance(shown, list)
    assert set(shown[0]) == {"kind", "text", "options"}
    assert shown[0]["options"] == ["--engine", "llama.cpp"]


DEVICES = st.builds(
    lambda n, free, count, kind, ram, source, engines: device(
        f"d{n}",
        free * GIB,
        kind=kind,
        count=count if kind == "gpu" else 1,
        location="lan",
        engines=engines,
        ram_free_bytes=ram * GIB,
        rate=Rate(source=source),
    ),
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.integers(1, 2),
    st.sampled_from(["gpu", "gpu", "apple", "cpu"]),
    st.sampled_from([0, 16]),
    st.sampled_from(["what-if", "probe"]),
    st.sampled_from([("llama.cpp",), ("llama.cpp", "vllm"), ("mlx",)]),
)
LIMITS = st.one_of(
    st.just(Limits()),
    st.builds(Limits, min_tokens_per_s=st.floats(1, 100)),
    st.builds(Limits, min_quality=st.floats(0.5, 0.99)),
    st.builds(Limits, max_latency_ms=st.integers(1000, 10**5)),
)


@settings(max_examples=30, deadline=None)
@given(
    fleet=st.lists(DEVICES, min_size=1, max_size=3, unique_by=lambda d: d.device_id),
    name=st.sampled_from(["llama-3.1-8b", "llama-3.3-70b", "gpt-oss-120b", "qwen3-30b-a3b"]),
    context=st.sampled_from([4096, 32_768, 131_072]),
    batch=st.sampled_from([1, 8, 64]),
    quant=st.sampled_from([None, None, "Q8_0", "F16", "AWQ"]),
    limits=LIMITS,
    which=st.integers(-1, 2),
)
def test_every_way_that_is_named_works(
    fleet: list[DeviceSpec],
    name: str,
    context: int,
    batch: int,
    quant: str | None,
    limits: Limits,
    which: int,
) -> None:
    on = fleet[which].device_id if 0 <= which < len(fleet) else None
    query = question(
        name, context=context, batch=batch, quant=quant, limits=limits, on=on, tokens=64
    )
    answer = plan(query, fleet)
    assert not answer.placements or answer.ways_out == ()
    assert len(answer.ways_out) <= MAX_WAYS
    assert plan(query, fleet[::-1]).ways_out == answer.ways_out
    for way in answer.ways_out:
        assert "\n" not in way.text
        assert taken(query, fleet, way).placements, way
