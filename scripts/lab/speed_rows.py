"""A row of a table of measured speeds as a question the speed model can answer."""

import csv
import gzip
import re
import zlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from mathcore.hardware.facts import GpuFacts
from mathcore.hardware.names import find_in, lookup_cpu, lookup_gpu
from mathcore.speed.chip import Chip, chip_of_facts
from mathcore.speed.releases import bits_of, kind_of_model
from mathcore.speed.terms import SERVERS, Run
from mathcore.speed.work import Work
from scripts.lab.speed_models import resolve
from scripts.lab.speed_odd import odd
from scripts.lab.speed_served import Row, Served, number, served

# Measured by people who publish their scripts; the rest is user-submitted, without what was run.
CLEAN: tuple[str, ...] = (
    "xiongjiedai",
    "aic_silicon",
    "lhl_strix_halo",
    "kyuz0_strix_halo",
    "mlx_lm",
    "localscore",
    "geerling",
    "argonne_llm_inference_bench",
)

_ENGINES: tuple[tuple[str, str], ...] = (
    ("trt", "trtllm"),
    ("tensorrt", "trtllm"),
    ("sglang", "sglang"),
    ("vllm", "vllm"),
    ("tgi", "tgi"),
    ("deepspeed", "deepspeed"),
    ("mii", "deepspeed"),
    ("mlx", "mlx"),
    ("ollama", "ollama"),
    ("sambaflow", "sambaflow"),
    ("lmdeploy", "vllm"),
    ("exl", "llama.cpp"),
)


USER_SUBMITTED: tuple[str, ...] = ("llmfit", "club3090")


class Unreadable(Exception):
    """A row we cannot answer; the text says which part is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row: the question in mathcore's terms, and what was measured (0 = not)."""

    index: int
    source: str
    clean: bool
    engine: str
    old: bool
    backend: str
    device: str
    facts: GpuFacts | None
    on_cpu: bool
    devices: int
    split: str
    model: str
    work: Work
    bits: float
    batch: int
    replicas: int
    apart: bool
    flags: tuple[str, ...]
    prompt: int
    generated: int
    depth: int
    speculative: bool
    offloaded: bool
    odd: str  # why the row is not what it says; "" for most
    decode: float
    prefill: float
    total: float
    asked: Run | None = None  # where the row says where layers lie: the planner's own run


# Without these no row can be answered.
NEEDED = (("model",), ("hardware", "device"))


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV, gzipped or not; Unreadable where it is no table of speeds."""
    raw = path.read_bytes()
    try:
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"{path.name} is not gzip: {error}") from error
    table = csv.DictReader(text.decode("utf-8", "replace").splitlines())
    try:
        rows = list(table)
    except csv.Error as error:
        raise Unreadable(f"{path.name} is not CSV: {error}") from error
    for names in NEEDED:
        if not set(names) & set(table.fieldnames or ()):
            raise Unreadable(f"{path.name} is no table of speeds: no column {' or '.join(names)}")
    return rows


def engine_of(text: str) -> str:
    """Which kind of engine a name means; llama.cpp and what is built on it by default."""
    lower = text.lower()
    for part, engine in _ENGINES:
        if part in lower:
            return engine
    return "llama.cpp"


@cache
def device_of(hardware: str, device: str) -> GpuFacts | None:
    """The catalogue row of a device; a table's footnote digit at the end of a name is dropped."""
    found = lookup_gpu(hardware) if hardware else None
    found = found or (find_in(hardware) if hardware else None)
    if found is not None:
        return found
    inner = re.findall(r"\(([^()]*?)1\)", device)
    for text in inner:
        if lookup_gpu(text) is not None:
            return lookup_gpu(text)
    return find_in(device)


def _build(row: Row) -> int:
    """llama.cpp's build number of four digits, 0 where none is given."""
    found = re.match(r"b?(\d{4})\b", row.get("engine_version") or "")
    return int(found[1]) if found else 0


def _old_build(row: Row) -> bool:
    """llama.cpp before June 2024 (b3000): no flash attention, no CUDA graphs for all."""
    return 0 < _build(row) < 3000 or row.get("source_id") == "xiongjiedai"


