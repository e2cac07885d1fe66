"""Answers of the planner that never change, whatever the planner learns: what views are shown."""

from typing import Any

import numpy as np

from mathcore.planner.capacity import Capacity
from mathcore.planner.grids.arrays import Grid, Length
from mathcore.units import GIB
from tests.mathcore.fixtures import device


def band(p10: float, p50: float, p90: float) -> dict[str, float]:
    return {"p10": p10, "p50": p50, "p90": p90}


def placement(name: str, **changes: object) -> dict[str, Any]:
    """A card that holds a 70B model, or what `changes` make of it; loading is not paid for."""
    cost = changes.get("cost_nusd", band(2_900_000, 3_800_000, 5_100_000))
    return {
        "device": name,
        "device_id": f"dev-{name}",
        "provider": "ssh",
        "engine": "llama.cpp",
        "quant": "Q6_K",
        "kv_type": "f16",
        "cards": 1,
        "gpu_layers": -1,
        "cpu_experts": 0,
        "quality": 0.9946,
        "fit": "fit",
        "footprint": {
            "weights_bytes": 54 * GIB,
            "kv_bytes": 1 * GIB,
            "state_bytes": 0,
            "compute_bytes": GIB // 4,
            "overhead_bytes": GIB // 2,
            "output_bytes": 0,
            "host_bytes": 0,
            "total_bytes": 54 * GIB + 7 * GIB // 4,
            "free_bytes": 79 * GIB,
        },
        "tokens_per_s": band(14.3, 19.5, 23.7),
        "prefill_tokens_per_s": band(900, 1200, 1500),
        "ttft_ms": band(350, 430, 560),
        "load_ms": band(18_000, 27_000, 54_000),
        "answer_ms": band(11_000, 13_500, 18_400),
        "duration_ms": band(29_000, 40_500, 72_400),
        "wait_ms": 0,
        "cost_nusd": cost,
        "answer_cost_nusd": cost,
        "cost_lacks": [],
        "basis": "prior: hbm, bandwidth catalogue",
        "terms_ms": {"load": 27_000, "prompt": 430, "tokens": 13_070},
        "pareto": True,
        **changes,
    }


def members(*names: str) -> dict[str, object]:
    part = {"cards": 1, "layers": 40, "need_bytes": 24 * GIB, "free_bytes": 30 * GIB}
    return {
        "device": " + ".join(names),
        "members": [{"device": name, **part, "terms_ms": {"reads": 9_000}} for name in names],
    }


ASKED: dict[str, Any] = {
    "model": "llama-3-70b",
    "architecture": "llama",
    "parameters": 70_553_706_496,
    "layers": 80,
    "quant": None,
    "kv_type": None,
    "batch": 1,
    "context": 4096,
    "prompt_tokens": 512,
    "tokens": 256,
    "engine": None,
    "max_latency_ms": None,
    "max_ttft_ms": None,
    "deadline_ms": 120_000,
    "min_tokens_per_s": None,
    "max_nusd_per_hour": None,
    "max_cost_nusd": None,
    "min_quality": None,
    "objective": "balanced",
    "on": None,
}
PLAN: dict[str, Any] = {
    "query": ASKED,
    "question": {**ASKED, "model_ref": "llama3:70b"},
    "placements": [
        placement("lab"),
        placement(
            "rig",
            **members("rig", "cellar-workstation"),
            cards=3,
            quant="Q8_0",
            quality=0.9986,
            tokens_per_s=band(12.5, 14.2, 16.1),
            answer_ms=band(14_000, 18_000, 23_000),
            cost_nusd=band(3_000_000, 4_200_000, 6_000_000),
            basis="2 hosts, prior: RTX 3090 and RTX 4090, bandwidth catalogue",
        ),
        placement(
            "strix-halo",
            fit="tight",
            quant="Q4_K_M",
            quality=0.969,
            gpu_layers=61,
            tokens_per_s=band(3.1, 4.4, 6.0),
            answer_ms=band(43_000, 59_000, 84_000),
            cost_nusd=band(0, 0, 0),
            cost_lacks=["price", "power"],
            wait_ms=95_000,
            basis="learned from 7 jobs on this device, bandwidth measured",
        ),
        placement(
            "duo",
            engine="vllm",
            cards=2,
            quant="AWQ",
            quality=0.961,
            quality_usual=False,
            answer_ms=band(12_000, 13_500, 15_000),
            cost_nusd=band(600_000, 800_000, 1_100_000),
            cost_lacks=["price"],
            pareto=False,
        ),
    ],
    "refusals": [
        {
            "device": name,
            "device_id": f"dev-{name}",
            "code": "NoFit(mem)",
            "text": "Q4_K_M needs 40.8 GiB, 23.5 GiB free: 17.3 GiB missing",
            "missing_bytes": 17 * GIB,
            "missing_ms": 0,
        }
        for name in ("gaming-pc", "attic", "laptop", "old-nas", "spare")
    ],
    "ways_out": [],
    "more": 0,
}
NOWHERE: dict[str, Any] = {
    **PLAN,
    "placements": [],
    "ways_out": [
        {
            "kind": "quant",
            "text": "As IQ2_XXS it needs 19.1 GiB and fits attic, gaming-pc and three others.",
            "options": ["--quant", "IQ2_XXS"],
        },
        {
            "kind": "offload",
            "text": "With 48 GiB of RAM beside the card, 41 of 81 layers stay on it.",
            "options": ["--ram", "64GB"],
        },
    ],
}
ONLY: dict[str, Any] = {
    **PLAN,
    "query": {**ASKED, "on": "lab"},
    "placements": PLAN["placements"][:1],
    "refusals": [
        {**row, "code": "NotChosen", "text": "the job was asked to run on lab"}
        for row in PLAN["refusals"]
    ],
}


