"""Draws the picture of the server's bench as SVG, by hand: three panels, no library."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

PANEL_WIDTH: Final = 300
PANEL_HEIGHT: Final = 210
GAP: Final = 60
LEFT: Final = 50
TOP: Final = 70
BOTTOM: Final = 60

# Colours that everybody can tell apart.
COLOURS: Final = {"ours": "#0072b2", "relay": "#8c8c8c", "library": "#d55e00"}
LABELS: Final = {"ours": "wyoming-flux", "relay": "plain relay", "library": "wyoming library"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of each row, over the number of streams."""

    title: str
    field: str
    most: float | None = None
    """Where bars are cut off, with their value above: one hiccup must not flatten the rest."""


PANELS: Final = (
    Panel("EndOfTurn → client, p50 (ms)", "p50_ms", most=2),
    Panel("EndOfTurn → client, p99 (ms)", "p99_ms", most=20),
    Panel("CPU per second of a stream (ms)", "cpu_ms"),
)


def draw(rows: Sequence[Any]) -> str:
    """Return an SVG of these rows of bench_server."""
    width = LEFT + len(PANELS) * (PANEL_WIDTH + GAP)
    height = TOP + PANEL_HEIGHT + BOTTOM
    label = "Latency and CPU of wyoming-flux, a plain relay and the wyoming library"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        ' font-family="system-ui, sans-serif" font-size="13" fill="#333" role="img"',
        f' aria-label="{label}">',
        # Its own ground: where a page is dark, a picture in it does not always know.
        f'<rect width="{width}" height="{height}" rx="10" fill="#ffffff"/>',
    ]
    for number, (kind, name) in enumerate(LABELS.items()):
        x = LEFT + number * 150
        parts.append(f'<rect x="{x}" y="14" width="14" height="14" fill="{COLOURS[kind]}"/>')
        parts.append(f'<text x="{x + 20}" y="26">{name}</text>')
    for number, panel in enumerate(PANELS):
        x = LEFT + number * (PANEL_WIDTH + GAP)
        parts += _panel(panel, rows, x)
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, rows: Sequence[Any], left: int) -> list[str]:
    streams = sorted({row.streams for row in rows})
    top = _round_up(max(getattr(row, panel.field) for row in rows))
    top = min(top, panel.most or top)
    base = TOP + PANEL_HEIGHT
    parts = [f'<text x="{left}" y="{TOP - 14}" font-weight="600">{panel.title}</text>']
    for step in range(5):
        value = top * step / 4
        y = base - PANEL_HEIGHT * step / 4
        parts.append(
            f'<line stroke="#bbb" x1="{left}" y1="{y}" x2="{left + PANEL_WIDTH}" y2="{y}"/>'
        )
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{value:g}</text>')
    group = PANEL_WIDTH / len(streams)
    bar = group * 0.8 / len(LABELS)
    for place, count in enumerate(streams):
        x = left + place * group + group * 0.1
        for number, kind in enumerate(LABELS):
            found = [row for row in rows if row.kind == kind and row.streams == count]
            if not found:
                continue
            value = getattr(found[0], panel.field)
            tall = PANEL_HEIGHT * min(1.0, value / top)
            if value > top:
                parts.append(
                    f'<text x="{x + (number + 0.5) * bar:.1f}" y="{TOP - 2}" font-size="8"'
                    f' text-anchor="middle">{value:.0f}</text>'
                )
            parts.append(
                f'<rect x="{x + number * bar:.1f}" y="{base - tall:.1f}" width="{bar:.1f}"'
                f' height="{tall:.1f}" fill="{COLOURS[kind]}">'
                f"<title>{LABELS[kind]}, {count} streams: {value:.2f}</title></rect>"
            )
        middle = left + (place + 0.5) * group
        parts.append(f'<text x="{middle:.1f}" y="{base + 18}" text-anchor="middle">{count}</text>')
    parts.append(
        f'<text x="{left + PANEL_WIDTH / 2}" y="{base + 38}" text-anchor="middle">streams</text>'
    )
    return parts


def _round_up(value: float) -> float:
    """Return the next number that reads well in quarters."""
    step = 0.4
    while step < value:
        for factor in (1, 2, 3, 5):
            if step * factor >= value:
                return step * factor
        step *= 10
    return step
