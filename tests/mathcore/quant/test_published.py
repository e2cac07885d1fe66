"""How much a model loses at a type, by what was published of its lineage and size."""

import math

import pytest

from mathcore.catalogue.models import find_model
from mathcore.model.spec import ModelSpec
from mathcore.quant.families import FAMILIES, LADDERS
from mathcore.quant.formats import QUANTS
from mathcore.quant.ladder import nats_of, quality_band, usual_nats, usual_quality
from mathcore.quant.published import COMPARED_ON, lineage_of, loss_factor, measured
from mathcore.quant.quality import LOSSES, USUAL_QUALITY, sorting_nats


def model(name: str) -> ModelSpec:
    found = find_model(name)
    assert found is not None
    return found


def test_the_table_is_complete() -> None:
    based = {row.quant for row in measured() if row.model == COMPARED_ON and row.metric == "ppl"}
    seen = set()
    for row in measured():
        assert row.quant in LOSSES, row
        assert row.metric in ("kld", "ppl"), row
        assert row.metric == "kld" or row.quant in based, row
        assert 0.0 < row.nats < 5.0, row
        assert 0.1 < row.billions < 2000.0, row
        assert row.lineage.isalnum(), row
        assert len(row.source) > 8, row
        key = (row.quant, row.model, row.metric, row.source)
        assert key not in seen, row
        seen.add(key)
    assert len(seen) >= 120
    assert len({row.model for row in measured()}) >= 17


def test_figures_that_were_published() -> None:
    """Perplexities and divergences of llama.cpp's own comparison of Llama 2 and 3."""
    found = {(row.quant, row.model, row.metric): row.nats for row in measured()}
    assert math.exp(found["Q4_K_M", "Llama 3 8B", "ppl"]) == pytest.approx(1.028160, abs=5e-4)
    assert math.exp(found["Q2_K", "Llama 3 8B", "ppl"]) == pytest.approx(1.564849, abs=1e-3)
    assert found["Q4_K_M", "Llama 2 7B", "kld"] == 0.012686
    assert math.exp(found["Q4_K_M", "Llama 2 70B", "ppl"]) == pytest.approx(1.0120, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "lineage", "least", "most"),
    [
        ("llama-3-8b", "llama", 1.0, 1.0),  # what others are compared with
        ("llama-2-7b", "llama2", 0.28, 0.36),
        ("mistral-7b", "llama2", 0.28, 0.36),
        ("qwen3-0.6b", "qwen", 2.0, 5.0),  # a small one loses more
        ("qwen3-8b", "qwen", 0.4, 0.9),
        ("gemma-3-27b", "gemma", 0.3, 1.2),  # nobody's of its own: all of its size
    ],
)
def test_a_lineage_and_a_size(name: str, lineage: str, least: float, most: float) -> None:
    spec = model(name)
    factor = loss_factor(spec)
    assert lineage_of(spec) == lineage
    assert least <= factor.p50 <= most
    assert factor.p10 < factor.p50 < factor.p90


def test_a_types_order_is_every_models() -> None:
    """One factor a model, so what is usual of Llama 3 8B is usual of all."""
    for name in ("llama-3-8b", "qwen3-0.6b", "deepseek-v3", "gemma-3-27b"):
        spec = model(name)
        for engine, family in FAMILIES.items():
            for quant in LADDERS[family]:
                usual = nats_of(spec, quant) <= usual_nats(spec)
                assert usual == (math.exp(-sorting_nats(quant)) >= USUAL_QUALITY), (engine, quant)


def test_a_band_holds_the_quality() -> None:
    spec = model("qwen3-0.6b")
    band = quality_band(spec, "Q3_K_M")
    assert band.p10 < band.p50 < band.p90
    assert band.p50 == pytest.approx(math.exp(-nats_of(spec, "Q3_K_M")))
    assert band.p10 < math.exp(-0.39525) < band.p90  # what was measured of it
    assert usual_quality(spec) < USUAL_QUALITY


def test_what_a_model_ships_in_has_no_band() -> None:
    band = quality_band(model("gpt-oss-20b"), "MXFP4_MOE")
    assert (band.p10, band.p50, band.p90) == (1.0, 1.0, 1.0)
    with_cache = quality_band(model("gpt-oss-20b"), "MXFP4_MOE", 0.002)
    assert with_cache.p10 == with_cache.p90 == pytest.approx(math.exp(-0.002))


def test_types_of_the_table_are_formats() -> None:
    assert {row.quant for row in measured()} <= set(QUANTS)
