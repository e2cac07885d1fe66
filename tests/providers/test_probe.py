"""The probes against real libraries: a stand-in driver, a tree of sysfs files, this machine."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.cores import threads_for
from providers.probe import Gpus, machine, nvidia, probe_machine
from providers.probe.amd import probe_amd
from providers.probe.apple import apple_gpu, probe_apple, sysctl, working_set
from providers.probe.compute import compute_of, measure_compute
from providers.probe.engines import probe_engines
from providers.probe.host import (
    cpu_flags,
    cpu_model,
    estimate_flops,
    measure_ram_bandwidth,
)
from providers.telemetry.guard import Guard
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
SHIM = ROOT / "tests/support/nvml_shim.c"
GIB = 1024**3
ASK = """
import dataclasses, json
from providers.probe.nvidia import probe_nvidia
print(json.dumps(dataclasses.asdict(probe_nvidia())))
"""
pytestmark_gcc = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None, reason="needs Linux and gcc"
)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("driver")
    target = str(folder / "libnvidia-ml.so.1")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", target, str(SHIM)], check=True
    )
    return folder


def ask_nvidia(library: Path, boards: Path) -> dict[str, object]:
    """What the probe says in a process that finds this driver."""
    env = {**os.environ, "LD_LIBRARY_PATH": str(library), "NVML_BOARDS": str(boards)}
    said = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE
    )
    answer = json.loads(said.stdout)
    assert isinstance(answer, dict)
    return answer


@pytestmark_gcc
def test_two_boards_are_read_from_the_driver(driver: Path, tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    boards.write_text(
        f"NVIDIA GeForce RTX 4090;GPU-1;{24 * GIB};{3 * GIB};450000;7;0\n"
        f"NVIDIA L4;GPU-2;{22 * GIB};0;72000;0;0\n"
    )
    answer = ask_nvidia(driver, boards)
    assert answer["reason"] == ""
    found = answer["found"]
    assert isinstance(found, list)
    assert found[0] == {
        "index": 0,
        "vendor": "nvidia",
        "name": "NVIDIA GeForce RTX 4090",
        "uuid": "GPU-1",
        "memory_bytes": 24 * GIB,
        "used_bytes": 3 * GIB,
        "free_bytes": 21 * GIB,
        "unified": False,
        "watts_limit": 450,
        "utilisation_percent": 7,
        "compute_capability": "8.9",
    }
    assert [gpu["name"] for gpu in found] == ["NVIDIA GeForce RTX 4090", "NVIDIA L4"]


@pytestmark_gcc
def test_a_unified_board_has_the_systems_memory(driver: Path, tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    boards.write_text("NVIDIA GB10;GPU-1;0;0;140000;0;3\n")
    found = ask_nvidia(driver, boards)["found"]
    assert isinstance(found, list)
    (board,) = found
    assert board["unified"] is True
    assert board["memory_bytes"] == psutil.virtual_memory().total


@pytestmark_gcc
def test_a_lost_board_is_named_and_the_others_stay(driver: Path, tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    boards.write_text(f"A;GPU-1;{GIB};0;1000;0;15\nB;GPU-2;{GIB};0;1000;0;0\n")
    answer = ask_nvidia(driver, boards)
    assert isinstance(answer["found"], list)
    assert [gpu["name"] for gpu in answer["found"]] == ["B"]
    assert "GPU 0" in str(answer["reason"])


@pytestmark_gcc
def test_a_driver_that_is_not_loaded_is_a_reason(driver: Path, tmp_path: Path) -> None:
    answer = ask_nvidia(driver, tmp_path / "absent")
    assert answer["found"] == []
    assert "Driver Not Loaded" in str(answer["reason"])


@pytestmark_gcc
def test_a_library_that_is_no_driver_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"not a library")
    answer = ask_nvidia(tmp_path, tmp_path / "absent")
    assert answer["found"] == []
    assert "no NVIDIA driver" in str(answer["reason"])


def test_an_amd_card_is_read_from_the_kernels_files(tmp_path: Path) -> None:
    board = tmp_path / "card1/device"
    (board / "hwmon/hwmon3").mkdir(parents=True)
    (tmp_path / "card1-DP-1").mkdir()
    for name, text in {
        "vendor": "0x1002",
        "device": "0x744c",
        "product_name": "Radeon RX 7900 XTX",
        "mem_info_vram_total": str(24 * GIB),
        "mem_info_vram_used": str(GIB),
        "gpu_busy_percent": "12",
        "hwmon/hwmon3/power1_cap": "327000000",
    }.items():
        (board / name).write_text(text + "\n")
    (gpu,) = probe_amd(tmp_path).found
    assert gpu.name == "Radeon RX 7900 XTX"
    assert (gpu.memory_bytes, gpu.used_bytes, gpu.free_bytes) == (24 * GIB, GIB, 23 * GIB)
    assert (gpu.watts_limit, gpu.utilisation_percent) == (327, 12)


def test_a_chip_that_shares_ram_has_what_was_set_aside_and_what_its_driver_may_take(
    tmp_path: Path,
) -> None:
    """As a Ryzen AI Max+ 395 with ttm.pages_limit=25165824 reports itself."""
    board = tmp_path / "card0/device"
    board.mkdir(parents=True)
    for name, text in {
        "vendor": "0x1002",
        "device": "0x1586",
        "mem_info_vram_total": str(4 * GIB),
        "mem_info_vram_used": str(GIB),
        "mem_info_gtt_total": str(96 * GIB),
        "mem_info_gtt_used": str(2 * GIB),
    }.items():
        (board / name).write_text(text + "\n")
    (gpu,) = probe_amd(tmp_path).found
    assert (gpu.name, gpu.unified) == ("Ryzen AI MAX+ 395", True)
    assert (gpu.memory_bytes, gpu.free_bytes) == (100 * GIB, 97 * GIB)


MAC = {"machdep.cpu.brand_string": "Apple M5 Max", "kern.osproductversion": "26.1"}


@pytest.mark.parametrize(
    ("metal", "kernel", "available", "free"),
    [
        (115_448_720_916, MAC, 120, 115_448_720_916),  # Metal's own word
        (0, {**MAC, "iogpu.wired_limit_mb": "114688"}, 120, 112 * GIB),  # a raised limit
        (0, {**MAC, "iogpu.wired_limit_mb": "0"}, 120, 128 * GIB * 84 // 100),  # macOS 26's rule
        (0, {"machdep.cpu.brand_string": "Apple M5 Max"}, 120, 96 * GIB),  # of any macOS
        (115_448_720_916, MAC, 50, 50 * GIB),  # others use the rest
    ],
)
def test_a_mac_s_gpu_has_what_metal_says_else_what_the_kernel_was_told(
    metal: int, kernel: dict[str, str], available: int, free: int
) -> None:
    gpu = apple_gpu(128 * GIB, available * GIB, lambda: metal, lambda key: kernel.get(key, ""))
    assert (gpu.name, gpu.unified, gpu.memory_bytes) == ("Apple M5 Max", True, 128 * GIB)
    assert gpu.free_bytes == free


class Divided:
    """A driver's answers for one board in two MIG instances of which one place is empty."""

    NVML_DEVICE_MIG_ENABLE = 1

    def nvmlDeviceGetMigMode(self, handle: object) -> tuple[int, int]:  # noqa: N802
        return (1, 1)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: object) -> int:  # noqa: N802
        return 3

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: object, place: int) -> str:  # noqa: N802
        if place == 1:
            raise nvidia.TROUBLE[0](6)  # not found
        return f"part {place}"


