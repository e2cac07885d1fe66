"""AMD accelerators, read from the kernel's own files: no library of theirs is needed."""

from pathlib import Path

from providers.probe.gpu import Gpu, Gpus

DRM = Path("/sys/class/drm")
VENDOR = "0x1002"  # PCI vendor AMD/ATI


def probe_amd(root: Path = DRM) -> Gpus:
    """Every card under `root` (a /sys/class/drm tree) whose driver reports its VRAM."""
    cards = sorted(path for path in root.glob("card*") if path.name[4:].isdigit())
    boards = [card / "device" for card in cards if _text(card / "device/vendor") == VENDOR]
    known = [board for board in boards if _number(board / "mem_info_vram_total")]
    found = tuple(_gpu(index, board) for index, board in enumerate(known))
    if found:
        return Gpus(found=found, reason="")
    why = "an AMD card whose driver reports no VRAM" if boards else "no AMD card"
    return Gpus(found=(), reason=why)


def _gpu(index: int, board: Path) -> Gpu:
    total, used = _number(board / "mem_info_vram_total"), _number(board / "mem_info_vram_used")
    caps = [_number(path) for path in board.glob("hwmon/hwmon*/power1_cap")]
    return Gpu(
        index=index,
        vendor="amd",
        name=_text(board / "product_name") or f"AMD {_text(board / 'device')}",
        uuid=_text(board / "unique_id"),
        memory_bytes=total,
        used_bytes=used,
        free_bytes=max(0, total - used),
        unified=False,
        watts_limit=max(caps, default=0) // 1_000_000,  # hwmon counts microwatts
        utilisation_percent=_number(board / "gpu_busy_percent"),
        compute_capability="",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdigit() else 0
