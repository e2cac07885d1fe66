"""How an engine is built, started and released reaches the speeds; and whose code wins a tie."""

from typing import Any

import pytest

from mathcore.speed.releases import kind_of_model, known_releases, release_flags
from mathcore.speed.work import work_of
from mesh.api.errors import RequestError
from mesh.edge.planning import make_plan, parse_plan, plan_query, source_of
from mesh.state.state import State


def ask(what: str, model: str = "llama-3.1-8b", **flags: object) -> dict[str, Any]:
    return dict(plan_query(State(), {"model": model, "what_if": [what], **flags}))


def run_flags(what: str, model: str = "llama-3.1-8b", **flags: object) -> tuple[str, ...]:
    request = parse_plan({"model": model, "what_if": [what], **flags})
    return make_plan(State(), request).placements[0].run.flags


def speed(what: str, **flags: object) -> float:
    placed = ask(what, **flags)["placements"][0]
    return float(placed["tokens_per_s"]["p50"])


LONG = {"context": "32k", "prompt_tokens": "30k", "quant": "Q4_K_M", "engine": "llama.cpp"}


def test_attention_without_its_kernels_is_slower_the_more_it_looks_back_on() -> None:
    assert run_flags("RTX 3090", flash_attn=False, quant="Q4_K_M") == ("plain",)
    long = speed("RTX 3090", **LONG, flash_attn=False) / speed("RTX 3090", **LONG)
    short = {**LONG, "context": "1k", "prompt_tokens": "64"}
    near = speed("RTX 3090", **short, flash_attn=False) / speed("RTX 3090", **short)
    assert long < 0.6
    assert near > 0.95


def test_a_vulkan_build_has_its_own_kernels_and_its_own_memory() -> None:
    assert run_flags("RX 7900 XTX", backend="vulkan", quant="Q4_K_M") == ("vulkan",)
    assert run_flags("RX 7900 XTX", backend="rocm", quant="Q4_K_M") == ()
    own = ask("RX 7900 XTX", backend="rocm", quant="Q4_K_M")["placements"][0]
    vulkan = ask("RX 7900 XTX", backend="vulkan", quant="Q4_K_M")["placements"][0]
    assert own["ttft_ms"]["p50"] != vulkan["ttft_ms"]["p50"]
    assert own["tokens_per_s"]["p50"] != vulkan["tokens_per_s"]["p50"]
    ours, theirs = own["footprint"], vulkan["footprint"]
    assert ours["overhead_bytes"] != theirs["overhead_bytes"]
    assert ours["weights_bytes"] == theirs["weights_bytes"]


@pytest.mark.parametrize(
    ("what", "backend"),
    [
        ("RTX 4090", "rocm"),
        ("RX 7900 XTX", "cuda"),
        ("M4 Max 64GB", "vulkan"),
        ("Arc B580", "metal"),
        ("EPYC 9654 256GB", "vulkan"),
    ],
)
def test_a_back_end_that_does_not_run_there_is_refused(what: str, backend: str) -> None:
    answer = ask(what, backend=backend)
    assert answer["placements"] == []
    assert answer["refusals"][0]["text"] == f"llama.cpp's {backend} back end does not run here"


def test_a_named_release_of_a_server_has_its_measured_pace() -> None:
    named = {"engine": "vllm", "quant": "HF-BF16"}
    assert run_flags("H100", engine_build="0.20.1", **named) == (
        "vllm@0.20.1",
        "vllm@0.20.1/dense/16",
    )
    assert run_flags("H100", engine_build="0.19", **named)[0] == "vllm@0.19.0"
    assert speed("H100", engine_build="0.19", **named) != speed("H100", **named)
    assert run_flags("H100", **named) == ()
    post = run_flags("H100", engine="sglang", quant="FP8", engine_build="0.5.10.post1")
    assert post[0] == "sglang@0.5.10.post1"


def test_a_release_nobody_measured_is_said_to_count_as_a_usual_one() -> None:
    named = {"engine": "vllm", "quant": "HF-BF16"}
    assert run_flags("H100", engine_build="0.28", **named) == ()
    (note,) = ask("H100", engine_build="0.28", **named)["notes"]
    assert note.startswith("no speed of vllm 0.28 is published: it counts as a usual release")
    assert "0.19.0" in note
    assert ask("H100", engine_build="0.19", **named)["notes"] == []


