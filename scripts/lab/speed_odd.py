"""Rows that measured something else than they state: named with a reason, and counted apart."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from scripts.lab.speed_served import Row, number

if TYPE_CHECKING:
    from scripts.lab.speed_rows import Case

# Fewer of the stated requests than this ran at once; the rest waited.
LEAST_RUNNING = 0.5
# Of the memory: an 8-bit cache, which rows do not state, needs half of what we count.
MOST_HELD = 1.6


def _starved(case: "Case", row: Row) -> bool:
    return case.facts is not None and case.facts.name == "EPYC 7352"


def _mistaken(case: "Case", row: Row) -> bool:
    return (
        (row.get("device") or "").startswith("Pi CM5")
        and "R9700" in (row.get("device") or "")
        and case.decode < 25
    )


def _speculating(case: "Case", row: Row) -> bool:
    return row.get("engine_version") == "1.2.0rc6.post3"


def _throttled(case: "Case", row: Row) -> bool:
    return row.get("engine_version") == "1.3.0rc1"


def _split_apart(case: "Case", row: Row) -> bool:
    return case.engine == "sglang" and case.apart


def _alone(case: "Case", row: Row) -> bool:
    return case.source == "aic_silicon" and case.engine == "vllm" and "w4a16" in case.flags


def _waiting(case: "Case", row: Row) -> bool:
    """By Little's law: the share of a request's time that it was answered in."""
    answering = case.generated * number(row, "tpot_ms")
    waited = number(row, "ttft_ms")
    served = case.source == "aic_silicon" and answering > 0
    return served and answering < LEAST_RUNNING * (answering + waited)


def _unheld(case: "Case", row: Row) -> bool:
    """All requests at once would need more memory than there is."""
    if case.source != "aic_silicon" or case.facts is None or case.apart:
        return False
    work = case.work
    cache = work.cache_bytes(case.depth) * case.batch
    return cache + work.total_bytes > MOST_HELD * case.facts.memory_bytes * case.devices


REASONS: tuple[tuple[str, Callable[["Case", Row], bool]], ...] = (
    ("a server at 12 of its 205 GB/s: channels or neighbours nobody stated", _starved),
    ("a card in the slot of a Raspberry Pi at an eighth of itself: a mistaken entry", _mistaken),
    ("TensorRT-LLM three days later at 0.55 to 0.76 of the time: drafts, it seems", _speculating),
    ("TensorRT-LLM 1.3.0rc1: eleven rows of about the same time whatever the batch", _throttled),
    ("SGLang on 72 devices, prompts apart: no other row of the engine is so run", _split_apart),
    ("vLLM with int4 experts: one device and one model, so no other can tell", _alone),
    ("by their time to the first token, most of the stated requests waited", _waiting),
    ("the stated requests do not fit the memory at once", _unheld),
)


def odd(case: "Case", row: Row) -> str:
    """Why a row is not what it says; "" for most."""
    for reason, holds in REASONS:
        if holds(case, row):
            return reason
    return ""
