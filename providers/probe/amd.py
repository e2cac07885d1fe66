"""AMD accelerators, read from the kernel's own files: no library of theirs is needed.

A chip with a processor beside it (an APU) uses what was set aside for it at boot and, beyond that,
the system's RAM up to the driver's limit (GTT): both are its memory.
"""

from pathlib import Path

from providers.probe.gpu import Gpu, Gpus

DRM = Path("/sys/class/drm")
VENDOR = "0x1002"  # PCI vendor AMD/ATI
# PCI ids of chips that share the system's RAM, and what their GPU is called.
APUS: dict[str, str] = {
    "0x15d8": "Radeon Vega",  # Picasso, Raven 2
    "0x15dd": "Radeon Vega",  # Raven
    "0x1636": "Radeon Vega",  # Renoir
    "0x164c": "Radeon Vega",  # Lucienne
    "0x1638": "Radeon Vega",  # Cezanne
    "0x15e7": "Radeon Vega",  # Barcelo
    "0x163f": "Radeon Van Gogh",
    "0x1681": "Radeon 680M",
    "0x15bf": "Radeon 780M",  # Phoenix
    "0x15c8": "Radeon 740M",
    "0x1900": "Radeon 780M",  # Hawk Point
    "0x1901": "Radeon 740M",
    "0x150e": "Radeon 890M",  # Strix Point
    "0x1114": "Radeon 860M",  # Krackan Point
    "0x1586": "Ryzen AI MAX+ 395",  # Strix Halo
}


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
    shared = APUS.get(_text(board / "device"), "")
    if shared:
        total += _number(board / "mem_info_gtt_total")
        used += _number(board / "mem_info_gtt_used")
    caps = [_number(path) for path in board.glob("hwmon/hwmon*/power1_cap")]
    return Gpu(
        index=index,
        vendor="amd",
        name=_text(board / "product_name") or shared or f"AMD {_text(board / 'device')}",
        uuid=_text(board / "unique_id"),
        memory_bytes=total,
        used_bytes=used,
        free_bytes=max(0, total - used),
        unified=bool(shared),
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
