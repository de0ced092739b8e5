"""What the Worker costs in time: connecting and single frames, through it and without it.

``python tests/bench/bench_worker.py [--json] [--connects 300] [--frames 3000]``; :func:`measure` is
for script/bench. All on this machine: an echo behind the real runtime and the shipped Worker,
against the same echo without them, taken in turns so that both meet the same load.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles

from websockets.asyncio.client import connect

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.e2e.worker.conftest import TOKEN, FarEnd, Workerd

FRAME = bytes(2560)
"""80 ms at 16 kHz, which is what is sent to Flux at a time."""
ROUND = 50
QUERY = "?encoding=linear16&sample_rate=16000&eot_threshold=0.7&eot_timeout_ms=2000" + "".join(
    f"&keyterm=living%20room%20{number}" for number in range(20)
)


@dataclass(frozen=True, slots=True)
class Row:
    """One path, in milliseconds; CPU in microseconds of the runtime, per frame there and back."""

    path: str
    connect_p50: float
    connect_p99: float
    frame_p50: float
    frame_p99: float
    cpu_us: float | None


async def measure(connects: int = 300, frames: int = 3000) -> list[Row]:
    """Return one row without and one with the Worker."""
    with tempfile.TemporaryDirectory() as folder:
        async with FarEnd().running() as far_end:
            worker = Workerd(
                "worker", far_end.port, {"FLUX_TOKEN": TOKEN}, Path(folder) / "workerd.log"
            )
            await worker.start()
            try:
                urls = {"direct": f"ws://127.0.0.1:{far_end.port}/", "worker": f"{worker.url}/"}
                return await _measure(urls, worker, connects, frames)
            finally:
                await worker.stop()


async def _measure(urls: dict[str, str], worker: Workerd, connects: int, frames: int) -> list[Row]:
    for url in urls.values():
        await _connects(url, 10)  # the first ones also load code
    opened: dict[str, list[float]] = {path: [] for path in urls}
    for _ in range(max(1, connects // ROUND)):
        for path, url in urls.items():
            opened[path] += await _connects(url, ROUND)
    echoed: dict[str, list[float]] = {path: [] for path in urls}
    spent = 0.0
    sockets = {path: await _connect(url) for path, url in urls.items()}
    for _ in range(max(1, frames // ROUND)):
        for path, websocket in sockets.items():
            before = worker.cpu_seconds
            for _ in range(ROUND):
                started = time.perf_counter()
                await websocket.send(FRAME)
                await websocket.recv()
                echoed[path].append(time.perf_counter() - started)
            if path == "worker":
                spent += worker.cpu_seconds - before
    for websocket in sockets.values():
        await websocket.close()
    return [
        Row(
            path,
            *_p50_p99(opened[path]),
            *_p50_p99(echoed[path]),
            1e6 * spent / len(echoed[path]) if path == "worker" else None,
        )
        for path in urls
    ]


def _connect(url: str) -> connect:
    return connect(
        url + QUERY,
        additional_headers={"Authorization": f"Bearer {TOKEN}"},
        compression=None,
        proxy=None,
    )


async def _connects(url: str, times: int) -> list[float]:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        websocket = await _connect(url)
        taken.append(time.perf_counter() - started)
        await websocket.close()
    return taken


def _p50_p99(seconds: list[float]) -> tuple[float, float]:
    percentiles = quantiles(seconds, n=100)
    return round(1000 * percentiles[49], 3), round(1000 * percentiles[98], 3)


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="for another program")
    parser.add_argument("--connects", type=int, default=300)
    parser.add_argument("--frames", type=int, default=3000)
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.connects, arguments.frames))
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'path':8} {'connect ms p50':>15} {'p99':>8} {'frame ms p50':>14} {'p99':>8}   CPU us")
    for row in rows:
        cpu = "" if row.cpu_us is None else f"{row.cpu_us:.0f}"
        print(
            f"{row.path:8} {row.connect_p50:15.2f} {row.connect_p99:8.2f}"
            f" {row.frame_p50:14.3f} {row.frame_p99:8.3f} {cpu:>8}"
        )
    direct, through = rows
    print(
        f"the Worker adds {through.connect_p50 - direct.connect_p50:.2f} ms to a connection"
        f" and {through.frame_p50 - direct.frame_p50:.3f} ms to a frame there and back"
    )


if __name__ == "__main__":
    main()
