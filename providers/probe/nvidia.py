"""NVIDIA accelerators, as the driver reports them. No driver is an answer, not an error."""

import re
import time
from collections.abc import Callable
from typing import Any, Final, final

import psutil
import pynvml

from mathcore.hardware.described import shares_memory
from providers.probe.gpu import Gpu, Gpus
from providers.telemetry.health import LOST, mismatch
from providers.telemetry.sample import BRAKE, HOT, NVIDIA, POWER_CAP, Fault, Look, Process, Reading

# The mismatch error is no subclass of NVMLError: a driver updated without a reboot raises it.
MISMATCH = getattr(pynvml, "NVMLLibraryMismatchError", pynvml.NVMLError)
TROUBLE = (pynvml.NVMLError, MISMATCH)

# Laptops' chips whose driver reports what was set aside for them at boot, not what they may use:
# 8128 MiB beside 122 GiB of RAM.
CARVED: Final = re.compile(r"\bN1X?\b")
# After a failure the driver is opened anew, at most this often: it takes up to a second.
REOPEN_S: Final = 10.0
# Processes of one card that are told of, the largest: a card has a handful.
MAX_PROCESSES: Final = 64
NOT_AVAILABLE: Final = 2**64 - 1  # NVML_VALUE_NOT_AVAILABLE, nvml.h; also under WSL
# nvml.h, nvmlClocksEventReasons: what slows a card. Idle and set clocks are nobody's trouble.
SLOWED: Final = ((0x20 | 0x40, HOT), (0x08 | 0x80, BRAKE), (0x04, POWER_CAP))

Who = Callable[[int], tuple[str, tuple[str, int]]]  # pid -> program, (job, attempt)


def probe_nvidia() -> Gpus:
    """Every NVIDIA board; one that fails is left out and named in the reason."""
    try:
        pynvml.nvmlInit()
    except TROUBLE as error:
        return Gpus(found=(), reason=f"no NVIDIA driver: {error}")
    try:
        return _boards()
    except TROUBLE as error:
        return Gpus(found=(), reason=f"the NVIDIA driver doesn't answer: {error}")
    finally:
        pynvml.nvmlShutdown()


def _boards() -> Gpus:
    found, broken = [], []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            found += _devices(index, pynvml.nvmlDeviceGetHandleByIndex(index))
        except TROUBLE as error:
            broken.append(f"GPU {index}: {error}")
    reason = "; ".join(broken) if broken or found else "the NVIDIA driver knows no GPU"
    return Gpus(found=tuple(found), reason=reason)


def _devices(index: int, handle: Any) -> list[Gpu]:
    """The board, or in its place its parts: nothing runs on the whole of a divided one."""
    return [_board(index, part) for part in _parts(handle)]


def _part(handle: Any, place: int) -> Any:
    """The MIG device of this place; None where there is none."""
    try:
        return pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
    except (*TROUBLE, AttributeError):
        return None


def _board(index: int, handle: Any) -> Gpu:
    name = str(pynvml.nvmlDeviceGetName(handle))
    total, used, free, unified = _memory(handle, name)
    capability = _ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    load = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    milliwatts = _ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    return Gpu(
        index=index,
        vendor="nvidia",
        name=name,
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        memory_bytes=total,
        used_bytes=used,
        free_bytes=free,
        unified=unified,
        watts_limit=int(milliwatts or 0) // 1000,
        utilisation_percent=int(load.gpu) if load else 0,
        compute_capability=f"{capability[0]}.{capability[1]}" if capability else "",
    )


def _memory(handle: Any, name: str) -> tuple[int, int, int, bool]:
    """(total, used, free, unified) in bytes.

    A chip that shares the system's RAM says that it has no memory, or how little was set aside.
    """
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError_NotSupported:
        memory = None
    if memory is None or CARVED.search(name) or shares_memory(name):
        system = psutil.virtual_memory()
        return system.total, system.total - system.available, system.available, True
    return int(memory.total), int(memory.used), int(memory.free), False


def _ask(question: Any, handle: Any) -> Any:
    """The answer, or None where this board or driver has none."""
    try:
        return question(handle)
    except (*TROUBLE, AttributeError):
        return None


