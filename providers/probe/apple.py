"""The GPU of a Mac: what Metal itself says it may use, else what the kernel was told.

Metal's recommendedMaxWorkingSetSize follows the size of RAM, the macOS and a raised
iogpu.wired_limit_mb, so it is asked first. Without it the rule of `mathcore.hardware.reach` holds.
"""

import ctypes
import platform
import subprocess
from collections.abc import Callable

import psutil

from mathcore.hardware.described import describe
from mathcore.units import MIB
from providers.probe.gpu import Gpu, Gpus

METAL = "/System/Library/Frameworks/Metal.framework/Metal"
OBJC = "/usr/lib/libobjc.dylib"
SYSCTL_S = 5.0  # it answers in milliseconds


def probe_apple() -> Gpus:
    """The GPU of the chip this runs on, where that is Apple's."""
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return Gpus(found=(), reason="no Apple GPU")
    memory = psutil.virtual_memory()
    return Gpus(found=(apple_gpu(memory.total, memory.available, working_set, sysctl),), reason="")


def apple_gpu(
    ram_bytes: int,
    available_bytes: int,
    ask_metal: Callable[[], int],
    ask_kernel: Callable[[str], str],
) -> Gpu:
    """The GPU of such a Mac; free is what its limit and the RAM that is not used both allow."""
    name = ask_kernel("machdep.cpu.brand_string") or "Apple"
    limit = ask_metal() or _set_limit(ask_kernel) or _usual(name, ram_bytes, ask_kernel)
    free = min(limit, available_bytes)
    return Gpu(
        index=0,
        vendor="apple",
        name=name,
        uuid="",
        memory_bytes=ram_bytes,
        used_bytes=limit - free,
        free_bytes=free,
        unified=True,
        watts_limit=0,
        utilisation_percent=0,
        compute_capability="",
    )


def _set_limit(ask_kernel: Callable[[str], str]) -> int:
    """A limit somebody raised or lowered; 0 = macOS's own."""
    said = ask_kernel("iogpu.wired_limit_mb")
    return int(said) * MIB if said.isdigit() else 0


def _usual(name: str, ram_bytes: int, ask_kernel: Callable[[str], str]) -> int:
    """macOS's own limit by the rule; the smaller one where its version is not told."""
    version = ask_kernel("kern.osproductversion")
    what = describe(f"{name} macOS {version}" if version else name, ram_bytes)
    return what.free_low_bytes or what.free_bytes


def sysctl(name: str) -> str:
    """A value of the kernel's; "" where it has none."""
    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", name],
            capture_output=True,
            text=True,
            timeout=SYSCTL_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def working_set() -> int:
    """Metal's recommendedMaxWorkingSetSize; 0 where Metal cannot be asked."""
    try:
        metal, objc = ctypes.CDLL(METAL), ctypes.CDLL(OBJC)
        metal.MTLCreateSystemDefaultDevice.restype = ctypes.c_void_p
        objc.sel_registerName.restype = ctypes.c_void_p
        objc.sel_registerName.argtypes = [ctypes.c_char_p]
        send = ctypes.cast(
            objc.objc_msgSend,
            ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p),
        )
        device = metal.MTLCreateSystemDefaultDevice()
        if not device:
            return 0
        return int(send(device, objc.sel_registerName(b"recommendedMaxWorkingSetSize")))
    except (OSError, AttributeError):
        return 0
