"""How many devices a row of a server's speeds really ran on, and for how many requests."""

import re
from dataclasses import dataclass

Row = dict[str, str]


def number(row: Row, field: str) -> float:
    """A field as a number; 0 where it is empty or no number."""
    try:
        value = float(row.get(field) or 0)
    except ValueError:
        return 0.0
    return value if 0 <= value < 1e18 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How many devices a server ran on, how many copies of attention, and how many requests."""

    devices: int
    replicas: int
    batch: int
    apart: bool  # prompts are read on other devices


NODE = 8  # devices of the largest host in the tables


def served(row: Row) -> Served:
    """What a row's notes and source say; `n_devices` alone multiplies two ways to split one model.

    aiconfigurator's rows of tensor and expert parallelism over the same k devices state k x k; the
    run's name has k. More than a host's devices in one tensor-parallel group are groups of their
    own, some for prompts and some for answers (attention heads could not even be split so).
    """
    notes, source = row.get("notes") or "", row.get("source") or ""
    stated = max(1, int(number(row, "n_devices")))
    found = re.search(r"moe_tp=(\d+) moe_ep=(\d+)", notes)
    tensor, expert = (int(found[1]), int(found[2])) if found else (0, 0)
    attention = re.search(r"dp_attn=(\d+)", notes)
    copies = int(attention[1]) if attention else 1
    devices = stated
    if named := re.search(r"_tp(\d+)(?:_0)?_ep(?:\d+|none)", source):
        devices = int(named[1])
    elif tensor == expert > 1 and tensor * expert == stated:
        devices = tensor
    elif tensor == 1 and copies > 1 and copies * copies == stated:
        devices = copies
    many = re.search(r"silicon_concurrency=(\d+)", notes) or re.search(r"_c(\d+)_tp", source)
    batch = int(many[1]) if many else max(1, int(number(row, "batch"))) * min(copies, devices)
    apart = devices > NODE and tensor == devices
    return Served(
        devices=devices,
        replicas=devices if apart or copies > 1 else 1,
        batch=max(1, batch),
        apart=apart,
    )