def test_a_board_that_is_divided_is_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "pynvml", Divided())
    monkeypatch.setattr(nvidia, "_board", lambda index, handle: (index, handle))
    assert nvidia._devices(0, "board") == [(0, "part 0"), (0, "part 2")]


def test_no_mac_is_a_reason() -> None:
    if sys.platform != "darwin":
        assert probe_apple().reason == "no Apple GPU"
        assert working_set() == 0
        assert sysctl("hw.memsize") == ""


def test_no_amd_card_is_a_reason(tmp_path: Path) -> None:
    assert probe_amd(tmp_path / "nothing").reason == "no AMD card"


def test_a_driver_that_hangs_is_a_reason_and_is_not_asked_by_the_next_probe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, asked = threading.Event(), []

    def hangs() -> Gpus:
        asked.append(1)
        gate.wait(60)
        return Gpus(found=(), reason="late")

    monkeypatch.setattr(machine, "_NVIDIA", Guard(hangs, "nvidia"))
    monkeypatch.setattr(machine, "HUNG_S", 0.05)
    for _ in range(2):
        assert "has not answered" in probe_machine(measure=False).notes[0]
    assert len(asked) == 1
    gate.set()
    wait_until(lambda: probe_machine(measure=False).notes[0] == "late", "the late answer")


