"""How many real-time streams one process carries: added latency over streams, as a picture.

``script/soak --load [--streams 50,100,…] [--seconds 6] [--times 3]`` measures until the 99th
percentile passes 20 ms, and writes ``docs/images/load.svg``. Flux and the satellites are in this
process, the server in another; latency is from Flux's ``EndOfTurn`` to the client's socket. Each
satellite speaks in chunks of 10 ms, which is the most work that a client makes. Of several times
the one with the median 99th percentile counts.
"""

import argparse
import asyncio
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.bench.bench_server import HEADER, Row, measure

PICTURE: Final = Path(__file__).parents[2] / "docs" / "images" / "load.svg"
LIMIT_MS: Final = 20.0
STREAMS: Final = (25, 50, 100, 150, 200, 250, 300, 350, 400)

_WIDTH: Final = 640
_HEIGHT: Final = 320
_LEFT: Final = 56
_BOTTOM: Final = 48
_TOP: Final = 32
_RIGHT: Final = 24
_MOST_MS: Final = 40.0


async def climb(streams: Sequence[int], seconds: float, times: int) -> list[Row]:
    """Measure one number of streams after the other, until the limit is passed twice."""
    rows: list[Row] = []
    print(HEADER, file=sys.stderr)
    for count in streams:
        runs = [row for _ in range(times) for row in await measure((count,), seconds, ("ours",))]
        rows.append(sorted(runs, key=lambda row: row.p99_ms)[times // 2])
        if len(rows) > 1 and all(row.p99_ms > LIMIT_MS for row in rows[-2:]):
            break
    return rows


def carried(rows: Sequence[Row]) -> int:
    """Return the largest number of streams up to which all stay within the limit."""
    best = 0
    for row in rows:
        if row.p99_ms > LIMIT_MS or row.lost:
            break
        best = row.streams
    return best


def picture(rows: Sequence[Row]) -> str:
    """Draw the rows as SVG."""
    return "\n".join(_shapes(rows)) + "\n"


def _shapes(rows: Sequence[Row]) -> Iterator[str]:
    most = max(row.streams for row in rows)

    def x(streams: float) -> float:
        return _LEFT + streams / most * (_WIDTH - _LEFT - _RIGHT)

    def y(ms: float) -> float:
        return _HEIGHT - _BOTTOM - min(ms, _MOST_MS) / _MOST_MS * (_HEIGHT - _BOTTOM - _TOP)

    def text(at: tuple[float, float], what: str, anchor: str = "middle") -> str:
        return f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}">{what}</text>'

    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        ' font-family="sans-serif" font-size="12" fill="#333">'
    )
    yield '<rect width="100%" height="100%" fill="#fff"/>'
    title = f"Added latency, one process, Python {platform.python_version()}"
    yield text((_WIDTH / 2, 18), f"{title}, {os.cpu_count()} CPUs shared with the load")
    for ms in (0, 10, 20, 30, 40):
        dash = ' stroke-dasharray="6 4" stroke="#c33"' if ms == LIMIT_MS else ' stroke="#ddd"'
        yield f'<path d="M{_LEFT} {y(ms):.1f}H{_WIDTH - _RIGHT}"{dash}/>'
        yield text((_LEFT - 8, y(ms) + 4), f"{ms} ms", "end")
    step = 50 if most > 100 else 25
    for streams in range(0, most + 1, step):
        yield text((x(streams), _HEIGHT - _BOTTOM + 18), str(streams))
    yield text((_WIDTH / 2, _HEIGHT - 10), "real-time streams at once")
    for name, colour, values in (
        ("p99", "#1668b3", [row.p99_ms for row in rows]),
        ("p50", "#3a9a5b", [row.p50_ms for row in rows]),
    ):
        points = [(x(row.streams), y(ms)) for row, ms in zip(rows, values, strict=True)]
        line = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for px, py in points:
            yield f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>'
        yield f'<g fill="{colour}">{text((points[-1][0] - 6, points[-1][1] - 8), name, "end")}</g>'
    yield "</svg>"


def main() -> int:
    """Measure, draw, and tell the figure."""
    parser = argparse.ArgumentParser(prog="script/soak --load", description=__doc__)
    parser.add_argument("--streams", default=",".join(map(str, STREAMS)))
    parser.add_argument("--seconds", type=float, default=6.0, help="measured each time")
    parser.add_argument("--times", type=int, default=3, help="measured per number of streams")
    options = parser.parse_args()
    streams = [int(count) for count in options.streams.split(",")]
    rows = asyncio.run(climb(streams, options.seconds, options.times))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(rows), "utf-8")
    print(f"{carried(rows)} streams with a 99th percentile of at most {LIMIT_MS:g} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
