"""The memory a person types is the memory planned with, whatever the name before it."""

import pytest

from mathcore.hardware.facts import GpuFacts, cpus, gpus
from mathcore.units import GIB
from mesh.edge.planning import described, what_ifs

# As people typed them in public threads, and GiB.
TYPED = [
    ("M4 16GB", 16),
    ("M4 Pro 24GB", 24),
    ("A100 40GB", 40),
    ("RTX 3080 12GB", 12),
    ("RTX 3060 8GB", 8),
    ("RTX 4090 48GB", 48),
    ("Ryzen AI Max+ 395 64GB", 64),
    ("RTX 3090 24 GB", 24),
    ("MacBook Air M2 8GB", 8),
    ("Mac mini M4 Pro 64 GB", 64),
    ("RTX 5060 Ti 8GB", 8),
    ("RTX 4060 Ti 16 GB", 16),
    ("Arc A770 8GB", 8),
    ("V100-32GB", 32),
    ("H100 PCIe 80GB x4", 80),
    ("2x RTX 2080 Ti 22GB", 22),
    ("GTX 1060 3GB", 3),
    ("RX 580 4GB", 4),
]


@pytest.mark.parametrize(("text", "gib"), TYPED)
def test_a_size_typed_is_the_size_planned_with(text: str, gib: int) -> None:
    (device,) = what_ifs([text]).values()
    assert device.memory_bytes == gib * GIB
    assert 0.6 * gib * GIB < device.free_bytes <= gib * GIB


ROWS = [(fact, size) for fact in gpus() for size in (*fact.memory_options, 7, 40, 96, 1000)]


@pytest.mark.parametrize("spelled", ["{} {}GB", "{}GiB {}", "{} {} GB", "{} ({}GB)"])
def test_every_device_of_the_catalogue_has_the_size_beside_its_name(spelled: str) -> None:
    wrong = []
    for fact, size in ROWS:
        if _has_size(fact):
            continue
        first = (size, fact.name) if spelled.startswith("{}GiB") else (fact.name, size)
        (device,) = what_ifs([spelled.format(*first)]).values()
        if device.memory_bytes != _as_sold(fact, size) * GIB:
            wrong.append((spelled.format(*first), device.model, device.memory_bytes / GIB))
    assert wrong == []


def test_every_device_of_the_catalogue_has_the_size_of_its_own_field() -> None:
    wrong = []
    for fact, size in ROWS:
        entry = {"name": "it", "gpu": fact.name, "memory": f"{size}GiB"}
        (device,) = described([entry]).values()
        if device.memory_bytes != _as_sold(fact, size) * GIB:
            wrong.append((fact.name, size, device.model, device.memory_bytes / GIB))
    assert wrong == []


@pytest.mark.parametrize("size", [8, 64, 768, 1536])
def test_every_processor_of_the_catalogue_has_the_ram_beside_its_name(size: int) -> None:
    for fact in cpus():
        (device,) = what_ifs([f"{fact.name} {size}GB"]).values()
        assert (device.kind, device.memory_bytes) == ("cpu", size * GIB), fact.name


def _has_size(fact: GpuFacts) -> bool:
    """Whether its own name states one: "A100 40GB"."""
    return fact.name.endswith("GB")


def _as_sold(fact: GpuFacts, size: int) -> int:
    """The maker's rounding is the size sold: an H200 of 144 GB has 141, where it is no option."""
    if size in fact.memory_options:
        return size
    for sold in reversed(fact.memory_options):
        if sold < size <= 1.08 * sold:
            return sold
    return size
