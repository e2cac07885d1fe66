"""What fields are said to take is what their parsers take."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from mesh.api.hardware import DeviceRequest, parse_device
from mesh.api.jobs import JobRequest, parse_job
from mesh.api.requests import PlanRequest, parse_plan
from mesh.edge.openapi.shapes import struct_fields

Parse = Callable[[Mapping[str, object]], Any]
# What an example goes with, where it says nothing by itself.
BESIDE: dict[str, dict[str, object]] = {
    "ram": {"what_if": ["RTX 4090"]},
    "rate": {"what_if": ["RTX 4090"]},
    "engine_build": {"engine": "vllm"},
    "workdir": {"model": None, "command": ["true"]},
}
KINDS: list[tuple[type[msgspec.Struct], Parse, dict[str, object]]] = [
    (PlanRequest, parse_plan, {"model": "llama3.1:8b"}),
    (JobRequest, parse_job, {"model": "llama3.1:8b"}),
    (DeviceRequest, parse_device, {"name": "rig", "gpu": "RTX 4090"}),
]


@pytest.mark.parametrize(
    ("kind", "parse", "base"), KINDS, ids=lambda one: getattr(one, "__name__", "")
)
def test_every_example_is_taken_by_the_parser_of_its_field(
    kind: type[msgspec.Struct], parse: Parse, base: dict[str, object]
) -> None:
    fields = struct_fields(kind)
    examples = {name: one for name, said in fields.items() for one in said.get("examples", [])}
    assert len(examples) > 10
    for name, example in examples.items():
        beside = {} if kind is DeviceRequest else BESIDE.get(name, {})
        parse({**base, **beside, name: example})


def test_a_count_may_be_written_as_people_write_it() -> None:
    said = struct_fields(PlanRequest)["context"]
    assert {one["type"] for one in said["anyOf"]} == {"integer", "string"}
    assert parse_plan({"model": "llama3.1:8b", "context": "8k"}).context == 8192


def test_a_field_that_is_left_out_is_not_described() -> None:
    assert "sets" not in struct_fields(PlanRequest, ("sets",))
    assert "sets" in struct_fields(PlanRequest)
