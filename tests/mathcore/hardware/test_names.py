"""Device names as drivers, clouds and people write them mean the right row, or none."""

import pytest

from mathcore.hardware.described import describe
from mathcore.hardware.facts import cpus, gpus
from mathcore.hardware.names import find_in, lookup_cpu, lookup_gpu
from mathcore.speed.chip import chip_of_facts, class_of_facts, guessed_chip

DRIVER_NAMES = [
    # NVML
    ("NVIDIA GeForce RTX 4090", "RTX 4090"),
    ("NVIDIA A100-SXM4-80GB", "A100 SXM 80GB"),
    ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"),
    ("NVIDIA H100 80GB HBM3", "H100"),
    ("NVIDIA H100 NVL", "H100 NVL"),
    ("NVIDIA GH200 480GB", "GH200"),
    ("NVIDIA L40S", "L40S"),
    ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
    ("Tesla T4", "T4"),
    ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell"),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", "RTX 4090 Laptop"),
    ("NVIDIA GB10", "GB10"),
    ("Tesla V100-SXM2-16GB", "V100 SXM"),
    ("NVIDIA GeForce GTX 1660 SUPER", "GTX 1660 SUPER"),
    # sysfs, ROCm
    ("AMD Instinct MI300X OAM", "MI300X"),
    ("AMD Radeon RX 7900 XTX", "RX 7900 XTX"),
    ("AMD Radeon 8060S Graphics", "Ryzen AI MAX+ 395"),
    ("AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", "Ryzen AI MAX+ 395"),
    # Metal
    ("Apple M3 Max", "Apple M3 Max"),
    ("Apple M1 Ultra", "Apple M1 Ultra"),
    # marketplaces and clouds
    ("RTX 4070S Ti", "RTX 4070 Ti SUPER"),
    ("RTX 4080S", "RTX 4080 SUPER"),
    ("RTX 6000Ada", "RTX 6000 Ada"),
    ("Q RTX 8000", "Quadro RTX 8000"),
    ("RTX PRO 6000 WS", "RTX PRO 6000 Blackwell"),
    ("A100 SXM4", "A100 SXM 80GB"),
    ("nvidia-h200-141gb", "H200"),
    ("nvidia-tesla-t4", "T4"),
    ("A10G", "A10G"),
    # people
    ("rtx4070 ti", "RTX 4070 Ti"),
    ("3080Ti", "RTX 3080 Ti"),
    ("M2ultra_192GB", "Apple M2 Ultra"),
    ("RTX 3060 12GB", "RTX 3060"),
    ("A100 40GB", "A100 40GB"),
    ("A100", "A100 80GB"),
]


@pytest.mark.parametrize(("name", "row"), DRIVER_NAMES)
def test_a_device_is_found_by_the_name_it_goes_by(name: str, row: str) -> None:
    fact = lookup_gpu(name)
    assert fact is not None
    assert fact.name == row


@pytest.mark.parametrize(
    "name", ["", "RTX A100", "GTX 9999", "RTX 4090 1TB", "Voodoo 2", "RTX 3050 6GB Laptop GPU"]
)
def test_a_name_nobody_sells_means_no_device(name: str) -> None:
    assert lookup_gpu(name) is None


def test_every_row_is_found_by_its_own_name() -> None:
    for fact in gpus():
        found = lookup_gpu(fact.name)
        assert found is not None
        assert (found.bandwidth_bytes_per_s, found.flops) == (
            fact.bandwidth_bytes_per_s,
            fact.flops,
        ), fact.name


def test_the_catalogue_is_wide_and_every_row_names_its_source() -> None:
    assert len(gpus() + cpus()) >= 120
    names = [fact.name for fact in gpus() + cpus()]
    assert len(set(names)) == len(names)
    for fact in gpus() + cpus():
        assert fact.source
        assert fact.bandwidth_bytes_per_s >= 10**9
        if fact.kind != "cpu":
            assert fact.memory_bytes > 0
            assert fact.shader_flops <= fact.flops


