"""Samples of this machine: a stand-in driver under the real pynvml, sysfs trees, hanging calls."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from providers import durable
from providers.telemetry.amd import AmdCards
from providers.telemetry.apple import busy_percent
from providers.telemetry.attempts import NOBODY, Owners
from providers.telemetry.guard import HUNG_S, Guard, Hung, Slow
from providers.telemetry.host import HostCpu, Rapl
from providers.telemetry.machine import Sampler
from providers.telemetry.sample import AMD, CPU, NVIDIA, Look, Reading
from tests.providers.test_probe import GIB, ROOT, driver, pytestmark_gcc
from tests.support.waiting import wait_until

__all__ = ["driver"]
ASK = """
import json, msgspec, sys
from providers.probe.nvidia import NvidiaCards
now = [0.0]
cards = NvidiaCards(lambda pid: ("ollama", ("", 0)), lambda: now[0])
for line in sys.stdin:
    now[0] += float(line)
    print(json.dumps(msgspec.to_builtins(cards.look())), flush=True)
"""
# Stand-in for a board's line under load, values invented: 68 = slowed by heat and power limit.
BUSY = (
    f"NVIDIA GeForce RTX 4090;GPU-1;{24 * GIB};{12 * GIB};450000;97;0;"
    "310000;71;2520;10501;68;4242;9771050598"
)


class Driver:
    """NvidiaCards in a process that finds the stand-in driver; time passes as `look` is told."""

    def __init__(self, library: Path, boards: Path) -> None:
        self.boards = boards
        env = {**os.environ, "LD_LIBRARY_PATH": str(library), "NVML_BOARDS": str(boards)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", ASK],
            cwd=ROOT, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def look(self, *lines: str, seconds: float = 1) -> dict[str, object]:
        self.boards.write_text("\n".join((*lines, "")))
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        said = json.loads(self.process.stdout.readline())
        assert isinstance(said, dict)
        return said

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def cards(driver: Path, tmp_path: Path) -> object:
    made = Driver(driver, tmp_path / "boards")
    yield made
    made.close()


@pytestmark_gcc
def test_everything_a_driver_says_of_a_card_is_in_its_reading(cards: Driver) -> None:
    (reading,) = cards.look(BUSY)["found"]  # type: ignore[misc]
    assert reading == {
        "key": "nvidia:GPU-1",
        "name": "NVIDIA GeForce RTX 4090",
        "memory_bytes": 24 * GIB,
        "free_bytes": 12 * GIB,
        "processes": [
            {
                "pid": 4242,
                "program": "ollama",
                "memory_bytes": 9771050598,
                "job_id": "",
                "attempt": 0,
            }
        ],
        "utilisation_percent": 97,
        "power_mw": 310_000,
        "power_limit_mw": 450_000,
        "temperature_c": 71,
        "core_mhz": 2520,
        "memory_mhz": 10501,
        "slowed": ["thermal", "power_cap"],
        "shares_ram": False,
    }


@pytestmark_gcc
def test_what_an_old_driver_does_not_know_is_unknown_and_never_0(cards: Driver) -> None:
    (reading,) = cards.look(f"A;GPU-1;{GIB};0;1000;0;0")["found"]  # type: ignore[misc]
    assert reading["utilisation_percent"] == 0
    for name in ("power_mw", "temperature_c", "core_mhz", "memory_mhz", "slowed", "processes"):
        assert reading[name] is None


@pytestmark_gcc
@pytest.mark.parametrize(
    "line",
    [
        "NVIDIA GB10;GPU-1;0;0;140000;0;3",
        "Orin (nvgpu);GPU-1;0;0;60000;0;3",
        f"NVIDIA N1X;GPU-1;{8128 << 20};0;80000;0;0",
    ],
    ids=["GB10 says nothing", "Orin says nothing", "N1X says what was set aside"],
)
def test_a_chip_that_shares_the_system_s_ram_has_that_and_is_no_missing_gpu(
    cards: Driver, line: str
) -> None:
    (reading,) = cards.look(line)["found"]  # type: ignore[misc]
    assert reading["shares_ram"] is True
    assert reading["memory_bytes"] == psutil.virtual_memory().total
    assert 0 < reading["free_bytes"] < reading["memory_bytes"]


@pytestmark_gcc
def test_a_card_whose_used_memory_is_an_error_keeps_its_other_readings(cards: Driver) -> None:
    (reading,) = cards.look(f"A;GPU-1;{GIB};0;1000;5;999")["found"]  # type: ignore[misc]
    assert (reading["memory_bytes"], reading["free_bytes"]) == (None, None)
    assert reading["utilisation_percent"] == 5


@pytestmark_gcc
def test_a_card_that_is_lost_is_broken_until_the_driver_has_it_again(cards: Driver) -> None:
    well, lost = f"A;GPU-1;{GIB};0;1000;0;0", f"A;GPU-1;{GIB};0;1000;0;15"
    other = f"B;GPU-2;{GIB};0;1000;0;0"
    assert [r["key"] for r in cards.look(well, other)["found"]] == ["nvidia:GPU-1", "nvidia:GPU-2"]  # type: ignore[attr-defined]
    for seconds in (1, 1, 20):
        said = cards.look(lost, other, seconds=seconds)
        assert [one["key"] for one in said["found"]] == ["nvidia:GPU-2"]  # type: ignore[attr-defined]
        assert said["broken"]["nvidia:GPU-1"]["kind"] == "lost"  # type: ignore[index]
    assert len(cards.look(well, other, seconds=20)["found"]) == 2  # type: ignore[arg-type]


@pytestmark_gcc
def test_a_driver_of_another_version_than_its_library_is_a_mismatch(cards: Driver) -> None:
    said = cards.look("!18", BUSY)
    assert said["found"] == []
    assert said["fault"]["kind"] == "driver_mismatch"  # type: ignore[index]
    assert len(cards.look(BUSY, seconds=20)["found"]) == 1  # type: ignore[arg-type]


@pytestmark_gcc
def test_a_driver_that_is_installed_later_is_found_without_a_restart(cards: Driver) -> None:
    assert cards.look("!9")["fault"]["kind"] == "lost"  # type: ignore[index]
    assert len(cards.look(BUSY, seconds=20)["found"]) == 1  # type: ignore[arg-type]


def board(tmp_path: Path, **files: str) -> Path:
    """A sysfs tree of one AMD card, its values invented."""
    folder = tmp_path / "drm/card1/device"
    (folder / "hwmon/hwmon3").mkdir(parents=True)
    (folder / "drm/renderD128").mkdir(parents=True)
    basics = {"vendor": "0x1002", "device": "0x744c", "mem_info_vram_total": str(24 * GIB)}
    for name, text in (basics | files).items():
        (folder / name.replace("__", "/")).write_text(text + "\n")
    return tmp_path / "drm"


def someone(pid: int) -> tuple[str, tuple[str, int]]:
    return "python3", ("j-1", 1) if pid == 77 else NOBODY


def test_an_amd_card_s_files_are_its_reading(tmp_path: Path) -> None:
    root = board(
        tmp_path,
        mem_info_vram_used=str(4 * GIB),
        gpu_busy_percent="88",
        hwmon__hwmon3__power1_average="243000000",
    )
    sensors = root / "card1/device/hwmon/hwmon3"
    for name, text in {
        "power1_average": "243000000", "power1_cap": "327000000", "temp1_input": "64000",
        "freq1_input": "2482000000", "freq2_input": "1249000000",
    }.items():  # fmt: skip
        (sensors / name).write_text(text)
    kfd = tmp_path / "kfd"
    (kfd / "topology/nodes/1").mkdir(parents=True)
    (kfd / "topology/nodes/1/properties").write_text("simd_count 96\ndrm_render_minor 128\n")
    (kfd / "topology/nodes/1/gpu_id").write_text("51234")
    for pid, size in ((77, 3 * GIB), (78, GIB), (79, 0)):
        (kfd / f"proc/{pid}").mkdir(parents=True)
        (kfd / f"proc/{pid}/vram_51234").write_text(str(size))
    (reading,) = AmdCards(someone, root, kfd).look().found
    assert (reading.memory_bytes, reading.free_bytes) == (24 * GIB, 20 * GIB)
    assert (reading.power_mw, reading.power_limit_mw) == (243_000, 327_000)
    assert (reading.temperature_c, reading.core_mhz, reading.memory_mhz) == (64, 2482, 1249)
    assert reading.utilisation_percent == 88
    assert reading.processes is not None
    assert [(p.pid, p.job_id, p.memory_bytes) for p in reading.processes] == [
        (77, "j-1", 3 * GIB),
        (78, "", GIB),
    ]


def test_an_amd_chip_that_sleeps_or_shares_ram_says_what_it_can(tmp_path: Path) -> None:
    """A Ryzen AI Max: 4 GiB set aside of 128; its driver may take 110 GiB more."""
    root = board(
        tmp_path,
        device="0x1586",
        mem_info_vram_total="4294967296",
        mem_info_vram_used="0",
        mem_info_gtt_total="118111600640",
        mem_info_gtt_used=str(2 * GIB),
    )
    (reading,) = AmdCards(someone, root, tmp_path / "none").look().found
    assert reading.shares_ram is True
    assert reading.memory_bytes == 4294967296 + 118111600640
    assert reading.free_bytes == reading.memory_bytes - 2 * GIB
    assert (reading.utilisation_percent, reading.power_mw, reading.processes) == (None, None, None)


def test_an_amd_card_that_leaves_the_bus_is_found_no_more(tmp_path: Path) -> None:
    root = board(tmp_path)
    cards = AmdCards(someone, root, tmp_path / "none")
    assert len(cards.look().found) == 1
    (root / "card1/device").rename(tmp_path / "gone")
    assert cards.look().found == ()


def test_a_mac_s_gpu_is_as_busy_as_ioreg_says() -> None:
    """Stand-in for `ioreg -c IOAccelerator`, shape re-typed."""
    said = '"PerformanceStatistics" = {"Alloc system memory"=1,"Device Utilization %"=37,"x"=0}'
    assert busy_percent(said) == 37
    assert busy_percent("") is None


def test_watts_of_a_processor_are_its_counters_difference_also_when_they_go_round(
    tmp_path: Path,
) -> None:
    now = [0.0]
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (tmp_path / "intel-rapl:0:0").mkdir()  # its cores alone: part of the package
    (package / "max_energy_range_uj").write_text("1000000000")
    (package / "energy_uj").write_text("900000000")
    rapl = Rapl(tmp_path, lambda: now[0])
    assert rapl.power_mw() is None
    now[0], _ = 2.0, (package / "energy_uj").write_text("990000000")
    assert rapl.power_mw() == 45_000
    now[0], _ = 3.0, (package / "energy_uj").write_text("20000000")
    assert rapl.power_mw() == 30_000
    (package / "energy_uj").unlink()
    now[0] = 4.0
    assert rapl.power_mw() is None


def test_a_processor_without_counters_has_unknown_power(tmp_path: Path) -> None:
    (reading,) = HostCpu(Owners(tmp_path), tmp_path / "none").look().found
    assert reading.key == CPU
    assert reading.power_mw is None
    assert reading.memory_bytes
    assert reading.free_bytes


def test_processes_of_an_attempt_are_found_by_its_runner_s_file_and_others_are_foreign(
    tmp_path: Path,
) -> None:
    """A leader of a session, its child, and a grandchild whose parent is dead."""
    script = "sleep 600 & echo $!; (sleep 600 & echo $!); wait"
    leader = subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert leader.stdout is not None
        child, orphan = (int(leader.stdout.readline()) for _ in range(2))
        folder = tmp_path / "j-1/1"
        folder.mkdir(parents=True)
        durable.write_json(folder / "runner.json", {"pid": leader.pid, "child_pid": child})
        owners = Owners(tmp_path)
        assert owners.who(child)[1] == NOBODY
        owners.watch([("j-1", 1), ("../../etc", 1), ("j-2", 1)])
        assert owners.who(child) == ("sleep", ("j-1", 1))
        assert owners.who(orphan)[1] == ("j-1", 1)
        assert owners.who(os.getpid())[1] == NOBODY
        owners.watch([])
        assert owners.who(child)[1] == NOBODY
    finally:
        os.killpg(leader.pid, 9)
        leader.communicate()
    assert owners.who(leader.pid) == ("", NOBODY)


class Sick:
    """A source that answers, hangs, or breaks, as told; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.open = threading.Event()
        self.open.set()
        self.error: Exception | None = None
        self.keys = ["nvidia:a", "nvidia:b"]

    def look(self) -> Look:
        self.asked += 1
        assert self.open.wait(60)
        if self.error:
            raise self.error
        return Look(source=NVIDIA, found=tuple(Reading(key=key) for key in self.keys))


