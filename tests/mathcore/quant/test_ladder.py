"""The types worth trying of a model: what it is shipped in first, then what is smaller."""

from dataclasses import replace

import pytest

from mathcore.api import GIB, ModelSpec, find_model, weigh
from mathcore.catalogue.models import rows
from mathcore.quant.families import FAMILIES, LADDERS, family_of
from mathcore.quant.formats import QUANTS
from mathcore.quant.ladder import NATIVE, STEP, is_native, ladder, nats_of
from mathcore.quant.names import bits_per_number
from mathcore.quant.published import loss_factor
from mathcore.quant.quality import sorting_nats

SHIPPED_SMALL = [row.name for row in rows() if row.native not in ("", "HF-BF16")]


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    ("name", "engine", "first", "gib"),
    [
        # Published: 11.3 and 61 GiB of GGUF, checkpoints of 12.8 and 60.8 GiB.
        ("gpt-oss-20b", "llama.cpp", "MXFP4_MOE", 11.27),
        ("gpt-oss-20b", "vllm", "MXFP4", 12.82),
        ("gpt-oss-20b", "mlx", "MLX-mxfp4-q8", 11.26),
        ("gpt-oss-120b", "ollama", "MXFP4_MOE", 59.02),
        ("gpt-oss-120b", "vllm", "MXFP4", 60.77),
        # 594 GB on its hub page.
        ("kimi-k2-thinking", "vllm", "W4A16-EXPERTS", 553.4),
        ("kimi-k2-thinking", "llama.cpp", "Q4_0", 538.5),
        ("deepseek-v3", "vllm", "FP8-BLOCK", 627.0),
        ("deepseek-v3", "llama.cpp", "Q8_0", 664.3),
        ("deepseek-v4-flash", "vllm", "MXFP4-FP8", 144.9),
        ("ministral-3-8b", "vllm", "FP8", 8.9),
        ("llama-3.1-8b", "llama.cpp", "F16", 14.97),
    ],
)
def test_what_a_model_is_shipped_in_heads_its_ladder(
    name: str, engine: str, first: str, gib: float
) -> None:
    spec = model(name)
    assert ladder(spec, engine)[0] == first
    assert weigh(spec, first).total_bytes / GIB == pytest.approx(gib, rel=2e-3)


@pytest.mark.parametrize("name", SHIPPED_SMALL)
@pytest.mark.parametrize("engine", ["llama.cpp", "vllm", "mlx"])
def test_after_it_come_only_types_of_fewer_bits_and_fewer_bytes(name: str, engine: str) -> None:
    spec = model(name)
    tried = ladder(spec, engine)
    assert tried
    sizes = [weigh(spec, quant).total_bytes for quant in tried]
    for before, after in zip(sizes, sizes[1:], strict=False):
        assert after < STEP * before
    for quant in tried[1:]:
        assert bits_per_number(quant) < bits_per_number(spec.native) or is_native(spec, quant)
    losses = [nats_of(spec, quant) for quant in tried]
    assert losses == sorted(losses)


def test_the_numbers_it_was_published_with_lose_nothing_and_others_what_their_type_does() -> None:
    spec = model("gpt-oss-20b")
    for quant in ("MXFP4", "MXFP4_MOE", "MLX-mxfp4-q8"):
        assert nats_of(spec, quant) == 0.0
    assert nats_of(spec, "Q8_0") == sorting_nats("Q8_0") * loss_factor(spec).p50
    assert nats_of(model("llama-3.1-8b"), "MXFP4_MOE") > 0.1


def test_nothing_smaller_is_tried_where_it_would_be_no_smaller() -> None:
    """gpt-oss has rows of 2880 numbers, no whole blocks of 256: IQ3_XXS comes out as large."""
    assert ladder(model("gpt-oss-120b"), "llama.cpp") == ("MXFP4_MOE",)


@pytest.mark.parametrize("engine", sorted(FAMILIES))
def test_a_model_of_sixteen_bits_is_tried_at_its_family_s_whole_ladder(engine: str) -> None:
    assert ladder(model("llama-3.1-8b"), engine) == LADDERS[FAMILIES[engine]]


def test_a_file_is_tried_as_what_it_holds() -> None:
    spec = replace(model("gpt-oss-20b"), quant="Q8_0")
    assert ladder(spec, "llama.cpp") == ("Q8_0",)
    assert ladder(spec, "vllm") == ()


@pytest.mark.parametrize("native", sorted(NATIVE))
def test_every_shipped_format_is_called_by_a_name_of_each_family(native: str) -> None:
    assert native in QUANTS
    for family, names in NATIVE[native].items():
        assert names
        assert {family_of(name) for name in names} == {family}


@pytest.mark.parametrize(
    ("native", "engine", "tried"),
    [
        ("Q4_0", "llama.cpp", ("Q4_0", "Q3_K_M")),
        ("Q4_0", "vllm", ("AWQ",)),
        ("TQ2_0", "llama.cpp", ("TQ2_0", "TQ1_0")),
        ("NVFP4", "llama.cpp", ("GGUF-NVFP4", "Q3_K_M")),
        ("NVFP4", "mlx", ("MLX-nvfp4", "MLX-3bit")),
        ("W4A16-G32", "vllm", ("W4A16-G32",)),
        ("FP8-ROW", "mlx", ("MLX-8bit", "MLX-6bit")),
        ("MXFP8", "vllm", ("MXFP8", "AWQ")),
    ],
)
def test_other_shipped_formats_head_the_ladder_too(
    native: str, engine: str, tried: tuple[str, ...]
) -> None:
    spec = replace(model("llama-3.1-8b"), native=native)
    assert ladder(spec, engine)[: len(tried)] == tried
