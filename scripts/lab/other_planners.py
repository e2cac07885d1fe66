"""What other planners would say of a measured row, by the formulas they publish."""

from scripts.lab.speed_models import bits_of
from scripts.lab.speed_rows import (
    Case,
    Row,
    chip_of_case,
)


def llmfit_tps(case: Case, row: Row) -> float:
    """llmfit: bandwidth over active parameters at its bytes per parameter, times 0.55."""
    bits = max(4.0, min(16.0, bits_of(row.get("quant") or "", row.get("model") or "")))
    bits = 4.0 if bits < 5.2 else bits
    rate = case.facts.bandwidth_bytes_per_s if case.facts is not None else 50e9
    factor = 0.9 if case.split == "tensor" and case.devices > 1 else 1.0
    return 0.55 * factor * rate / (case.work.active * bits / 8.0)


def whichllm_tps(case: Case, row: Row) -> float:
    """whichllm: bandwidth over bytes times an efficiency by quantisation and by vendor."""
    bits = bits_of(row.get("quant") or "", row.get("model") or "")
    share = 0.40 if bits > 12 else (0.45 if bits > 7 else 0.55)
    device_class = chip_of_case(case)
    vendor = {
        "apple": 0.82,
        "radeon": 0.78,
        "instinct": 0.78,
        "unified": 0.78,
        "igpu": 0.78,
        "arc": 0.65,
    }.get(device_class.device_class if device_class else "", 1.0)
    rate = case.facts.bandwidth_bytes_per_s if case.facts is not None else 50e9
    return share * vendor * rate / case.work.weight_bytes(1.0)