class Well:
    def look(self) -> Look:
        return Look(source=CPU, found=(Reading(key=CPU, free_bytes=1),))


class Quiet:
    def look(self) -> Look:
        return Look(source=AMD)


def sampler(tmp_path: Path, sick: Sick, clock: Callable[[], float]) -> Sampler:
    sources = {CPU: Well(), NVIDIA: sick, AMD: Quiet()}
    return Sampler(sources, Owners(tmp_path), clock, patience_s=0.05)


def test_a_driver_that_hangs_is_unresponsive_after_5_s_and_never_asked_twice(
    tmp_path: Path,
) -> None:
    now, sick = [100.0], Sick()
    machine = sampler(tmp_path, sick, lambda: now[0])
    assert [d.health.state for d in machine.sample().devices] == ["ok"] * 3
    sick.open.clear()
    now[0] += 1
    assert [d.health.state for d in machine.sample().devices] == ["ok"] * 3  # slow is not hung
    asked = sick.asked
    for _ in range(5):
        now[0] += HUNG_S
        states = {d.key: d.health.state for d in machine.sample().devices}
        assert states == {CPU: "ok", "nvidia:a": "unresponsive", "nvidia:b": "unresponsive"}
    assert sick.asked == asked
    sick.open.set()
    wait_until(
        lambda: all(d.health.state == "ok" for d in machine.sample().devices), "the driver's return"
    )


