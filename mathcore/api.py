"""The names of mathcore for those who ask from outside: notebooks, scripts, tests.

The product imports the rooms themselves, so that a cold start loads what it needs.
"""

from mathcore.band import Band
from mathcore.catalogue.models import find_model, model_names
from mathcore.device import DeviceSpec
from mathcore.engines.footprint import ContextShape, Footprint
from mathcore.engines.llamacpp.memory import footprint
from mathcore.formats.config import spec_from_config
from mathcore.hardware.facts import GpuFacts
from mathcore.hardware.names import lookup_gpu
from mathcore.model.spec import Layer, ModelSpec, SpecError, Tensor
from mathcore.planner.answer import Placement, Plan, WayOut
from mathcore.planner.plan import plan
from mathcore.planner.query import Query
from mathcore.planner.refusals import Refusal
from mathcore.planner.render import placement_dict, plan_dict
from mathcore.price import Rate, cost_nusd, depreciation_nusd, energy_nusd
from mathcore.quant.weights import QUANTS, weigh
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

__all__ = [
    "GB",
    "GIB",
    "KIB",
    "MIB",
    "NUSD",
    "QUANTS",
    "Band",
    "SpecError",
    "ContextShape",
    "DeviceSpec",
    "Footprint",
    "GpuFacts",
    "Layer",
    "ModelSpec",
    "Placement",
    "Plan",
    "Query",
    "Rate",
    "Refusal",
    "Tensor",
    "WayOut",
    "cost_nusd",
    "depreciation_nusd",
    "energy_nusd",
    "find_model",
    "footprint",
    "lookup_gpu",
    "model_names",
    "parse_bytes",
    "parse_duration_ms",
    "parse_nusd",
    "placement_dict",
    "plan",
    "plan_dict",
    "show_bytes",
    "show_ms",
    "show_nusd",
    "spec_from_config",
    "weigh",
]
