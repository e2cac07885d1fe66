"""Models shipped in 4 bits are planned as shipped: gpt-oss as people run it."""

import pytest

from mathcore.api import GIB, Query, find_model, plan
from mesh.edge.planning import what_ifs


@pytest.mark.parametrize(
    ("name", "hardware", "engine", "context", "quant", "need_gib"),
    [
        # llama.cpp: a file of 11.3 GiB; the checkpoint of the large one 60.8 GiB, 61223 MiB as GGUF
        ("gpt-oss-20b", "RTX 4080", "llama.cpp", 131_072, "MXFP4_MOE", (11.3, 15.5)),
        ("gpt-oss-20b", "RTX 4060 Ti 16GB", "ollama", 8192, "MXFP4_MOE", (11.2, 12.5)),
        ("gpt-oss-120b", "RTX 4090 x3", "llama.cpp", 131_072, "MXFP4_MOE", (59.8, 70.5)),
        ("gpt-oss-120b", "H100", "vllm", 131_072, "MXFP4", (60.8, 73.6)),
        ("gpt-oss-20b", "M4 24GB", "mlx", 8192, "MLX-mxfp4-q8", (11.2, 13.5)),
    ],
)
def test_gpt_oss_fits_where_people_run_it_with_nothing_lost(
    name: str,
    hardware: str,
    engine: str | None,
    context: int,
    quant: str,
    need_gib: tuple[float, float],
) -> None:
    spec = find_model(name)
    assert spec is not None
    asked = Query(model=spec, model_ref=name, context=context, engine=engine)
    placed = plan(asked, list(what_ifs([hardware]).values())).placements[0]
    assert placed.quant == quant
    assert placed.quality == 1.0
    least, most = need_gib
    assert least < placed.footprint.total_bytes / GIB < most


def test_on_a_mac_of_16_gb_it_is_no_longer_planned_at_eight_bits() -> None:
    """Whatever Metal lets a process have there, the first type tried has 11.3 GiB, not 20.7."""
    spec = find_model("gpt-oss-20b")
    assert spec is not None
    asked = Query(model=spec, model_ref="gpt-oss-20b", context=8192, quant=None)
    answer = plan(asked, list(what_ifs(["M4 16GB"]).values()))
    for placed in answer.placements:
        assert placed.footprint.weights_bytes < 11.5 * GIB