def _aged_build(row: Row) -> bool:
    """llama.cpp of 2024 and 2025 (before b7000), whose kernels for AMD were still young."""
    return 3000 <= _build(row) < 7000


def _depth(row: Row, prompt: int, generated: int) -> int:
    """Tokens in the cache half-way through the answer."""
    stated = int(number(row, "depth"))
    deep = "@ d" in (row.get("test") or "")
    return (stated if deep else 0) + prompt + generated // 2


def _flags(
    row: Row, engine: str, quant: str, name: str, how: Served, work: Work
) -> tuple[str, ...]:
    """The circumstances the constants know of."""
    out: list[str] = []
    if engine in SERVERS:
        if re.search(r"int4|awq|gptq|w4a16|autoround", quant + name, re.I):
            out.append("w4a16")
        if how.replicas > 1:
            out.append("replicas")
        version = re.fullmatch(r"[\w.-]{1,40}", row.get("engine_version") or "")
        if version:
            release = f"{engine}@{version[0]}"
            gpt_oss = "gptoss" in re.sub(r"[^a-z]", "", (quant + name).lower())
            out += [release, f"{release}/{kind_of_model(work, mxfp4=gpt_oss)}"]
        return tuple(out)
    if engine == "mlx":
        return ()
    if _old_build(row):
        out.append("old")
    backend = ((row.get("backend") or "") + (row.get("engine") or "")).lower()
    if _aged_build(row) and ("rocm" in backend or "vulkan" in backend):
        out.append("aged")
    if "llamafile" in backend:
        out.append("llamafile")
    if row.get("source_id") == "argonne_llm_inference_bench":
        out.append("scripted")  # by a Python program around the library, at a fifth of its speed
    if re.match(r"Pi (CM)?\d|HiFive|Minisforum MS-R1", row.get("device") or ""):
        out.append("weak")  # the host: it launches kernels slowly
    if (row.get("flash_attn") or "").lower() in ("0", "false"):
        out.append("plain")
    wide = bool(re.search(r"f16|f32|16-?bit", quant + (name if not quant else ""), re.I))
    wide = wide and "gptoss" not in re.sub(r"[^a-z]", "", name.lower())
    if wide:
        out.append("wide")
    if "vulkan" in backend:
        out.append("vulkan")
        if "amdvlk" in (row.get("notes") or ""):
            out.append("amdvlk")  # AMD's own driver, given up in 2025, not Mesa's
        if wide and "bf16" in quant.lower():
            out.append("emulated")  # most Vulkan drivers lack bfloat16
    if number(row, "batch") > 1 and row.get("source_id") != "llmfit_cache":
        out.append("many")
    return tuple(out)


def _cpu_only(row: Row) -> bool:
    """The backend says so, or the accelerator is a chip's own cores ("M4 Max 12P+4E")."""
    cores = re.search(r"\d+P\+\d+E$", row.get("device") or "")
    return (row.get("backend") or "").lower() == "cpu" or cores is not None


