"""Panels of lines as SVG: text alone, no library, and no fonts but the reader's.

Every line is named where it ends; names keep clear of each other and of the frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final
from xml.sax.saxutils import escape

from mesh.cli.planning.models import tokens as short

Point = tuple[float, float]

WIDTH, HEIGHT = 520, 320  # of one panel, in pixels
LEFT, RIGHT, TOP, BOTTOM = 72, 96, 40, 44
HEAD: Final = 52  # above all panels: the title and what it stands for
FONT: Final = 11
LETTER: Final = 6.2  # pixels of a letter at that size, a little more than most fonts take
LINE: Final = 13  # pixels from one name to the next
# From dark to light with the batch, the lightest still legible; the limit in the one warm colour.
SHADES: Final = (
    "#08306b",
    "#0f4a8f",
    "#1d63ab",
    "#2f7dbe",
    "#4692cb",
    "#5da3d3",
    "#73b2da",
    "#86bfe0",
)
LIMIT: Final = "#d94801"
BAR_OPACITY: Final = 0.12  # lines and grid stay legible through it
GRID: Final = "#e5e5e5"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A named line through (log2 of the context, value)."""

    name: str
    points: Sequence[Point]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One plot over log2 of the context; `limit` 0: none. What lies above `top` is cut off."""

    title: str
    unit: str
    lines: Sequence[Line]
    contexts: Sequence[int]
    top: float
    limit: float = 0.0
    limit_name: str = ""
    empty: str = ""  # said in the middle of a panel without a line
    bar: Sequence[tuple[float, float, float]] = ()  # (x, low, high): how sure the first line is


@final
@dataclass(frozen=True, slots=True)
class Label:
    """A name beside a point; `x`, `y` are where its text begins, on its base line."""

    text: str
    x: float
    y: float
    colour: str

    def overlaps(self, other: "Label") -> bool:
        """Whether their boxes touch."""
        apart = self.x + _wide(self.text) < other.x or other.x + _wide(other.text) < self.x
        return not apart and abs(self.y - other.y) < LINE


def svg(title: str, note: str, rows: Sequence[Sequence[Panel]]) -> str:
    """The whole picture: a row of panels for each device and quantisation."""
    wide, high = max(map(len, rows)) * WIDTH, HEAD + len(rows) * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" '
        f'viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="{FONT}">',
        f'<rect width="{wide}" height="{high}" fill="#ffffff"/>',
        f'<text x="20" y="22" font-size="15">{plain(title)}</text>',
        f'<text x="20" y="40" fill="#555555">{plain(note)}</text>',
    ]
    for down, row in enumerate(rows):
        for across, panel in enumerate(row):
            at = f"translate({across * WIDTH},{HEAD + down * HEIGHT})"
            parts += [f'<g transform="{at}">', *drawn(panel), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def plain(text: str) -> str:
    """Text that XML takes."""
    return escape("".join(c if c.isprintable() else " " for c in text))


def _wide(text: str) -> float:
    return LETTER * len(text)


@final
class Frame:
    """Where values of a panel lie in pixels."""

    def __init__(self, panel: Panel) -> None:
        from math import log2

        self.left = log2(panel.contexts[0])
        self.right = max(log2(panel.contexts[-1]), self.left + 1.0)
        self.top = panel.top or 1.0

    def at(self, point: Point) -> Point:
        """A point in pixels."""
        across = (point[0] - self.left) / (self.right - self.left)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - point[1] / self.top * (HEIGHT - TOP - BOTTOM),
        )


def drawn(panel: Panel) -> list[str]:
    """Axes, grid lines, the limit, the lines, and all names on top of them."""
    frame = Frame(panel)
    parts = [f'<text x="{LEFT}" y="26" font-weight="bold">{plain(panel.title)}</text>']
    parts += _axes(panel, frame)
    labels: list[Label] = []
    if 0 < panel.limit <= panel.top:
        labels.append(_limit(panel, frame, parts))
    if panel.bar:
        parts.append(_bar(panel, frame))
    for n, line in enumerate(panel.lines):
        colour = shade(n, len(panel.lines))
        end = _curve(clipped(line.points, panel.top), frame, colour, parts)
        if end is not None:
            labels.append(placed(Label(line.name, end[0] + 6, end[1] + 4, colour), labels))
    if not _says(panel):
        middle = frame.at(((frame.left + frame.right) / 2, panel.top / 2))
        parts.append(
            f'<text x="{middle[0]:.1f}" y="{middle[1]:.1f}" fill="#777777" '
            f'text-anchor="middle">{plain(panel.empty)}</text>'
        )
    return [*parts, *map(_named, labels)]


def _bar(panel: Panel, frame: Frame) -> str:
    """What lies between the low and the high ends, shaded."""
    low = [(x, min(one, panel.top)) for x, one, _ in panel.bar]
    high = [(x, min(one, panel.top)) for x, _, one in panel.bar]
    edge = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(frame.at, [*low, *reversed(high)]))
    return f'<polygon points="{edge}" fill="{SHADES[0]}" fill-opacity="{BAR_OPACITY}"/>'


def _says(panel: Panel) -> bool:
    return any(line.points for line in panel.lines)


def shade(n: int, count: int) -> str:
    """The colour of line `n` of `count`: the first is the darkest."""
    return SHADES[n * (len(SHADES) - 1) // max(1, count - 1)]


def _axes(panel: Panel, frame: Frame) -> list[str]:
    parts = []
    for tick in range(int(frame.left), int(frame.right) + 1):
        if panel.contexts[0] <= 1 << tick <= panel.contexts[-1]:
            x, y = frame.at((tick, 0.0))
            parts.append(
                f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{short(1 << tick)}</text>'
            )
    middle = frame.at(((frame.left + frame.right) / 2, 0.0))
    parts.append(
        f'<text x="{middle[0]:.1f}" y="{middle[1] + 32:.1f}" fill="#555555" '
        'text-anchor="middle">tokens of context</text>'
    )
    shown = ticks(panel.top, binary=panel.unit == "GiB") if _says(panel) else []
    for value in shown:
        x, y = frame.at((frame.left, value))
        parts.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{GRID}"/>'
            f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:g} {panel.unit}</text>'
        )
    return parts


def ticks(top: float, *, binary: bool) -> list[float]:
    """Four to eight round numbers from 0 to the top."""
    step = 2.0**-6 if binary else 0.01
    next_of = (2.0, 2.0, 2.0) if binary else (2.0, 2.5, 2.0)
    n = 0
    while top / step > 8:
        step *= next_of[n % len(next_of)]
        n += 1
    return [k * step for k in range(int(top / step) + 1)]


def clipped(points: Sequence[Point], top: float) -> list[Point]:
    """The part of a rising line below `top`, up to where it leaves the panel."""
    kept: list[Point] = []
    for x, y in points:
        if y <= top:
            kept.append((x, y))
            continue
        if kept:
            x0, y0 = kept[-1]
            kept.append((x0 + (x - x0) * (top - y0) / (y - y0), top))
        break
    return kept


def _limit(panel: Panel, frame: Frame, parts: list[str]) -> Label:
    x, y = frame.at((frame.left, panel.limit))
    parts.append(
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" '
        f'stroke="{LIMIT}" stroke-dasharray="5 3"/>'
    )
    # In the margin, where no line runs.
    return Label(panel.limit_name, WIDTH - RIGHT + 6, y + 4, LIMIT)


def _curve(points: list[Point], frame: Frame, colour: str, parts: list[str]) -> Point | None:
    """Draws the line and a dot at its end, which is returned."""
    if not points:
        return None
    at = [frame.at(point) for point in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    x, y = at[-1]
    parts.append(
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"/>'
    )
    return x, y


def placed(label: Label, others: Sequence[Label]) -> Label:
    """The label at the place nearest to its own that is free and inside the panel."""
    x = min(label.x, WIDTH - _wide(label.text) - 2)
    steps = sorted(range(-HEIGHT // LINE, HEIGHT // LINE + 1), key=lambda n: (abs(n), n))
    for step in steps:
        moved = Label(label.text, x, label.y + step * LINE, label.colour)
        inside = TOP - LINE <= moved.y <= HEIGHT - BOTTOM
        if inside and not any(moved.overlaps(other) for other in others):
            return moved
    return label


def _named(label: Label) -> str:
    """The name on a white rim of itself, so that lines under it do not disturb."""
    at, text = f'x="{label.x:.1f}" y="{label.y:.1f}"', plain(label.text)
    rim = f'<text {at} stroke="#ffffff" stroke-width="4" aria-hidden="true">{text}</text>'
    return f'{rim}<text {at} fill="{label.colour}">{text}</text>'
