"""Hardware as people write it is read as they mean it: how many, of what, with how much memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.hardware.described import (
    DRIVER_RESERVE_BYTES,
    describe,
    is_stranger,
    ram_bandwidth,
    read_text,
    usable_bytes,
)
from mathcore.hardware.facts import cpus, families, gpus
from mathcore.hardware.nearby import did_you_mean, distance
from mathcore.speed.chip import class_of_facts
from mathcore.units import GIB

# What is written: how many, the row, GiB each, GB/s.
SPELLINGS = [
    ("RTX 4090", 1, "RTX 4090", 24, 1008),
    ("rtx4090", 1, "RTX 4090", 24, 1008),
    ("4090", 1, "RTX 4090", 24, 1008),
    ("RTX 4090 24GB", 1, "RTX 4090", 24, 1008),
    ("RTX 4090 24 GB", 1, "RTX 4090", 24, 1008),
    ("RTX 4090 24G", 1, "RTX 4090", 24, 1008),
    ("RTX 4090 48GB", 1, "RTX 4090", 48, 1008),
    ("RTX 4090 laptop", 1, "RTX 4090 Laptop", 16, 576),
    ("RTX 4090 Mobile", 1, "RTX 4090 Laptop", 16, 576),
    ("2x3090", 2, "RTX 3090", 24, 936),
    ("2 x RTX 5090", 2, "RTX 5090", 32, 1792),
    ("RTX 4090 x2", 2, "RTX 4090", 24, 1008),
    ("4090x2", 2, "RTX 4090", 24, 1008),
    ("2*4090", 2, "RTX 4090", 24, 1008),
    ("8×H100", 8, "H100", 80, 3350),
    ("dual RTX 3090", 2, "RTX 3090", 24, 936),
    ("H100 80GB HBM3 x8", 8, "H100", 80, 3350),
    ("8 x A100 80GB", 8, "A100 80GB", 80, 1935),
    ("3090ti", 1, "RTX 3090 Ti", 24, 1008),
    ("A100", 1, "A100 80GB", 80, 1935),
    ("A100 40GB", 1, "A100 40GB", 40, 1555),
    ("A100-SXM4-40GB", 1, "A100 SXM 40GB", 40, 1555),
    ("NVIDIA A100-SXM4-80GB", 1, "A100 SXM 80GB", 80, 2039),
    ("h100 pcie 80gb", 1, "H100 PCIe", 80, 2000),
    ("H200 144GB", 1, "H200", 141, 4800),  # the maker's rounding
    ("B200 192GB", 1, "B200", 180, 7700),
    ("a6000", 1, "RTX A6000", 48, 768),
    ("6000 ada", 1, "RTX 6000 Ada", 48, 960),
    ("RTX 3060", 1, "RTX 3060", 12, 360),
    ("RTX 3060 8GB", 1, "RTX 3060 8GB", 8, 240),
    ("RTX 3080 12GB", 1, "RTX 3080 12GB", 12, 912),
    ("RTX 5060 Ti 8GB", 1, "RTX 5060 Ti", 8, 448),
    ("RTX 5060 Ti", 1, "RTX 5060 Ti", 16, 448),
    ("RTX 2060 12GB", 1, "RTX 2060 12GB", 12, 336),
    ("V100 32GB", 1, "V100", 32, 900),
    ("P40", 1, "Tesla P40", 24, 346),
    ("7900 XTX", 1, "RX 7900 XTX", 24, 960),
    ("rx7900xtx", 1, "RX 7900 XTX", 24, 960),
    ("RX580", 1, "RX 580", 8, 256),
    ("radeon vii", 1, "Radeon VII", 16, 1024),
    ("MI300", 1, "MI300X", 192, 5300),
    ("W7900", 1, "Radeon PRO W7900", 48, 864),
    ("Arc A770 8GB", 1, "Arc A770 8GB", 8, 512),
    ("B580", 1, "Arc B580", 12, 456),
    ("gb10", 1, "GB10", 128, 273),
    ("DGX Spark", 1, "GB10", 128, 273),
    ("Strix Halo 128GB", 1, "Ryzen AI MAX+ 395", 128, 256),
    ("Strix Halo 64GB", 1, "Ryzen AI MAX+ 395", 64, 256),
    ("Ryzen AI Max+ 395", 1, "Ryzen AI MAX+ 395", 128, 256),
    ("Framework Desktop", 1, "Ryzen AI MAX+ 395", 128, 256),
    ("Strix Point", 1, "Radeon 890M", 64, 120),
    ("M4 16GB", 1, "Apple M4", 16, 120),
    ("M4 Max 64GB", 1, "Apple M4 Max", 64, 546),
    ("M4 Max 36GB", 1, "Apple M4 Max 32-core", 36, 410),
    ("MacBook Pro M3 Max 36GB", 1, "Apple M3 Max 30-core", 36, 300),
    ("MacBook Pro M3", 1, "Apple M3", 24, 100),
    ("M3 Ultra 96GB", 1, "Apple M3 Ultra", 96, 819),
    ("Mac mini M4 Pro 24GB", 1, "Apple M4 Pro", 24, 273),
    ("Mac Studio M2 Ultra 192", 1, "Apple M2 Ultra", 192, 800),
    ("M2ultra_192GB", 1, "Apple M2 Ultra", 192, 800),
    ("EPYC 9654 768GB", 1, "EPYC 9654", 768, 460.8),
    ("EPYC 9654 1.5TB", 1, "EPYC 9654", 1536, 460.8),
    ("Ryzen 9950X 128GB", 1, "Ryzen 9 9950X", 128, 89.6),
    ("Graviton 4 768GB", 1, "Graviton4", 768, 537.6),
    ("Core Ultra 7 265K with 64GB RAM", 1, "Core Ultra 7 265K", 64, 102.4),
]


@pytest.mark.parametrize(("text", "count", "row", "gib", "gb_s"), SPELLINGS)
def test_a_spelling_means_this_row_and_this_size(
    text: str, count: int, row: str, gib: int, gb_s: float
) -> None:
    what = describe(text)
    assert (what.count, what.name, what.memory_bytes) == (count, row, gib * GIB)
    assert what.bandwidth_bytes_per_s == round(gb_s * 10**9)
    assert what.bandwidth_basis == "catalogue"


# Words that no row has: class, GiB, GB/s of the class.
CLASSES = [
    ("CPU 512GB", "cpu", 512, 51),
    ("Xeon w9-3595X 512GB", "cpu", 512, 205),
    ("Threadripper 7960X 256GB", "cpu", 256, 166),
    ("Ampere Altra 256GB", "cpu", 256, 205),
    ("Core i9-12900K 64GB", "cpu", 64, 77),
    ("Mac Studio 192GB", "apple", 192, 273),
    ("M6 Max 64GB", "apple", 64, 273),
    ("RTX 7090 32GB", "gpu", 32, 448),
    ("Instinct MI500 288GB", "gpu", 288, 3277),
    ("banana 24GiB", "gpu", 24, 500),
]


# A processor with its memory: name, GiB, GB/s = million transfers x 8 bytes x channels.
MODULES = [
    ("Ryzen AI 9 HX PRO 370 DDR5-5600 x2 64GB", "Ryzen AI 9 HX 370", 64, 89.6),
    ("Ryzen AI 9 HX PRO 370, 2x32GB DDR5-5600", "Ryzen AI 9 HX 370", 64, 89.6),
    ("Ryzen 7 9700X 64GB DDR5-6000", "Ryzen 7 9700X", 64, 96),
    ("Ryzen 9 9950X 96GB DDR5-6400", "Ryzen 9 9950X", 96, 102.4),
    ("Core i5-12400 2x DDR4-3200 32GB", "Core i5-12400", 32, 51.2),
    ("Core i5-12400 1x16GB DDR4-2666", "Core i5-12400", 16, 21.328),
    ("Xeon E5-2690 v4 128GB DDR4-2400 quad channel", "Xeon E5-2690 v4", 128, 76.8),
    ("EPYC 9354 12x DDR5-4800 384GB", "EPYC 9354", 384, 460.8),
    ("EPYC 7763 8x64GB DDR4-2933", "EPYC 7763", 512, 187.712),
    ("Threadripper PRO 7995WX 8-channel DDR5-5600 1TB", "Threadripper PRO 7995WX", 1024, 358.4),
    ("Ryzen 7 8745HS 32GB LPDDR5X-7500", "Ryzen 7 8745HS", 32, 120),
    ("Snapdragon X Elite 32GB LPDDR5X-8448 128-bit", "Snapdragon X Elite", 32, 135.168),
    ("AMD FX-8350 32GB DDR3-1866", "AMD FX-8350", 32, 29.856),
    ("DDR5-5600 x2 64GB", "CPU", 64, 89.6),
    ("my old box 16GB DDR3-1600 x2", "CPU my old box", 16, 25.6),
]


@pytest.mark.parametrize(("text", "name", "gib", "gb_s"), MODULES)
def test_a_processor_described_by_its_memory_is_no_graphics_card(
    text: str, name: str, gib: int, gb_s: float
) -> None:
    what = describe(text)
    assert (what.kind, what.name, what.count) == ("cpu", name, 1)
    assert what.memory_bytes == gib * GIB
    assert what.bandwidth_bytes_per_s == round(gb_s * 10**9)
    assert not is_stranger(what)


def test_memory_beside_a_card_does_not_make_it_a_processor() -> None:
    what = describe("RTX 4090 24GB DDR5-5600 x2")
    assert (what.name, what.bandwidth_bytes_per_s) == ("RTX 4090", 1008 * 10**9)


@pytest.mark.parametrize(
    "text", ["Ryzen 5 5600G", "Athlon 3000G", "Core i7-12700T", "Ryzen 7 8700G", "Xeon E-2176G"]
)
def test_the_letter_that_ends_a_processor_s_number_is_no_unit(text: str) -> None:
    what = describe(f"{text} 32GB")
    assert (what.name, what.kind, what.memory_bytes) == (text, "cpu", 32 * GIB)
    assert describe("EPYC 9654 1536G").memory_bytes == 1536 * GIB


@pytest.mark.parametrize("word", ["Celeron N4020", "Pentium G4560", "Phenom II", "Kunpeng 920"])
def test_a_processor_of_any_family_is_no_graphics_card(word: str) -> None:
    assert describe(f"{word} 16GB").kind == "cpu"


@pytest.mark.parametrize(("text", "kind", "gib", "gb_s"), CLASSES)
def test_a_name_nobody_catalogued_has_the_class_its_words_say(
    text: str, kind: str, gib: int, gb_s: int
) -> None:
    what = describe(text)
    assert what.facts is None
    assert (what.kind, what.memory_bytes) == (kind, gib * GIB)
    assert (what.bandwidth_bytes_per_s, what.bandwidth_basis) == (gb_s * 10**9, "prior")


def test_a_driver_leaves_what_it_was_seen_to_leave() -> None:
    """24 GiB and 80 GiB cards as drivers report them; half a GiB less where nobody looked."""
    assert describe("RTX 4090").free_bytes == 25_250_627_584
    assert describe("A100 80GB").free_bytes == 85_093_777_408
    assert describe("A100 40GB").free_bytes == 40 * GIB - DRIVER_RESERVE_BYTES
    assert describe("RTX 4090 48GB").free_bytes == 48 * GIB - DRIVER_RESERVE_BYTES


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("M1 8GB macOS 15", 5461),  # 2/3 of 8,192
        ("M3 16GB macOS 14", 10922),
        ("M1 Max 32GB macOS Sonoma", 21845),
        ("M3 Max 48GB macOS 15.3", 36864),  # 3/4 of 49,152
        ("M1 Max 64GB, macOS Sequoia", 49152),
        ("M2 Ultra 192GB macOS 13", 147456),
    ],
)
def test_macos_leaves_the_gpu_what_metal_reported(text: str, mib: int) -> None:
    what = describe(text)
    assert (what.free_bytes // 2**20, what.free_low_bytes) == (mib, 0)
    assert any("iogpu.wired_limit_mb" in note for note in what.notes)


# Text, GiB at worst and at best, as machines reported them: M1 8 GB 5,726.63 MB; M1 Max 32 GB
# 26,800.60 MB, M5 Max 128 GB 107.52 GiB, a 36 GB one 28.08 GiB on macOS 26; an idle GB10 113.07 of
# 119.68 GiB; a Ryzen AI Max+ 395 62.53 GiB of GTT, 111.89 GiB with 96 GiB set aside for it.
REACHES = [
    ("M1 8GB", 5.33, 5.33),
    ("M3 16GB", 10.67, 11.84),
    ("M3 16GB macOS 26", 11.84, 11.84),
    ("M1 Max 32GB macOS Tahoe", 24.96, 24.96),
    ("M4 Max 36GB macOS 26.1", 28.08, 28.08),
    ("M3 Max 48GB", 36.0, 37.92),
    ("M1 Max 64GB", 48.0, 51.84),
    ("M5 Max 128GB", 96.0, 107.52),
    ("M5 Max 128GB, macOS 26", 107.52, 107.52),
    ("M5 Max 128GB iogpu.wired_limit_mb=114688", 112.0, 112.0),
    ("M2 Ultra 192GB", 144.0, 163.2),
    ("M3 Ultra 256GB macOS 26", 222.72, 222.72),
    ("Ryzen AI Max+ 395 128GB", 62.46, 111.87),
    ("Ryzen AI Max+ 395 128GB (96GB carve-out)", 96.0, 112.0),
    ("Ryzen AI Max+ 395 128GB ttm.pages_limit=25165824", 96.0, 96.0),
    ("Strix Halo 64GB", 31.23, 55.94),
    ("Radeon 780M 32GB amdgpu.gttsize=16384", 16.0, 16.0),
    ("Arc 140V 32GB", 15.36, 18.24),
    ("DGX Spark", 113.02, 119.68),
    ("Jetson Orin Nano", 5.2, 7.44),
    ("A100 80GB MIG 3g.40gb", 38.0, 38.0),
    ("A100 40GB 1g.5gb", 4.75, 4.75),
    ("H100 MIG 1g.10gb", 9.5, 9.5),
    ("A100-10C", 9.5, 9.5),
    ("GRID T4-8Q", 7.0, 7.0),
    ("A10G", 22.0, 22.0),
    ("T4", 14.5, 14.5),
    ("L40S", 44.5, 44.5),
    ("RTX A6000 ECC", 44.5, 44.5),
    ("RTX 6000 Ada with ECC on", 44.5, 44.5),
    ("L40S no ECC", 47.5, 47.5),
    ("RTX 4090 on Windows 11", 22.34, 23.52),
    ("RTX 4090 WSL2 64GB RAM", 22.34, 23.52),
]


@pytest.mark.parametrize(("text", "low", "high"), REACHES)
def test_what_is_left_of_a_memory_has_the_range_that_was_seen(
    text: str, low: float, high: float
) -> None:
    what = describe(text)
    worst = (what.free_low_bytes or what.free_bytes) / GIB
    assert (round(worst, 2), round(what.free_bytes / GIB, 2)) == (low, high)
    assert what.facts is not None


def test_a_part_of_a_card_has_its_part_of_the_bandwidth_and_the_compute() -> None:
    whole, part = describe("A100 80GB"), describe("2x A100 80GB MIG 2g.20gb")
    assert (part.count, part.memory_bytes) == (2, 20 * GIB)
    assert part.bandwidth_bytes_per_s == whole.bandwidth_bytes_per_s // 4
    assert part.flops == whole.flops * 2 // 7
    shared = describe("A100-20C")
    assert shared.bandwidth_bytes_per_s == describe("A100").bandwidth_bytes_per_s
    assert "a vGPU shares" in shared.notes[-1]


def test_wsl_has_half_of_the_ram_of_its_windows() -> None:
    assert describe("RTX 4090 WSL2 64GB RAM").ram_bytes == 32 * GIB


def test_a_range_is_said_with_what_decides() -> None:
    assert describe("M5 Max 128GB").notes == (
        "macOS lets the GPU use 96.0 GiB to 107.5 GiB of 128.0 GiB, more since macOS 26; "
        "sysctl iogpu.wired_limit_mb raises it",
    )
    assert describe("Strix Halo 128GB").notes == (
        "the GPU of the Ryzen AI MAX+ 395 may use 62.5 GiB to 111.9 GiB of 128.0 GiB, "
        "by its carve-out and its driver's limit",
    )


def test_a_size_nobody_sells_counts_and_is_said() -> None:
    assert describe("RTX 4090 48GB").notes == (
        "48.0 GiB is not a size the RTX 4090 is sold with (24 GiB)",
    )
    assert describe("RTX 4090 24GB").notes == ()


def test_a_size_stated_beside_the_name_goes_before_one_inside() -> None:
    assert describe("RTX 4090 24GB", 48 * GIB).memory_bytes == 48 * GIB


def test_sockets_share_one_memory_and_are_planned_as_one() -> None:
    what = describe("2x EPYC 9654 1.5TB")
    assert (what.count, what.memory_bytes) == (1, 1536 * GIB)
    assert what.notes == ("2 sockets: planned at the memory bandwidth of one",)


def test_ram_told_apart_is_the_host_s() -> None:
    what = describe("RTX 4090 128GB RAM")
    assert (what.memory_bytes, what.ram_bytes) == (24 * GIB, 128 * GIB)
    superchip = describe("NVIDIA GH200 480GB")
    assert (superchip.memory_bytes, superchip.ram_bytes) == (96 * GIB, 480 * GIB)


def test_a_chip_that_shares_its_memory_has_no_ram_beside_it() -> None:
    sharing = [describe(text).shares_ram for text in ("Strix Halo", "M4", "EPYC 9654", "RTX 4090")]
    assert sharing == [True, True, True, False]
    facts = describe("Strix Halo 128GB").facts
    assert facts is not None
    assert class_of_facts(facts) == "unified"


def test_without_a_size_a_processor_or_a_stranger_has_none() -> None:
    assert describe("EPYC 9654").memory_bytes == 0
    assert describe("Frobnicator 9000").memory_bytes == 0


def test_programs_reach_78_percent_of_a_processor_s_nominal_bandwidth() -> None:
    assert ram_bandwidth("EPYC 9654") == 359_424_000_000  # 0.78 x 460.8e9
    assert ram_bandwidth("CPU") == 0


def test_every_row_describes_itself() -> None:
    for fact in gpus():
        what = describe(fact.name)
        assert what.facts is not None
        assert what.bandwidth_bytes_per_s == fact.bandwidth_bytes_per_s, fact.name
        assert what.memory_bytes in [size * GIB for size in fact.memory_options], fact.name


def test_a_family_s_word_is_one_word_of_the_middle_of_its_class() -> None:
    words = [family.word for family in families()]
    assert len(words) == len(set(words))
    for family in families():
        assert family.word.isalnum()
        assert 10**10 <= family.bandwidth_bytes_per_s <= 4 * 10**12


@given(st.text(max_size=150), st.integers(0, 2**50))
def test_no_text_breaks_the_reading(text: str, memory: int) -> None:
    what = describe(text, memory)
    assert what.count >= 0
    assert 0 <= what.free_bytes <= what.memory_bytes
    assert what.bandwidth_bytes_per_s > 0
    if memory and what.memory_bytes != memory:  # a maker's rounding, or RAM in a driver's name
        assert what.facts is not None


@given(st.integers(1, 64), st.sampled_from(["RTX 4090", "M4 Max", "7900 XTX", "A100 40GB"]))
def test_a_count_before_and_behind_is_the_same(count: int, name: str) -> None:
    before, behind = describe(f"{count}x {name}"), describe(f"{name} x{count}")
    assert before == behind
    assert before.count == count


@given(st.integers(0, 2**50))
def test_what_is_left_is_never_more_than_there_is(memory: int) -> None:
    for fact in (None, *gpus()[::20]):
        assert 0 <= usable_bytes(memory, fact) <= max(memory, 0)


def test_what_is_no_size_stays_in_the_name() -> None:
    assert read_text("RTX 4090 Ti Super").memory_bytes == 0
    assert read_text("GTX 1050 Ti").name == "GTX 1050 Ti"
    assert read_text("7900 XTX").count == 1


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("RTX 4900", "RTX 4090"),
        ("RTX 409", "RTX 4090"),
        ("geforce 3009", "RTX 3090"),
        ("H1000", "H100"),
        ("EPYC 9645", "EPYC 9654"),
        ("M6 Max", "Apple M5 Max"),
        ("mi300y", "MI300X"),
        ("RTX 6000", "RTX 6000 Ada"),
        ("A100 pcei", "A100 PCIe 40GB"),
        ("rtx4o90", "RTX 4090"),
    ],
)
def test_a_mistyped_name_is_told_what_it_may_mean(typed: str, meant: str) -> None:
    assert did_you_mean(typed)[0] == meant


@pytest.mark.parametrize("typed", ["", "banana", "frobnicator 9000", "5", "!!"])
def test_what_is_near_nothing_is_told_nothing(typed: str) -> None:
    assert did_you_mean(typed) == ()


def test_a_suggestion_is_a_known_name_and_there_are_three_at_most() -> None:
    names = {fact.name for fact in gpus() + cpus()}
    for typed in ("M9", "RTX 4050", "MI30", "7900 xxt"):
        found = did_you_mean(typed)
        assert 1 <= len(found) <= 3
        assert set(found) <= names


def test_a_swap_of_neighbours_is_one_change() -> None:
    assert distance("4900", "4090", 2) == 1
    assert distance("4090", "4090", 2) == 0
    assert distance("4090", "409", 2) == 1
    assert distance("h100", "b200", 1) == 2
    assert distance("abcdef", "a", 2) == 3


def test_a_processor_s_system_keeps_some_of_its_ram() -> None:
    """1 GiB without a screen, 4 GiB with one, never more than half."""
    big, small = describe("EPYC 9654 768GB"), describe("CPU 4GB")
    assert (big.free_bytes, big.free_low_bytes) == (767 * GIB, 764 * GIB)
    assert (small.free_bytes, small.free_low_bytes) == (3 * GIB, 2 * GIB)