def capacity(name: str, free_gib: float, **changes: Any) -> Capacity:
    here = device(
        name,
        int(free_gib * GIB),
        count=changes.pop("count", 1),
        ram_free_bytes=changes.pop("ram_gib", 0) * GIB,
    )
    fields: dict[str, Any] = {
        "device": here,
        "engine": "llama.cpp",
        "build": "llama.cpp b11549",
        "quant": "Q4_K_M",
        "best_quant": "Q4_K_M",
        "context": 8192,
        "sequences": 5,
        "gpu_layers": 81,
        "layers": 81,
        "cpu_experts": 0,
        "quality": 0.9692,
    }
    return Capacity(**{**fields, **changes})


CAPACITIES = [
    capacity("duo", 23.5, count=2),
    capacity("lab", 79.2, best_quant="Q8_0", sequences=31),
    capacity("gaming-pc", 23.5, ram_gib=64, context=0, sequences=0, best_quant="", gpu_layers=44),
    capacity("laptop", 7.5, context=0, sequences=0, best_quant="", gpu_layers=-1, cpu_experts=-1),
]
BATCHES = [1, 2, 4]
LENGTHS = [
    Length(context=n, prompt_tokens=n // 2, tokens=256) for n in (2048, 4096, 8192, 16_384, 32_768)
]


class Placed:
    """As much of a placement as a sweep shows."""

    def __init__(self, rate: float) -> None:
        from mathcore.band import Band

        self.tokens_per_s = Band(p10=0.8 * rate, p50=rate, p90=1.2 * rate)


def grid(name: str, free_gib: float, base_gib: float, quant: str = "Q4_K_M") -> Grid:
    """Memory that grows with batch and context from `base_gib`; speed falls with the context."""
    card = device(name, int(free_gib * GIB))
    needs = np.array(
        [[int((base_gib + b * n.context / 8192) * GIB) for n in LENGTHS] for b in BATCHES]
    )
    spare = card.free_bytes - needs
    found = Grid(card, quant, needs, spare, np.ones_like(needs))
    found.verdicts = np.where(spare < 0, 2, np.where(spare < GIB, 1, 0))
    places = iter(range(1000))
    for i, batch in enumerate(BATCHES):
        for j, length in enumerate(LENGTHS):
            if found.verdicts[i, j] <= 1:
                found.times[i, j] = next(places)
                speed = 150 * batch**0.7 / (1 + length.context / 40_000)
                found.placements.append(Placed(speed))  # type: ignore[arg-type]
    return found


GRIDS = [grid("RTX 5090", 31.5, 19.0), grid("RTX 4090", 23.5, 19.0), grid("RTX 3060", 11.5, 19.0)]
