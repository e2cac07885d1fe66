"""Server engines' flags in a planning question: read, bounded, refused by their own names."""

from typing import Any

import pytest

from mathcore.engines.mlx_scores import has_neural
from mathcore.engines.options import EngineOptions, build_of, release
from mathcore.engines.vllm.start import shape_of, start_of
from mesh.api.engine_flags import options_of
from mesh.api.errors import RequestError
from mesh.api.requests import parse_plan


def options(**given: Any) -> EngineOptions:
    return options_of(parse_plan({"model": "llama-3.1-8b", **given}))


def test_a_question_without_flags_leaves_engines_their_own_choices() -> None:
    assert options() == EngineOptions()


def test_flags_are_read_as_engines_take_them() -> None:
    found = options(
        gpu_memory_utilization="0.85",
        max_num_seqs=64,
        max_num_batched_tokens=4096,
        tensor_parallel=2,
        pipeline_parallel=3,
        prefix_caching=False,
        mamba_ssm_cache_dtype="float32",
        enforce_eager=True,
        engine="vllm",
        engine_build="v0.28",
    )
    assert found == EngineOptions(
        memory_permille=850,
        max_num_seqs=64,
        max_num_batched_tokens=4096,
        tensor_parallel=2,
        pipeline_parallel=3,
        prefix_caching=False,
        state_bytes=4,
        enforce_eager=True,
        build="0.28",
    )
    assert options(mem_fraction_static=0.8).memory_permille == 800


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"gpu_memory_utilization": 1.2}, "gpu_memory_utilization"),
        ({"gpu_memory_utilization": "most"}, "gpu_memory_utilization"),
        ({"mem_fraction_static": 0}, "mem_fraction_static"),
        ({"gpu_memory_utilization": 0.9, "mem_fraction_static": 0.9}, "mem_fraction_static"),
        ({"max_num_seqs": 4, "batch": 8}, "max_num_seqs 4 serves 4"),
        ({"tensor_parallel": 0}, "tensor_parallel"),
        ({"pipeline_parallel": 65}, "pipeline_parallel"),
        ({"mamba_ssm_cache_dtype": "int4"}, "mamba_ssm_cache_dtype"),
        ({"engine_build": "0.30"}, "engine_build"),
        ({"engine_build": "newest", "engine": "vllm"}, "engine_build"),
        ({"engine_build": "b5863", "engine": "llama.cpp"}, "engine_build"),
    ],
)
def test_a_flag_that_cannot_be_is_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError, match=field):
        options(**given)


def test_releases_differ_in_graphs_share_and_batches_on_their_way() -> None:
    found = {}
    for build in ("0.20", "0.28.1", "0.33", ""):
        asked = EngineOptions(build=build)
        start = start_of(asked, 24 << 30, "RTX 4090")
        shape = shape_of(start, asked, 4096, 1, "auto")
        found[build] = (start.utilisation_permille, shape.graphs, shape.in_flight)
    assert found == {
        "0.20": (900, False, 1),
        "0.28.1": (920, True, 1),
        "0.33": (920, True, 2),
        "": (920, True, 2),
    }


def test_an_answer_names_the_build_it_is_for() -> None:
    assert build_of("vllm", EngineOptions(build="0.28")) == "vLLM 0.28"
    assert build_of("vllm").startswith("vLLM ")
    assert release("v0.31") == (0, 31, 0)


@pytest.mark.parametrize(
    ("chip", "neural"),
    [
        ("Apple M5 Max", "yes"),
        ("M6", "yes"),
        ("M4 Max", "no"),
        ("M2 Ultra", "no"),
        ("RTX 5090", "no"),
    ],
)
def test_neural_accelerators_came_with_the_m5(chip: str, neural: str) -> None:
    assert ("yes" if has_neural(chip) else "no") == neural