def case_of(index: int, row: Row, configs: Path) -> Case:
    """The row as a case; Unreadable names what is missing."""
    name, quant = row.get("model") or "", row.get("quant") or ""
    engine = engine_of(row.get("engine") or "")
    server = engine not in ("llama.cpp", "ollama", "mlx")
    if not quant and server and not re.search(r"awq|gptq|int4|fp8|fp4", name, re.I):
        quant = "16-bit"
    if re.match(r"KV ", quant):
        quant = ""
    work = resolve(
        name,
        number(row, "params_b"),
        number(row, "active_params_b"),
        quant,
        number(row, "model_gib"),
        configs,
    )
    if work is None:
        raise Unreadable(f"model {name!r}: no config, no known name, no size")
    hardware, device = row.get("hardware") or "", row.get("device") or ""
    prompt, generated = int(number(row, "prompt_tokens")), int(number(row, "gen_tokens"))
    how = served(row)
    leaderboard = row.get("source_id") == "llmfit_cache"
    spec = (row.get("spec_decode") or "").strip().lower()
    notes = row.get("notes") or ""
    case = Case(
        index=index,
        source=row.get("source_id") or "",
        clean=(row.get("source_id") or "") in CLEAN and spec in ("", "0"),
        engine=engine,
        old=_old_build(row),
        backend=(row.get("backend") or "").lower(),
        device=hardware or device,
        facts=device_of(hardware, device),
        on_cpu=_cpu_only(row),
        devices=how.devices,
        split="layer" if engine in ("llama.cpp", "ollama") else "tensor",
        model=name,
        work=work,
        bits=bits_of(work),
        batch=1 if leaderboard else how.batch,
        replicas=how.replicas,
        apart=how.apart,
        flags=_flags(row, engine, quant, name, how, work),
        prompt=prompt,
        generated=generated,
        depth=_depth(row, prompt, generated),
        speculative=spec not in ("", "0", "false", "none"),
        offloaded="cpu expert offload" in name.lower() or "-ncmoe" in notes,
        decode=number(row, "decode_tps"),
        prefill=number(row, "prefill_tps"),
        total=number(row, "total_tps"),
        odd="",
    )
    return replace(case, odd=odd(case, row))


def cases_of(rows: list[Row], configs: Path) -> tuple[list[Case], dict[int, str]]:
    """Every row we can answer, and for the others why not."""
    cases: list[Case] = []
    refused: dict[int, str] = {}
    for index, row in enumerate(rows):
        try:
            cases.append(case_of(index, row, configs))
        except Unreadable as error:
            refused[index] = str(error)
    return cases, refused


# A byte read faster than memory brings it was not read: drafts, batches or another model. The
# margin is for the rounding of published sizes and speeds.
FASTER_THAN_MEMORY = 1.02
# A cache may hold a smaller model, and then its speed says nothing of memory: the largest cache of
# a processor or card in the tables is 96 MB.
TOY_BYTES = 100_000_000


def broken(case: Case, what: str) -> bool:
    """Rows their source got wrong: 70 to 1,100 tokens/s of an 8B model in 8 GB of swap, 16-bit
    prompts of one pod ten times slower than the same card's 4-bit ones, and what no memory can do.
    """
    if what == "decode" and impossible(case):
        return True
    if case.source != "xiongjiedai" or case.facts is None:
        return False
    wide = "wide" in case.flags and what == "prefill"
    name = case.facts.name
    return name == "Apple M1" or (wide and name in ("A100 SXM 80GB", "L40S"))


def impossible(case: Case) -> bool:
    """Whether a row's decode reads its weights faster than its devices' memory brings them, or
    reads so few that a cache may hold them."""
    chip = chip_of_case(case)
    if chip is None or not case.decode or case.offloaded:
        return False
    read = case.work.weight_bytes(1.0)
    reached = read * case.decode / (chip.bandwidth * case.devices)
    return read < TOY_BYTES or reached > FASTER_THAN_MEMORY


def chip_of_case(case: Case) -> Chip | None:
    """The chip a case ran on; None when the device is none we know."""
    facts = case.facts
    if case.on_cpu and facts is not None and facts.kind == "apple":
        return chip_of_facts(replace(facts, memory_kind="ddr", arch="arm", flops=0))
    if case.on_cpu and (facts is None or facts.kind != "cpu"):
        facts = lookup_cpu(case.device)
    return chip_of_facts(facts) if facts is not None else None


def run_of(case: Case) -> Run:
    """How the case was run."""
    if case.asked is not None:
        return case.asked
    told = case.source.startswith(USER_SUBMITTED) or case.speculative
    reported = ("reported",) if told else ()
    mixed = case.source == "aic_silicon" and case.batch > 1 and not case.apart
    return Run(
        engine=case.engine,
        devices=case.devices,
        split=case.split,
        batch=case.batch,
        prompt=case.prompt,
        generated=case.generated,
        depth=float(case.depth),
        bits=case.bits,
        replicas=case.replicas,
        mixed=mixed,
        flags=case.flags + reported,
    )