def test_a_machine_described_in_words_is_its_accelerator() -> None:
    found = find_in("Intel 265K Custom PC (Nvidia RTX 4090)")
    assert found is not None
    assert found.name == "RTX 4090"
    studio = find_in("Mac Studio (M3 Ultra 512GB)")
    assert studio is not None
    assert studio.name == "Apple M3 Ultra"


def test_processors_are_found_by_what_the_kernel_calls_them() -> None:
    found = lookup_cpu("AMD Ryzen 9 7950X 16-Core Processor")
    assert found is not None
    assert found.name == "Ryzen 9 7950X"
    assert lookup_cpu("Vortex86DX") is None


def test_an_unknown_device_takes_the_class_its_maker_hints_at() -> None:
    chip = guessed_chip("NVIDIA GeForce RTX 7090")
    assert chip is not None
    assert chip.device_class == "gddr"
    assert not chip.known
    assert guessed_chip("abacus") is None


def test_classes_follow_memory_and_maker() -> None:
    for name, device_class in (
        ("RTX 4090", "gddr"),
        ("H100", "hbm"),
        ("MI300X", "instinct"),
        ("Apple M4", "apple"),
        ("RX 7900 XTX", "radeon"),
        ("GB10", "unified"),
        ("Radeon 780M", "igpu"),
        ("Arc B580", "arc"),
    ):
        fact = lookup_gpu(name)
        assert fact is not None
        assert class_of_facts(fact) == device_class
        assert chip_of_facts(fact).known


@pytest.mark.parametrize(
    "name",
    [
        "Orange Pi 5",
        "Orange Pi 5 Plus 16GB",
        "Banana Pi 5",
        "Rock Pi 4",
        "Khadas Pi 5",
        "Radeon RTX 4090",
        "AMD B580",
        "NVIDIA MI300X",
        "Radeon H100",
        "AMD M4 Max",
        "AMD Gaudi 3",
        "GeForce RX 7900 XTX",
        "Intel EPYC 9654",
        "AMD Core i9-13900K",
        "Intel Core Ryzen 9 7950X",
    ],
)
def test_a_word_of_another_maker_makes_it_another_device(name: str) -> None:
    assert lookup_gpu(name) is None
    assert lookup_cpu(name) is None


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0", "Raspberry Pi 5"),
        ("raspberrypi 5", "Raspberry Pi 5"),
        ("rpi 4", "Raspberry Pi 4"),
        ("Pi 5", "Raspberry Pi 5"),
        ("AMD Ryzen 7 8745H w/ Radeon 780M Graphics", "Ryzen 7 8745H"),
        ("Intel(R) Xeon(R) Platinum 8480+", "Xeon Platinum 8480+"),
    ],
)
def test_a_processor_of_its_own_maker_is_found(name: str, row: str) -> None:
    found = lookup_cpu(name)
    assert found is not None
    assert found.name == row


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("Intel Gaudi 3", "Gaudi 3"),
        ("Intel Arc B580", "Arc B580"),
        ("NVIDIA DGX Spark", "GB10"),
        ("Google TPU v5e", "TPU v5e"),
        ("AMD Instinct MI300X OAM", "MI300X"),
        ("Jetson Orin AGX 64GB", "Jetson AGX Orin"),
    ],
)
def test_an_accelerator_of_its_own_maker_is_found(name: str, row: str) -> None:
    found = lookup_gpu(name)
    assert found is not None
    assert found.name == row


def test_a_board_named_after_a_known_one_is_a_processor_of_its_class() -> None:
    found = describe("Orange Pi 5 16GB")
    assert (found.name, found.kind, found.facts) == ("Orange Pi 5", "cpu", None)
    assert found.bandwidth_basis == "prior"


def test_a_machine_with_parts_of_two_makers_is_still_its_accelerator() -> None:
    found = find_in("Intel 265K Custom PC (Nvidia RTX 4090)")
    assert found is not None
    assert found.name == "RTX 4090"
