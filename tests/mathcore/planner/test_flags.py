"""What llama.cpp is told by its own options is what is planned: places, caches, passes."""

from typing import Any

import pytest

from mathcore.engines.flags import Flags, moved_names, parse_override, parse_split
from mathcore.engines.llamacpp.offload import ALL_LAYERS, Moved
from mathcore.model.spec import ModelSpec
from mathcore.quant.weights import weigh
from mathcore.units import GIB, MIB
from mesh.api.errors import RequestError
from mesh.edge.planning import plan_query
from mesh.state.state import State
from providers.sources.resolve import resolve

MODEL = "qwen3-30b-a3b"


def ask(what: str = "RTX 3090 + CPU 110GB", model: str = MODEL, **flags: object) -> dict[str, Any]:
    asked = {"model": model, "what_if": [what], "quant": "Q4_K_M", "engine": "llama.cpp", **flags}
    return dict(plan_query(State(), asked))


def only(**flags: object) -> dict[str, Any]:
    (placed,) = ask(**flags)["placements"]  # type: ignore[arg-type]
    return dict(placed)


def spec_of(name: str = MODEL) -> ModelSpec:
    return resolve(name).spec


def test_a_24_gb_card_with_110_gb_of_ram_and_the_experts_of_40_layers_in_it() -> None:
    """The question of Crow#140, of a model its host was asked about: it could not be put."""
    placed = only(model="qwen3-next-80b-a3b", n_cpu_moe=40, context="32k")
    assert (placed["cpu_experts"], placed["gpu_layers"]) == (40, ALL_LAYERS)
    weights = weigh(spec_of("qwen3-next-80b-a3b"), "Q4_K_M")
    experts = sum(weights.expert_bytes[:40])
    assert placed["footprint"]["weights_bytes"] == weights.device_bytes - experts
    beside = placed["footprint"]["host_bytes"] - experts - weights.host_bytes
    assert 150 * MIB < beside < 400 * MIB  # the process, inputs, the mask
    assert placed["footprint"]["total_bytes"] < 24 * GIB
    slower = only(model="qwen3-next-80b-a3b", n_cpu_moe=48, context="32k")
    assert slower["tokens_per_s"]["p50"] < placed["tokens_per_s"]["p50"]


def test_an_override_of_the_experts_is_n_cpu_moe() -> None:
    pattern = r"blk\.([0-9]|1[0-9])\.ffn_(up|down|gate)_exps=CPU"
    by_hand, by_name = only(override_tensor=[pattern]), only(n_cpu_moe=20)
    assert by_hand["footprint"] == by_name["footprint"]
    assert by_hand["tokens_per_s"] == by_name["tokens_per_s"]
    assert only(cpu_moe=True)["footprint"] == only(n_cpu_moe=99)["footprint"]


def test_layers_said_are_layers_laid_and_the_output_is_the_last() -> None:
    weights = weigh(spec_of(), "Q4_K_M")
    need = only(gpu_layers=1)["footprint"]
    outside = weights.total_bytes - sum(weights.layer_bytes) - weights.host_bytes
    assert need["weights_bytes"] == outside
    assert need["kv_bytes"] == 0
    nothing = only(gpu_layers=0)["footprint"]
    assert nothing["weights_bytes"] == 0
    assert nothing["compute_bytes"] > 0  # large batches are computed there all the same
    assert only(gpu_layers=20)["gpu_layers"] == 20
    assert only(gpu_layers="all")["footprint"] == only()["footprint"]


def test_layers_and_experts_may_both_be_said() -> None:
    both = only(gpu_layers=30, n_cpu_moe=30)
    layers, experts = only(gpu_layers=30), only(n_cpu_moe=30)
    assert both["footprint"]["weights_bytes"] < layers["footprint"]["weights_bytes"]
    assert both["footprint"]["host_bytes"] > experts["footprint"]["host_bytes"]
    assert both["tokens_per_s"]["p50"] <= layers["tokens_per_s"]["p50"]


def test_cards_have_the_shares_that_were_said() -> None:
    even = only(what="2x RTX 4090", tensor_split="1,1")
    uneven = only(what="2x RTX 4090", tensor_split="3,1")
    alone = only(what="2x RTX 4090", tensor_split="1,0")
    assert even["cards"] == uneven["cards"] == 2
    assert alone["cards"] == 1
    total = [one["footprint"]["weights_bytes"] for one in (even, uneven, alone)]
    assert len(set(total)) == 1
    refused = ask(what="2x RTX 3060 12GB", tensor_split="1,0")["refusals"]
    assert "per card" in refused[0]["text"] or "missing" in refused[0]["text"]


def test_passes_and_caches_are_as_said() -> None:
    usual = only(context="32k")["footprint"]
    wide = only(context="32k", ubatch=2048)["footprint"]
    assert 3.5 < wide["compute_bytes"] / usual["compute_bytes"] < 4.5
    keys = only(context="32k", cache_type_k="q8_0", cache_type_v="q4_0")["footprint"]
    assert keys["kv_bytes"] * 64 == usual["kv_bytes"] * (34 + 18) // 2
    plain = only(context="32k", flash_attn=False)["footprint"]
    assert plain["compute_bytes"] > 32 * 32_768 * 512 * 4  # a layer's scores
    shared = only(context="8k", parallel=4, kv_unified=True)["footprint"]
    assert shared["kv_bytes"] == only(context="8k", batch=4)["footprint"]["kv_bytes"]
    full = only(model="gemma-3-27b", context="16k", swa_full=True, what="RTX PRO 6000 96GB")
    kept = only(model="gemma-3-27b", context="16k", what="RTX PRO 6000 96GB")
    assert full["footprint"]["kv_bytes"] > 3 * kept["footprint"]["kv_bytes"]


