"""The planner's arithmetic: bytes, seconds and money. Pure, and compiled when it can be."""

from mathcore.answer import Placement, Plan, Refusal
from mathcore.card import spec_from_config
from mathcore.catalogue import find_model, model_names
from mathcore.device import DeviceSpec
from mathcore.fleet import Query
from mathcore.footprint import ContextShape, Footprint
from mathcore.hardware import GpuFacts, lookup_gpu
from mathcore.interval import Band
from mathcore.llamacpp import footprint
from mathcore.model import CardError, Layer, ModelSpec, Tensor
from mathcore.planner import plan
from mathcore.price import Rate, cost_nusd, depreciation_nusd, energy_nusd
from mathcore.render import placement_dict, plan_dict
from mathcore.units import (
    GB,
    GIB,
    KIB,
    MIB,
    NUSD,
    parse_bytes,
    parse_duration_ms,
    parse_nusd,
    show_bytes,
    show_ms,
    show_nusd,
)
from mathcore.weights import LADDER, QUANTS, weigh

# True when running from the extension modules: their names do not end in .py.
COMPILED: bool = not __file__.endswith((".py", ".pyc"))

__all__ = [
    "COMPILED", "GB", "GIB", "KIB", "LADDER", "MIB", "NUSD", "QUANTS",
    "Band", "CardError", "ContextShape", "DeviceSpec", "Footprint", "GpuFacts", "Layer",
    "ModelSpec", "Placement", "Plan", "Query", "Rate", "Refusal", "Tensor",
    "cost_nusd", "depreciation_nusd", "energy_nusd", "find_model", "footprint", "lookup_gpu",
    "model_names", "parse_bytes", "parse_duration_ms", "parse_nusd", "placement_dict", "plan",
    "plan_dict", "show_bytes", "show_ms", "show_nusd", "spec_from_config", "weigh",
]  # fmt: skip
