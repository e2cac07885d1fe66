"""A sweep drawn: memory over context, a line per batch, a panel per device and quantisation."""

from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from mesh.cli.exits import USAGE, stop
from mesh.cli.planning.models import tokens as short

if TYPE_CHECKING:
    from mathcore.planner.sweep import Grid

GIB: Final = 1 << 30
WIDTH, HEIGHT = 560, 320  # of one panel, in pixels
LEFT, RIGHT, TOP, BOTTOM = 56, 64, 40, 40
MOST_LINES: Final = 8
MOST_POINTS: Final = 400
MOST_PANELS: Final = 64
# From light to dark with the batch; the device's memory in the one warm colour.
SHADES: Final = (
    "#9ecae1",
    "#7ab8d9",
    "#57a0ce",
    "#3b88c0",
    "#2670b1",
    "#15599f",
    "#0b4485",
    "#08306b",
)
LIMIT: Final = "#d94801"

Line = tuple[str, list[tuple[float, float]]]


def draw(
    path: Path, title: str, grids: "list[Grid]", batches: list[int], contexts: list[int]
) -> None:
    """Write the picture; Stop where it cannot be."""
    if len(grids) > MOST_PANELS:
        stop(USAGE, f"{len(grids)} panels are more than {MOST_PANELS}", "fewer devices or types")
    panels = [_panel(grid, batches, contexts) for grid in grids]
    try:
        if path.suffix.lower() == ".png":
            _png(path, title, panels)
        else:
            path.write_text(svg(title, panels), encoding="utf-8")
    except OSError as error:
        stop(USAGE, f"cannot write {path}: {error.strerror}", "check the path")


class Panel:
    """What one panel shows: lines of (log2 context, GiB), and the GiB there are."""

    def __init__(self, title: str, free_gib: float, lines: list[Line]) -> None:
        self.title = title
        self.free_gib = free_gib
        self.lines = lines


def _panel(grid: "Grid", batches: list[int], contexts: list[int]) -> Panel:
    from math import log2

    from mesh.cli.planning.sweep_view import picked

    points = picked(len(contexts), MOST_POINTS)
    lines: list[Line] = []
    for i in picked(len(batches), MOST_LINES):
        row = [
            (log2(contexts[j]), int(grid.needs[i, j]) / GIB)
            for j in points
            if grid.verdicts[i, j] != 3
        ]
        lines.append((f"x {batches[i]}", row))
    count = grid.device.count
    title = f"{grid.device.name}, {grid.quant}"
    return Panel(title, grid.device.free_bytes * count / GIB, lines)


def svg(title: str, panels: list[Panel]) -> str:
    """The whole picture as text: needs no library, and no fonts but the reader's."""
    columns = min(2, len(panels))
    down = (len(panels) + columns - 1) // columns
    wide, high = columns * WIDTH, down * HEIGHT + 32
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" '
        f'viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="11">',
        f'<rect width="{wide}" height="{high}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{_text(title)}: memory by context</text>',
    ]
    for n, panel in enumerate(panels):
        x, y = n % columns * WIDTH, n // columns * HEIGHT + 24
        parts.append(f'<g transform="translate({x},{y})">')
        parts += _drawn(panel)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(text: str) -> str:
    return escape("".join(c if c.isprintable() else " " for c in text))


def _drawn(panel: Panel) -> list[str]:
    """Axes, grid lines, the device's memory, and the lines with their names at the end."""
    xs = [x for _, line in panel.lines for x, _ in line] or [0.0]
    left, right = min(xs), max(max(xs), min(xs) + 1.0)
    # Twice what there is shows how far off the rest is; more would flatten what fits.
    most = (
        max(y for _, line in panel.lines for _, y in line)
        if any(line for _, line in panel.lines)
        else 1.0
    )
    top = min(most, 2.0 * panel.free_gib) * 1.05 if panel.free_gib else most

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - min(1.0, y / top) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [f'<text x="{LEFT}" y="28" font-weight="bold">{_text(panel.title)}</text>']
    for tick in range(int(left), int(right) + 1):
        if left <= tick <= right:
            x, y = at(tick, 0.0)
            parts.append(
                f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{short(1 << tick)}</text>'
            )
    for gib in _ticks(top):
        x, y = at(left, gib)
        parts.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" '
            f'stroke="#e5e5e5"/><text x="{x - 6:.1f}" y="{y + 4:.1f}" '
            f'text-anchor="end">{gib:g} GiB</text>'
        )
    for n, (name, line) in enumerate(panel.lines):
        parts += _curve(name, [at(x, y) for x, y in line if y <= top], _shade(n, panel))
    if 0 < panel.free_gib <= top:
        x, y = at(left, panel.free_gib)
        parts.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" '
            f'stroke="{LIMIT}" stroke-dasharray="5 3"/><text x="{x + 4:.1f}" '
            f'y="{y - 4:.1f}" fill="{LIMIT}">'
            f"{panel.free_gib:.1f} GiB free</text>"
        )
    return parts


def _shade(n: int, panel: Panel) -> str:
    return SHADES[n * (len(SHADES) - 1) // max(1, len(panel.lines) - 1)]


def _curve(name: str, points: list[tuple[float, float]], colour: str) -> list[str]:
    if not points:
        return []
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{colour}"/>'
        f'<text x="{x + 5:.1f}" y="{y + 4:.1f}" fill="{colour}">{_text(name)}</text>',
    ]


def _ticks(top: float) -> list[float]:
    """Four to eight round numbers from 0 to the top."""
    step = 2.0**-6
    while top / step > 8:
        step *= 2.0
    return [n * step for n in range(int(top / step) + 1)]


def _png(path: Path, title: str, panels: list[Panel]) -> None:
    try:
        from importlib import import_module

        figure = import_module("matplotlib.figure").Figure(
            figsize=(8, 4 * len(panels)), layout="constrained"
        )
    except ImportError:
        stop(
            USAGE,
            "a .png needs matplotlib, which is not installed",
            f"--plot {path.with_suffix('.svg')}, or pip install matplotlib",
        )
    for n, panel in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, n + 1)
        for i, (name, line) in enumerate(panel.lines):
            axes.plot(
                [2**x for x, _ in line], [y for _, y in line], label=name, color=_shade(i, panel)
            )
        axes.axhline(panel.free_gib, color=LIMIT, linestyle="--")
        axes.set_xscale("log", base=2)
        axes.set(title=f"{title}: {panel.title}", xlabel="tokens", ylabel="GiB")
        axes.legend()
    figure.savefig(path)