@final
class NvidiaCards:
    """Every NVIDIA card again and again, with the driver kept open: a look takes milliseconds."""

    def __init__(self, who: Who, clock: Callable[[], float] = time.monotonic) -> None:
        self._who = who
        self._clock = clock
        self._handles: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        self._open = self._due = False  # due: a card failed, so it is opened anew before long
        self._retry_s = 0.0
        self._fault: Fault | None = None

    def look(self) -> Look:
        """A reading of every card that gives one; blocking, and a sick driver may never answer."""
        now_s = self._clock()
        if (self._due or not self._open) and now_s >= self._retry_s:
            self._retry_s = now_s + REOPEN_S
            self._close()
            self._fault = self._reopen()
        if not self._open:
            return Look(source=NVIDIA, fault=self._fault)
        found, broken = [], {}
        for key, handle in self._handles.items():
            try:
                found.append(self._reading(key, handle))
            except TROUBLE as error:
                broken[key] = _fault_of(error)
        self._due = bool(broken)
        return Look(source=NVIDIA, found=tuple(found), broken=broken)

    def _reopen(self) -> Fault | None:
        """Open the driver and find the cards; what is wrong where that fails."""
        try:
            pynvml.nvmlInit()
            self._open = True
            self._handles = dict(_handles())
            self._names = {
                k: str(_ask(pynvml.nvmlDeviceGetName, h)) for k, h in self._handles.items()
            }
        except TROUBLE as error:
            self._close()
            return _fault_of(error)
        return None

    def _close(self) -> None:
        if not self._open:
            return
        self._open = False
        _ask(lambda _: pynvml.nvmlShutdown(), None)

    def _reading(self, key: str, handle: Any) -> Reading:
        total, free, shared = _now(handle, self._names[key])
        load = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
        reasons = _ask(_reasons, handle)
        return Reading(
            key=key,
            name=self._names[key],
            memory_bytes=total,
            free_bytes=free,
            processes=self._processes(handle),
            utilisation_percent=None if load is None else int(load.gpu),
            power_mw=_whole(_ask(pynvml.nvmlDeviceGetPowerUsage, handle)),
            power_limit_mw=_whole(_ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
            temperature_c=_whole(_ask(_temperature, handle)),
            core_mhz=_whole(_ask(_clock(pynvml.NVML_CLOCK_SM), handle)),
            memory_mhz=_whole(_ask(_clock(pynvml.NVML_CLOCK_MEM), handle)),
            slowed=None if reasons is None else slowed_by(int(reasons)),
            shares_ram=shared,
        )

    def _processes(self, handle: Any) -> tuple[Process, ...] | None:
        computing = _ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
        drawing = _ask(pynvml.nvmlDeviceGetGraphicsRunningProcesses, handle)
        if computing is None and drawing is None:
            return None
        sizes: dict[int, int | None] = {}
        for one in (*(computing or ()), *(drawing or ())):  # a process may be in both lists
            sizes[int(one.pid)] = _size(one.usedGpuMemory)
        largest = sorted(sizes.items(), key=lambda item: (-(item[1] or 0), item[0]))
        return tuple(self._process(pid, size) for pid, size in largest[:MAX_PROCESSES])

    def _process(self, pid: int, size: int | None) -> Process:
        program, (job_id, attempt) = self._who(pid)
        return Process(pid=pid, program=program, memory_bytes=size, job_id=job_id, attempt=attempt)


def _handles() -> list[tuple[str, Any]]:
    """(key, handle) of every board or part that can be had; one that is lost is missing."""
    found: list[tuple[str, Any]] = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        board = _ask(pynvml.nvmlDeviceGetHandleByIndex, index)
        for handle in [] if board is None else _parts(board):
            uuid = _ask(pynvml.nvmlDeviceGetUUID, handle)
            found.append((f"{NVIDIA}:{uuid or index}", handle))
    return found


def _parts(board: Any) -> list[Any]:
    """The board, or in its place the parts it is divided into (MIG)."""
    mode = _ask(pynvml.nvmlDeviceGetMigMode, board)
    if not mode or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return [board]
    count = int(_ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, board) or 0)
    return [part for place in range(count) if (part := _part(board, place)) is not None]


def _now(handle: Any, name: str) -> tuple[int | None, int | None, bool]:
    """(total, free, shared) memory; raises where the card is lost, None where it will not say."""
    try:
        total, _, free, shared = _memory(handle, name)
    except TROUBLE as error:
        if _fault_of(error).kind == LOST:
            raise
        return None, None, False
    return total, free, shared


def _fault_of(error: Exception) -> Fault:
    """What an error of the driver means for the card, or for all of them."""
    code = getattr(error, "value", None)
    if isinstance(error, MISMATCH) and not isinstance(error, pynvml.NVMLError):
        return mismatch()
    if code == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return mismatch()
    gone = (
        pynvml.NVML_ERROR_GPU_IS_LOST,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
    )
    return Fault(kind=LOST if code in gone else "", text=f"the NVIDIA driver says: {error}")


def slowed_by(reasons: int) -> tuple[str, ...]:
    """What slows a card, of NVML's clock event reasons."""
    return tuple(name for mask, name in SLOWED if reasons & mask)


def _reasons(handle: Any) -> Any:
    """The newer name first: the older one goes with CUDA 14, and old drivers know no other."""
    newer = _ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    return pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) if newer is None else newer


def _temperature(handle: Any) -> Any:
    return pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)


def _clock(kind: int) -> Callable[[Any], Any]:
    return lambda handle: pynvml.nvmlDeviceGetClockInfo(handle, kind)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _size(value: Any) -> int | None:
    """Bytes a process holds; None where the driver will not say."""
    return None if value is None or int(value) >= NOT_AVAILABLE else int(value)
