"""Known accelerators: what their makers say, and what drivers were seen to leave usable.

Names match forgivingly. A fact nobody published is 0, never guessed. TFLOPS are dense fp16
with fp32 accumulation where published, else the fp16 shader rate.
"""

from dataclasses import dataclass
from typing import final

from mathcore.units import GIB

# aic: ai-dynamo/aiconfigurator systems/*.yaml; llmfit: AlexsJones/llmfit hardware.rs;
# wiki: Wikipedia tables via voidful/gpu-info-api; hf: huggingface.js tasks/src/hardware.ts;
# apron: byte counts detected on rented pods, kv-budget-residuals.md; metal: recorded
# recommendedMaxWorkingSetSize fractions.
_ROWS = """
RTX 3060|gddr|12|360|12.74|170|0|llmfit,hf,wiki
RTX 3060 Ti|gddr|8|448|16.2|200|0|llmfit,hf,wiki
RTX 3070|gddr|8|448|20.31|220|0|llmfit,hf,wiki
RTX 3070 Ti|gddr|8|608|21.75|290|0|llmfit,hf,wiki
RTX 3080|gddr|10|760|30.6|320|0|llmfit,hf,wiki
RTX 3080 Ti|gddr|12|912|34.1|350|0|llmfit,hf,wiki
RTX 3090|gddr|24|936|35.58|350|0|llmfit,hf,wiki
RTX 3090 Ti|gddr|24|1008|40|450|0|llmfit,hf,wiki
RTX 4060|gddr|8|272|0|115|0|llmfit,wiki
RTX 4060 Ti|gddr|16|288|0|160|0|llmfit,wiki
RTX 4070|gddr|12|504|29.15|200|0|llmfit,hf,wiki
RTX 4070 SUPER|gddr|12|504|35.48|220|0|llmfit,hf,wiki
RTX 4070 Ti|gddr|12|504|40.09|285|0|llmfit,hf,wiki
RTX 4070 Ti SUPER|gddr|16|672|44.1|285|0|llmfit,hf,wiki
RTX 4080|gddr|16|717|48.7|285|0|llmfit,hf,wiki
RTX 4080 SUPER|gddr|16|736|52.2|320|0|llmfit,hf,wiki
RTX 4090|gddr|24|1008|82.58|450|25250627584|llmfit,hf,wiki,apron
RTX 5060 Ti|gddr|16|448|0|180|0|llmfit,wiki
RTX 5070|gddr|12|672|0|250|0|llmfit,wiki
RTX 5070 Ti|gddr|16|896|0|300|0|llmfit,wiki
RTX 5080|gddr|16|960|0|360|0|llmfit,wiki
RTX 5090|gddr|32|1792|0|575|0|llmfit,wiki
RTX A4000|gddr|16|448|0|140|0|llmfit,wiki
RTX A5000|gddr|24|768|0|230|0|llmfit,wiki
RTX A6000|gddr|48|768|154.8|300|50899648512|wiki,apron
RTX 6000 Ada|gddr|48|960|0|300|0|wiki
RTX PRO 6000|gddr|96|1792|467.8|600|0|aic,wiki
L4|gddr|24|300|121|72|23659151360|aic,apron
L40|gddr|48|864|181|0|0|llmfit,hf
L40S|gddr|48|864|362.1|350|0|aic
A10|gddr|24|600|125|0|0|hf
A10G|gddr|24|600|70|0|0|hf
A40|gddr|48|696|149.7|0|0|llm-analysis
T4|gddr|16|320|65.13|0|0|llmfit,hf
A30|hbm|24|933|165|165|0|aic
V100 32GB|hbm|32|900|112|0|0|llm-analysis
V100 16GB|hbm|16|900|112|0|0|llm-analysis
A100 40GB|hbm|40|1555|312|0|0|llm-analysis
A100 80GB|hbm|80|1935|312|300|85093777408|aic,apron
A100 PCIe 80GB|hbm|80|1935|312|300|85093777408|aic,apron
A100 SXM 80GB|hbm|80|2039|312|400|85093777408|aic,apron
H100 PCIe|hbm|80|2000|756.5|350|0|aic
H100|hbm|80|3350|989|700|85017493504|aic,apron
H100 SXM|hbm|80|3350|989|700|85017493504|aic,apron
H200|hbm|141|4800|989|700|0|aic
B200|hbm|180|7700|2250|1000|0|aic
MI300X|hbm|192|5300|1307|0|0|llmfit
RX 7900 XT|gddr|20|800|103|0|0|llmfit,hf
RX 7900 XTX|gddr|24|960|122.8|0|0|llmfit,hf
RX 6900 XT|gddr|16|512|0|0|0|llmfit
Apple M1|apple|16|68|2.6|0|0|llmfit,hf
Apple M1 Pro|apple|32|200|5.2|0|0|llmfit,hf
Apple M1 Max|apple|64|400|10.4|0|51539607552|llmfit,hf,metal
Apple M2|apple|24|100|3.6|0|0|llmfit,hf
Apple M2 Pro|apple|32|200|0|0|0|llmfit
Apple M2 Max|apple|96|400|13.49|0|0|llmfit,hf
Apple M2 Ultra|apple|192|800|27.2|0|154618822656|llmfit,hf,metal
Apple M3|apple|24|100|2.84|0|0|llmfit,hf
Apple M3 Pro|apple|36|150|0|0|0|llmfit
Apple M3 Max|apple|128|400|14.2|0|0|llmfit,hf
Apple M3 Ultra|apple|512|800|0|0|0|llmfit
Apple M4|apple|32|120|0|0|0|llmfit
Apple M4 Pro|apple|64|273|0|0|0|llmfit
Apple M4 Max|apple|128|546|0|0|0|llmfit
"""