def test_a_driver_that_hangs_from_the_start_is_a_fault_and_delays_nobody(tmp_path: Path) -> None:
    now, sick = [100.0], Sick()
    sick.open.clear()
    machine = sampler(tmp_path, sick, lambda: now[0])
    first = machine.sample()
    assert [(d.key, d.reading is not None) for d in first.devices] == [(CPU, True)]
    now[0] += HUNG_S
    (fault,) = machine.sample().faults
    assert fault.kind == "unresponsive"
    sick.open.set()
    wait_until(lambda: len(machine.sample().devices) == 3, "the cards")


def test_a_card_keeps_its_number_when_the_one_before_it_is_lost(tmp_path: Path) -> None:
    sick = Sick()
    machine = sampler(tmp_path, sick, lambda: 0.0)
    machine.sample()
    sick.keys = ["nvidia:b"]
    devices = {d.key: d for d in machine.sample().devices}
    assert (devices["nvidia:a"].index, devices["nvidia:a"].health.state) == (0, "lost")
    assert (devices["nvidia:b"].index, devices["nvidia:b"].health.state) == (1, "ok")


def test_a_source_that_breaks_loses_nothing_of_the_others(tmp_path: Path) -> None:
    sick = Sick()
    machine = sampler(tmp_path, sick, lambda: 0.0)
    machine.sample()
    sick.error = RuntimeError("no such symbol")
    states = {d.key: d.health for d in machine.sample().devices}
    assert states[CPU].state == "ok"
    assert states["nvidia:a"].state == "lost"
    assert "no such symbol" in states["nvidia:a"].text


def test_a_question_that_is_late_is_answered_to_the_next_who_asks() -> None:
    gate = threading.Event()
    now = [0.0]

    def question() -> str:
        gate.wait(60)
        return "well"

    guard = Guard(question, "driver", lambda: now[0])
    with pytest.raises(Slow) as slow:
        guard.ask(0)
    assert not isinstance(slow.value, Hung)
    now[0] = HUNG_S
    with pytest.raises(Hung):
        guard.ask(0)
    gate.set()
    assert guard.ask(60) == "well"
    assert guard.started == 1
    assert guard.ask(60) == "well"
    assert guard.started == 2
