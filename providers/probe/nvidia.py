"""NVIDIA accelerators, as the driver reports them. No driver is an answer, not an error."""

from typing import Any

import psutil
import pynvml

from providers.probe.gpu import Gpu, Gpus

# The mismatch error is no subclass of NVMLError: a driver updated without a reboot raises it.
TROUBLE = (pynvml.NVMLError, getattr(pynvml, "NVMLLibraryMismatchError", pynvml.NVMLError))


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
    """The board, or in its place the parts it is divided into (MIG): nothing runs on the whole."""
    mode = _ask(pynvml.nvmlDeviceGetMigMode, handle)
    if not mode or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return [_board(index, handle)]
    count = int(_ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)
    parts = (_part(handle, place) for place in range(count))
    return [_board(index, part) for part in parts if part is not None]


def _part(handle: Any, place: int) -> Any:
    """The MIG device of this place; None where there is none."""
    try:
        return pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
    except (*TROUBLE, AttributeError):
        return None


def _board(index: int, handle: Any) -> Gpu:
    total, used, free, unified = _memory(handle)
    capability = _ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    load = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    milliwatts = _ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    return Gpu(
        index=index,
        vendor="nvidia",
        name=str(pynvml.nvmlDeviceGetName(handle)),
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        memory_bytes=total,
        used_bytes=used,
        free_bytes=free,
        unified=unified,
        watts_limit=int(milliwatts or 0) // 1000,
        utilisation_percent=int(load.gpu) if load else 0,
        compute_capability=f"{capability[0]}.{capability[1]}" if capability else "",
    )


def _memory(handle: Any) -> tuple[int, int, int, bool]:
    """(total, used, free, unified) in bytes."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError_NotSupported:
        system = psutil.virtual_memory()
        return system.total, system.total - system.available, system.available, True
    return int(memory.total), int(memory.used), int(memory.free), False


def _ask(question: Any, handle: Any) -> Any:
    """The answer, or None where this board or driver has none."""
    try:
        return question(handle)
    except (*TROUBLE, AttributeError):
        return None
