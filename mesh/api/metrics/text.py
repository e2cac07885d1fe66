"""Samples as text: Prometheus' exposition format 0.0.4.

What is unknown has no sample: 0 is a number somebody measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# A device has nine series and a server of Prometheus keeps each for weeks: a thousand devices, and
# no ledger of a stranger's that fills its memory.
MAX_SERIES: Final = 10_000
# Names in the ledger are other peers' words: as long as a legend can show.
MAX_LABEL: Final = 100
LEFT_OUT: Final = "fleet_metrics_left_out"

Sample = tuple[Mapping[str, str], float]  # labels and value


@final
@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its samples; `text` says what it is."""

    name: str
    kind: Literal["gauge", "counter"]
    text: str
    samples: tuple[Sample, ...] = ()


def gauge(name: str, text: str, samples: Iterable[Sample] = ()) -> Family:
    """What goes up and down."""
    return Family(name, "gauge", text, tuple(samples))


def counter(name: str, text: str, samples: Iterable[Sample] = ()) -> Family:
    """What adds up; its name ends with _total."""
    return Family(name, "counter", text, tuple(samples))


def exposition(families: Iterable[Family], most: int = MAX_SERIES) -> str:
    """The whole text, of `most` series at most; the last one says how many were left out."""
    lines: list[str] = []
    left, out = most, 0
    for family in families:
        series = list(_series(family))
        lines += _head(family)
        lines += series[: max(0, left)]
        out += max(0, len(series) - max(0, left))
        left -= len(series)
    last = gauge(LEFT_OUT, f"Series beyond the first {most}.", [({}, out)])
    return "\n".join([*lines, *_head(last), *_series(last)]) + "\n"


def _head(family: Family) -> Iterator[str]:
    text = family.text.replace("\\", "\\\\").replace("\n", "\\n")
    yield f"# HELP {family.name} {text}"
    yield f"# TYPE {family.name} {family.kind}"


def _series(family: Family) -> Iterator[str]:
    """A line a sample. Of two with the same labels only the first: a server refuses the others."""
    told: set[str] = set()
    for labels, value in family.samples:
        shown = ",".join(f'{name}="{label(text)}"' for name, text in labels.items())
        if shown not in told:
            told.add(shown)
            yield (
                f"{family.name}{{{shown}}} {_number(value)}"
                if shown
                else (f"{family.name} {_number(value)}")
            )


def label(text: str) -> str:
    """A label's value: cut, and escaped so that no name ends its line or its quotes."""
    cut = text[:MAX_LABEL].encode(errors="replace").decode()
    return cut.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)