def test_engines_are_found_without_importing_them(tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    code = (
        "import sys; from providers.probe.engines import probe_engines as p;"
        f"print([e.program for e in p({str(tmp_path)!r})], 'xllamacpp' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    assert "llama-server" in said.stdout.decode()
    assert said.stdout.decode().strip().endswith("False")
    (found,) = [e for e in probe_engines(str(tmp_path)) if e.program == "llama-server"]
    assert (found.engine, found.where) == ("llama.cpp", str(program))


def test_flops_are_cores_times_clock_times_width() -> None:
    info = "model name\t: AMD  Ryzen 7 7700\nflags\t\t: fpu sse2 avx avx2\n"
    assert cpu_model(info) == "AMD Ryzen 7 7700"
    # 8 f32 lanes, 2 units, a fused multiply-add is 2 operations
    assert estimate_flops(8, 5_000_000_000, cpu_flags(info)) == 8 * 5_000_000_000 * 32


def test_a_memory_too_small_to_measure_is_not_measured() -> None:
    assert measure_ram_bandwidth(0.01, size=psutil.virtual_memory().total) == 0


def test_this_machine_is_one() -> None:
    machine = probe_machine()
    assert machine.host.ram_bytes == psutil.virtual_memory().total
    assert 0 < machine.host.ram_free_bytes <= machine.host.ram_bytes
    assert 1 <= machine.host.cores <= machine.host.threads
    assert machine.host.disk_free_bytes > 0
    assert machine.host.flops > 0
    # a copy on any machine of this century: above 0.1 GB/s, below 100 TB/s
    assert 10**8 < machine.host.ram_bandwidth_bytes_per_s < 10**14
    assert all(nic.name not in ("lo", "lo0") for nic in machine.host.nics)


def test_a_probe_without_measuring_says_so() -> None:
    assert probe_machine(measure=False).host.ram_bandwidth_bytes_per_s == 0


@given(st.integers(1, 256), st.floats(0, 1), st.floats(0, 1))
def test_an_engine_takes_the_idle_cores_and_never_none(
    cores: int, one: float, other: float
) -> None:
    calm, busy = min(one, other), max(one, other)
    assert 1 <= threads_for(cores, busy) <= threads_for(cores, calm) <= cores
    assert threads_for(cores, 0.0) == cores
    assert threads_for(cores, 1.0) == 1


@pytest.mark.parametrize(
    ("rates", "idle", "says"),
    [
        ([100, 98, 99], 4, ""),
        ([100, 40, 30], 4, "repeats differ by 60 %"),
        ([100, 99, 98], 1, "1 of 4 cores idle"),
        ([100, 50, 50], 1, "1 of 4 cores idle; repeats differ by 50 %"),
    ],
)
def test_the_best_repeat_counts_and_a_busy_machine_is_said(
    rates: list[int], idle: int, says: str
) -> None:
    found = compute_of(rates, idle, 4)
    assert (found.flops, found.busy) == (100, says)


def test_cores_that_multiply_are_measured() -> None:
    found = measure_compute(repeats=2, seconds=0.01)
    assert found.flops > 1_000_000
    assert 0 <= found.spread_percent < 100
