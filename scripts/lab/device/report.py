"""Every row answered or refused, and how far off the answers are, class by class."""

import statistics
from collections import Counter, defaultdict
from pathlib import Path

from mathcore.model.spec import SpecError
from scripts.lab.device import fork, llamacpp, mlx, vllm
from scripts.lab.device.rows import Answer, Refused, Row, shown, truth

Found = Answer | str
_SETTING = ("source", "model", "n_ctx", "n_ubatch", "flash_attn")


def _shared(rows: list[Row]) -> list[bool]:
    """Whether a row's cache is one of several buffers of its load: rows that follow each other."""
    out = [False] * len(rows)
    for i, row in enumerate(rows[1:], 1):
        before = rows[i - 1]
        same = all(row[name] == before[name] for name in _SETTING)
        if same and row["component"] == before["component"] == "kv":
            if row["buffer"] != before["buffer"]:
                out[i] = out[i - 1] = True
            else:
                out[i] = out[i - 1]
    return out


def _declared(rows: list[Row]) -> list[str]:
    """For each row the note of the total its own load printed: the next one of the same setting."""
    out, last = [""] * len(rows), dict[tuple[str, ...], str]()
    for i in range(len(rows) - 1, -1, -1):
        row = rows[i]
        key = tuple(row[name] for name in _SETTING)
        if row["component"] == "kv_total":
            last[key] = row["note"]
        out[i] = last.get(key, "")
    return out


def _answer(
    row: Row, configs: Path | None, rows: list[Row], declared: str, *, shared: bool
) -> Answer:
    engine, component = row["engine"].lower(), row["component"]
    if engine.startswith(("vllm", "sglang")):
        if component.startswith("peak"):
            raise Refused("vLLM takes the share it is given; the row does not say which")
        return vllm.log_row(row, configs, rows)
    if component == "peak (GTT+VRAM)":
        return llamacpp.apu_peak(row, configs)
    if "ik_llama" in engine:
        if component in ("kv", "kv_total"):
            return fork.kv_row(row, configs, declared, shared=shared)
        no = llamacpp.FORK_OVERRIDES if component == "weights" else llamacpp.FORK_GRAPHS
        raise Refused(no)
    if engine in ("mlx", "mlx-lm") and component == "peak":
        return mlx.peak(row, configs)
    if engine == "ollama" and component == "peak":
        return llamacpp.user_peak(row, configs)
    if not engine.startswith("llama.cpp"):
        raise Refused("an engine we do not plan")
    if component == "peak":
        return llamacpp.user_peak(row, configs)
    return llamacpp.log_row(row, configs)


def answers(rows: list[Row], configs: Path | None) -> list[Found]:
    """Our answer to each row, or why there is none."""
    out: list[Found] = []
    known = zip(rows, _declared(rows), _shared(rows), strict=True)
    for row, note, shared in known:
        try:
            out.append(_answer(row, configs, rows, note, shared=shared))
        except (Refused, SpecError, ValueError) as error:
            out.append(str(error))
    return out


def error_percent(row: Row, found: Answer) -> float:
    """How far off, the log's own rounding aside; nothing within the answer's slack."""
    true = truth(row)
    off = max(0.0, abs(found.said - true) - max(shown(row), found.slack))
    return 100.0 * off / true if true else 0.0


def by_class(rows: list[Row], found: list[Found]) -> dict[str, list[float]]:
    """Errors in percent, by what the rows measure."""
    out: dict[str, list[float]] = defaultdict(list)
    for row, answer in zip(rows, found, strict=True):
        if isinstance(answer, Answer):
            out[answer.kind].append(error_percent(row, answer))
    return dict(sorted(out.items()))


def refusals(found: list[Found]) -> list[tuple[str, int]]:
    """Reasons and how many rows each stopped, most first."""
    return Counter(answer for answer in found if isinstance(answer, str)).most_common()


def spread(off: list[float]) -> tuple[int, int, float, float, float]:
    """(rows, exact, median, p90, worst) of errors in percent."""
    off = sorted(off)
    exact = sum(error < 0.0005 for error in off)
    p90 = off[min(len(off) - 1, int(0.9 * len(off)))]
    return len(off), exact, statistics.median(off), p90, off[-1]
