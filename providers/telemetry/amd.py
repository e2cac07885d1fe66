"""AMD accelerators now, from the kernel's own files: no program is started, no library needed.

What amdgpu does not say in these files (why it slows) is unknown. Processes are those the compute
driver (KFD) knows: ROCm's, not a desktop's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from providers.probe.amd import APUS, DRM, VENDOR
from providers.telemetry.sample import AMD, Look, Process, Reading

KFD: Final = Path("/sys/class/kfd/kfd")
# Processes of one card that are told of, the largest.
MAX_PROCESSES: Final = 64

Who = Callable[[int], tuple[str, tuple[str, int]]]  # pid -> program, (job, attempt)


@final
class AmdCards:
    """Every AMD card whose driver reports its memory."""

    def __init__(self, who: Who, root: Path = DRM, kfd: Path = KFD) -> None:
        self._who = who
        self._root = root
        self._kfd = kfd
        self._boards: dict[str, Path] | None = None
        self._sensors: dict[str, Path | None] = {}
        self._kfd_ids: dict[Path, int | None] = {}

    def look(self) -> Look:
        """A reading of every card."""
        if self._boards is None:
            self._boards = _boards(self._root)
        there = {key: board for key, board in self._boards.items() if board.is_dir()}
        return Look(source=AMD, found=tuple(self._reading(k, b) for k, b in there.items()))

    def _reading(self, key: str, board: Path) -> Reading:
        shared = APUS.get(_text(board / "device"), "")
        total, used = _number(board / "mem_info_vram_total"), _number(board / "mem_info_vram_used")
        if shared:  # what was set aside at boot, and what its driver may take of the RAM
            total = _sum(total, _number(board / "mem_info_gtt_total"))
            used = _sum(used, _number(board / "mem_info_gtt_used"))
        sensor = self._sensor(key, board)
        return Reading(
            key=key,
            name=_text(board / "product_name") or shared or f"AMD {_text(board / 'device')}",
            memory_bytes=total,
            free_bytes=None if total is None or used is None else max(0, total - used),
            processes=self._processes(board),
            utilisation_percent=_number(board / "gpu_busy_percent"),
            power_mw=_scaled(sensor, ("power1_average", "power1_input"), 1000),
            power_limit_mw=_scaled(sensor, ("power1_cap",), 1000),
            temperature_c=_scaled(sensor, ("temp1_input",), 1000),
            core_mhz=_scaled(sensor, ("freq1_input",), 1_000_000),
            memory_mhz=_scaled(sensor, ("freq2_input",), 1_000_000),
            shares_ram=bool(shared),
        )

    def _sensor(self, key: str, board: Path) -> Path | None:
        """The folder of the card's sensors, found once."""
        if key not in self._sensors:
            self._sensors[key] = next(iter(sorted(board.glob("hwmon/hwmon*"))), None)
        return self._sensors[key]

    def _processes(self, board: Path) -> tuple[Process, ...] | None:
        """Who computes there, by the KFD's count of each process's memory on each of its cards."""
        if board not in self._kfd_ids:
            self._kfd_ids[board] = _kfd_id(self._kfd, board)
        card = self._kfd_ids[board]
        if card is None:
            return None
        sizes = {
            int(path.parent.name): _number(path)
            for path in self._kfd.glob(f"proc/*/vram_{card}")
            if path.parent.name.isdigit()
        }
        largest = sorted(sizes.items(), key=lambda item: (-(item[1] or 0), item[0]))
        return tuple(self._process(pid, size) for pid, size in largest[:MAX_PROCESSES] if size)

    def _process(self, pid: int, size: int) -> Process:
        program, (job_id, attempt) = self._who(pid)
        return Process(pid=pid, program=program, memory_bytes=size, job_id=job_id, attempt=attempt)


def _boards(root: Path) -> dict[str, Path]:
    """(key -> folder) in the order of `probe_amd`, so that a card has the same number in both."""
    cards = sorted(path for path in root.glob("card*") if path.name[4:].isdigit())
    boards = [card / "device" for card in cards if _text(card / "device/vendor") == VENDOR]
    known = [board for board in boards if _number(board / "mem_info_vram_total")]
    return {f"{AMD}:{_text(one / 'unique_id') or one.parent.name}": one for one in known}


def _kfd_id(kfd: Path, board: Path) -> int | None:
    """The KFD's number of a card, by the render node both name; None where it has none."""
    nodes = {path.name[len("renderD") :] for path in board.glob("drm/renderD*")}
    for node in kfd.glob("topology/nodes/*"):
        lines = dict(
            line.split(" ", 1) for line in _text(node / "properties").splitlines() if " " in line
        )
        if lines.get("drm_render_minor", "").strip() in nodes:
            return _number(node / "gpu_id")
    return None


def _scaled(folder: Path | None, names: tuple[str, ...], unit: int) -> int | None:
    """The first of these files that holds a number, in our unit."""
    for name in names:
        value = None if folder is None else _number(folder / name)
        if value is not None:
            return value // unit
    return None


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    """The number in a file; None where there is none: a card that sleeps reads as an error."""
    text = _text(path)
    return int(text) if text.isascii() and text.isdigit() else None
