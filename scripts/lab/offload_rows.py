"""Measured speeds of runs with part of the weights in host memory, as the planner is asked of them.

A row says which card, what `--n-cpu-moe` or `-ts` it ran with and what it decoded; the planner's
own placement of that question says the run. No row's RAM is measured, and most do not name it: a
plan's default stands for it, as it does for a user's. They make error bars, and are not fitted.
"""

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

from mathcore.api import Placement, Query, find_model, plan
from mathcore.device import DeviceSpec
from mathcore.engines.flags import SPLIT_PARTS, Flags
from mathcore.hardware.names import lookup_gpu
from mathcore.speed.terms import Run
from mathcore.speed.work import scaled
from mathcore.units import GB
from mesh.edge.planning import what_ifs
from scripts.lab.speed_rows import Case
from scripts.lab.speed_served import Row, number

SOURCE = "offload"
RAM = "512GiB"  # of hosts whose RAM nobody states: enough for every model here
# What people run where they do not say a type; the types files of others are nearest to.
USUAL_QUANT = "Q4_K_M"
QUANTS: dict[str, str] = {"UD-Q4_K_XL": "Q4_K_M", "ggml-org": "MXFP4_MOE"}
# Tokens of a prompt and an answer nobody states: what `fleet plan` asks for.
PROMPT, ANSWER, CONTEXT = 512, 256, 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """A row that asks something else, and why."""

    row: Row
    why: str


def read_offload(path: Path) -> list[Row]:
    return list(csv.DictReader(path.read_text().splitlines()))


def aside(row: Row) -> str:
    """Why a row is none of llama.cpp's with part of the weights in host memory; "" for the rest."""
    if row["device"].startswith("none"):
        return "nothing lies on a card"
    if "PCIe" in row["placement"]:
        return (
            "a fork whose card reads host memory over PCIe: llama.cpp's processor multiplies there"
        )
    return "nothing lies in host memory" if row["placement"] == "all VRAM" else ""


def flags_of(placement: str) -> Flags:
    """llama.cpp's options in a row's words; a "split" of nobody's stating is the planner's best."""
    experts = re.search(r"-n?-?n?c(?:pu-)?moe (\d+)", placement)
    shares = re.search(r"-ts ([\d.,]+)", placement)
    passes = re.search(r"-ub (\d+)", placement)
    host = re.findall(r"(\S+)=CPU", placement)
    everything = 1000 if "-cmoe" in placement else None  # more layers than any model has
    return Flags(
        cpu_experts=int(experts[1]) if experts else everything,
        split=tuple(int(float(n) * SPLIT_PARTS) for n in shares[1].split(",")) if shares else (),
        micro_batch=int(passes[1]) if passes else 0,
        on_host=tuple(host),
    )


def device_of(row: Row) -> DeviceSpec:
    """The hardware as a what-if describes it, with the RAM bandwidth a row states."""
    found = re.match(r"(?:(\d)x )?(.*?)(?: \d+GB)?$", row["device"])
    assert found is not None
    count = int(found[1] or 1)
    (spec,) = what_ifs([f"{found[2]} x{count}" if count > 1 else found[2]], ram=RAM).values()
    stated = re.search(r"(\d+) GB/s", row["cpu_ram"])
    return replace(spec, ram_bandwidth_bytes_per_s=int(stated[1]) * GB if stated else 0)


def quant_of(text: str) -> str:
    return next((quant for part, quant in QUANTS.items() if part in text), USUAL_QUANT)


def placed(row: Row) -> Placement:
    """The planner's answer to a row's question; LookupError where it has none."""
    name = re.sub(r"[ (].*", "", row["model"])
    spec = find_model(name)
    if spec is None:
        raise LookupError(f"{name}: not in the catalogue")
    found = plan(
        Query(
            model=spec,
            model_ref=name,
            engine="llama.cpp",
            quant=quant_of(row["model"]),
            context=int(number(row, "n_ctx")) or CONTEXT,
            prompt_tokens=PROMPT,
            tokens=ANSWER,
            flags=flags_of(row["placement"]),
        ),
        [device_of(row)],
    )
    if not found.placements:
        raise LookupError(f"{name}: {found.refusals[0].text}")
    return found.placements[0]


def case_of_row(row: Row, index: int) -> Case:
    """The case of a row; its work is as large as the file, where that is stated."""
    answer = placed(row)
    size = number(row, "file_gb") * GB
    work = scaled(answer.work, size) if size else answer.work
    run: Run = answer.run
    facts = lookup_gpu(answer.name.split(" x")[0])
    return Case(
        index=index,
        source=SOURCE,
        clean=False,
        engine="llama.cpp",
        old=False,
        backend="",
        device=facts.name if facts is not None else answer.name,
        facts=facts,
        on_cpu=False,
        devices=run.devices,
        split=run.split,
        model=row["model"],
        work=work,
        bits=run.bits,
        batch=1,
        replicas=1,
        apart=False,
        flags=run.flags,
        prompt=run.prompt,
        generated=run.generated,
        depth=int(run.depth),
        speculative=False,
        offloaded=True,
        odd="",
        decode=number(row, "decode_tps"),
        prefill=0.0,  # no row states its prompt
        total=0.0,
        asked=run,
    )


def offload_cases(rows: list[Row], start: int) -> tuple[list[Case], list[Aside]]:
    """The rows that ask what the planner answers, numbered from `start` in their order, and the
    others."""
    cases: list[Case] = []
    left: list[Aside] = []
    for i, row in enumerate(rows):
        why = aside(row)
        try:
            if not why:
                cases.append(case_of_row(row, start + i))
        except LookupError as error:
            why = f"the planner has no answer: {error}"
        if why:
            left.append(Aside(row=row, why=why))
    return cases, left