def test_releases_are_told_apart_by_their_numbers_alone() -> None:
    assert release_flags("vllm", "0.19", "dense/8") == ("vllm@0.19.0", "vllm@0.19.0/dense/8")
    assert release_flags("sglang", "0.5.10", "dense/8") == ()
    assert release_flags("vllm", "", "dense/8") == ()
    assert all(name[0].isdigit() for name in known_releases("vllm"))
    assert known_releases("sglang")[-1] == "0.5.10.post1"


@pytest.mark.parametrize(
    ("model", "quant", "kind"),
    [
        ("llama-3.1-8b", "FP8", "dense/8"),
        ("llama-3.1-8b", "AWQ", "dense/4"),
        ("qwen3-30b-a3b", "HF-BF16", "routed/16"),
        ("deepseek-v3", "FP8", "latent/8"),
    ],
)
def test_a_model_s_kind_is_its_layers_and_its_bits(model: str, quant: str, kind: str) -> None:
    assert kind_of_model(work_of(source_of(model).spec, quant), mxfp4=False) == kind


def test_gpt_oss_has_kernels_of_its_own() -> None:
    named = {"engine": "vllm", "engine_build": "0.18.0", "model": "gpt-oss-20b"}
    assert run_flags("H100", **named)[1] == "vllm@0.18.0/routed/mxfp4"  # type: ignore[arg-type]


def test_flags_of_some_engines_say_which_where_none_is_named() -> None:
    (note,) = ask("H100", max_num_seqs=64)["notes"]
    assert note == "max_num_seqs: of vllm, sglang, tgi; other engines are planned as they start"
    assert ask("H100", max_num_seqs=64, engine="vllm")["notes"] == []


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"engine": "llama.cpp", "max_num_seqs": 4}, "max_num_seqs: llama.cpp has no such option"),
        ({"engine": "sglang", "gpu_memory_utilization": 0.9}, "gpu_memory_utilization: sglang"),
        ({"engine": "vllm", "mem_fraction_static": 0.9}, "mem_fraction_static: vllm"),
        ({"engine": "sglang", "enforce_eager": True}, "enforce_eager: sglang"),
        ({"engine": "mlx", "prefix_caching": False}, "prefix_caching: mlx"),
        ({"mem_fraction_static": 0.9, "prefix_caching": True}, "prefix_caching: no engine knows"),
        ({"gpu_layers": 5, "max_num_seqs": 4}, "max_num_seqs: llama.cpp has no such option"),
        ({"engine": "vllm", "draft": "llama-3.2-1b"}, "engine: vllm knows none of llama.cpp's"),
        ({"draft_quant": "Q8_0"}, "draft_quant: nothing drafts"),
        ({"image_size": 512}, "image_size: no vision tower of llama-3.1-8b is counted"),
        ({"backend": "opencl"}, "backend: 'opencl' is not cuda, rocm, vulkan or metal"),
    ],
)
def test_a_flag_the_engine_has_not_is_refused_by_name(flags: dict[str, object], says: str) -> None:
    with pytest.raises(RequestError) as error:
        ask("H100", **flags)  # type: ignore[arg-type]
    assert error.value.text.startswith(says)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3-30b-a3b", "gpt-oss-20b"])
@pytest.mark.parametrize(
    "what", ["GB10", "Strix Halo 128GB", "RTX 4090", "RX 7900 XTX", "H100", "MI300X"]
)
def test_neither_ollama_nor_tgi_is_taken_for_a_speed_nobody_can_tell(what: str, model: str) -> None:
    assert ask(what, model)["placements"][0]["engine"] not in ("ollama", "tgi")


def test_where_ollama_is_all_there_is_or_named_it_is_taken() -> None:
    only = {"name": "box", "gpu": "RTX 4090", "engines": ["ollama"]}
    answer = plan_query(State(), {"model": "llama-3.1-8b", "fleet": [only]})
    assert answer["placements"][0]["engine"] == "ollama"  # type: ignore[index]
    assert ask("RTX 4090", engine="ollama")["placements"][0]["engine"] == "ollama"