# Words that say who made or packaged a card, not which card it is.
_NOISE: tuple[str, ...] = (
    "nvidia", "geforce", "amd", "radeon", "instinct", "tesla", "gpu", "generation", "graphics",
    "blackwell", "workstation", "server", "edition", "hbm2e", "hbm2", "hbm3", "hbm3e", "gddr6",
)  # fmt: skip
# A model name longer than this is no model name.
MAX_NAME = 120


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFacts:
    """One accelerator. `usable_bytes` is what a driver was seen to report, 0 = unknown."""

    name: str
    kind: str  # "gpu" | "apple"
    memory_kind: str  # "gddr" | "hbm" | "apple"
    memory_bytes: int
    bandwidth_bytes_per_s: int
    flops: int
    watts: int
    usable_bytes: int
    source: str


def _fact(row: str) -> GpuFacts:
    name, memory_kind, size, bandwidth, tera, watts, usable, source = row.split("|")
    return GpuFacts(
        name=name,
        kind="apple" if memory_kind == "apple" else "gpu",
        memory_kind=memory_kind,
        memory_bytes=int(size) * GIB,
        bandwidth_bytes_per_s=int(bandwidth) * 1_000_000_000,
        flops=int(float(tera) * 1000.0) * 1_000_000_000,
        watts=int(watts),
        usable_bytes=int(usable),
        source=source,
    )


GPUS: tuple[GpuFacts, ...] = tuple([_fact(row) for row in _ROWS.strip().splitlines()])


def _words(name: str) -> list[str]:
    """Lower-case words that tell cards apart; "RTX4090" and "80 GB" are split or joined alike."""
    text = name[:MAX_NAME].lower().replace("-", " ").replace("_", " ").replace(",", " ")
    text = text.replace("rtx", "rtx ").replace("sxm4", "sxm").replace("sxm5", "sxm")
    text = text.replace("sxm2", "sxm").replace("(tm)", " ").replace("(r)", " ")
    text = text.replace(" gb", "gb").replace("gib", "gb").replace("80g ", "80gb ")
    return [word for word in text.split() if word not in _NOISE]


def _matches(wanted: list[str], known: list[str]) -> bool:
    """All of the known words are there, and nothing left over but a memory size or socket."""
    for word in known:
        if word not in wanted:
            return False
    for word in wanted:
        if word not in known and not word.endswith("gb") and word not in ("pcie", "sxm", "laptop"):
            return False
    return "laptop" not in wanted  # a mobile chip shares the name, not the speed


def lookup_gpu(name: str) -> GpuFacts | None:
    """The card a name means ("NVIDIA GeForce RTX 4090", "A100 80GB"), or None."""
    wanted = _words(name)
    best: GpuFacts | None = None
    best_length = 0
    for fact in GPUS:
        known = _words(fact.name)
        if len(known) > best_length and _matches(wanted, known):
            best, best_length = fact, len(known)
    if best is None and "a100" in wanted:
        return lookup_gpu(name + " 80GB") if "80gb" not in wanted else None
    return best