def test_ram_nobody_stated_is_assumed_aloud_and_only_where_it_matters() -> None:
    assumed = ask(what="RTX 3090", n_cpu_moe=10)
    (note,) = assumed["notes"]
    assert note == "RTX 3090: its host has 32.0 GiB of RAM, as assumed: say --ram"
    assert assumed["placements"]
    assert ask(what="RTX 3090")["notes"] == []
    assert ask(what="RTX 3090", n_cpu_moe=10, ram="64GB")["notes"] == []
    assert ask(what="H100", n_cpu_moe=10)["notes"] == [
        "H100: its host has 80.0 GiB of RAM, as assumed: say --ram"
    ]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"override_tensor": ["exps=CUDA1"]}, "override_tensor: only PATTERN=CPU"),
        ({"override_tensor": ["exps"]}, "override_tensor: 'exps' is not PATTERN=CPU"),
        ({"override_tensor": ["(=CPU"]}, "override_tensor: '(' is no pattern"),
        ({"override_tensor": ["(a+)+=CPU"]}, "override_tensor: '(a+)+': a repeated group"),
        ({"tensor_split": "0,0"}, "tensor_split: '0,0' is no list of shares"),
        ({"tensor_split": "many"}, "tensor_split: "),
        ({"gpu_layers": -3}, "gpu_layers: -3 is not"),
        ({"gpu_layers": "most"}, "gpu_layers: 'most' is not"),
        ({"n_cpu_moe": 3, "engine": "vllm", "quant": "AWQ"}, "engine: vllm knows none"),
        ({"parallel": 3, "batch": 2}, "parallel: 3, but batch is 2"),
        ({"cache_type_k": "q8_0", "kv_type": "f16"}, "cache_type_k: q8_0, but kv_type is f16"),
        ({"cache_type_v": "f17"}, "cache_type_v: "),
    ],
)
def test_what_llama_cpp_would_not_read_is_refused_by_name(
    flags: dict[str, object], says: str
) -> None:
    with pytest.raises(RequestError) as error:
        ask(**flags)  # type: ignore[arg-type]
    assert error.value.text.startswith(says)


def test_quantised_values_without_flash_attention_are_refused() -> None:
    refused = ask(flash_attn=False, cache_type_v="q8_0")["refusals"]
    assert "need flash attention" in refused[0]["text"]


def test_a_pattern_names_tensors_as_llama_cpp_searches_them() -> None:
    spec = spec_of()
    moved = moved_names(spec, Flags(on_host=(parse_override(r"ffn_.*_exps\.weight=CPU"),)))
    assert len(moved) == 3 * len(spec.layers)
    assert moved == moved_names(spec, Flags(cpu_experts=len(spec.layers)))
    bytes_of = Moved(spec, "Q4_K_M", moved)
    assert bytes_of.layer_bytes == weigh(spec, "Q4_K_M").expert_bytes
    assert parse_split("2.7,1") == (2700, 1000)


@pytest.mark.parametrize(
    "pattern", [r"(a|a)*$", r"(a|aa)+$", r"(a|a|\\)+$", r"(.|.){30}", ".*" * 4 + "x", "a+b*c{2,}d*"]
)
def test_a_pattern_that_could_take_hours_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="may take too long"):
        parse_override(f"{pattern}=CPU")


@pytest.mark.parametrize(
    "pattern",
    [r"blk\.(1[0-9]|2[0-9])\.ffn_.*_exps\.weight", r"\.ffn_(up|down)_exps.", "[+*]{2}", r"a\)+"],
)
def test_patterns_of_guides_are_taken(pattern: str) -> None:
    assert parse_override(f"{pattern}=CPU") == pattern


def test_a_device_without_a_host_beside_it_has_everything_and_that_is_said() -> None:
    answer = ask(what="M4 Max 64GB macOS 26", gpu_layers=10)
    assert answer["placements"][0]["gpu_layers"] == ALL_LAYERS
    assert "is no graphics card" in answer["notes"][1]


def test_what_an_apu_leaves_to_its_processor_is_of_the_same_memory() -> None:
    """IQ4_XS of 78 GiB: with all experts in RAM the GPU's own limit no longer matters."""
    asked = {"model": "glm-4.5-air", "quant": "Q4_K_M", "n_cpu_moe": 47}
    (placed,) = ask(what="Strix Halo 128GB 32GB GTT", **asked)["placements"]  # type: ignore[arg-type]
    need = placed["footprint"]
    assert need["total_bytes"] + need["host_bytes"] <= 128 * GIB
    assert ask(what="Strix Halo 64GB 32GB GTT", **asked)["placements"] == []  # type: ignore[arg-type]
