"""What our server costs, beside a plain relay and beside the wyoming library's own handler.

``python tests/bench/bench_server.py [--json] [--streams 1,10,50,100,200] [--seconds 8]``;
:func:`measure` is for script/bench. All three in the same run, in turns, so that they meet the same
machine. The two ends (tests/bench/load.py) run in this process, the server in its own.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.load import Load

ROOT = Path(__file__).resolve().parents[2]
CAPTURE = "capture"
"""Ours, and every utterance is kept; beside it, at the same time, one that keeps none."""
WITHOUT = "without"
KINDS = ("ours", CAPTURE, "relay", "relay-80", "relay-40", "relay-20", "library")
STREAMS = (1, 10, 50, 100, 200)
DESCRIBE = b'{"type": "describe", "version": "1.10.2"}\n'


@dataclass(frozen=True, slots=True)
class Row:
    """One server under one load; times in milliseconds, memory in MB."""

    kind: str
    streams: int
    turns: int
    lost: int
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """CPU per second of one stream."""
    rest_mb: float
    """Resident memory before the first client."""
    stream_mb: float
    """What each stream adds to it."""


@dataclass(frozen=True, slots=True)
class Start:
    """From the start of the process to the first ``info``."""

    kind: str
    first_info_ms: float
    """The median of several starts."""
    best_ms: float


class Measuring(Load):
    """A load that takes the server's CPU time at both ends of what counts."""

    pid = 0
    cpu = 0.0
    most_mb = 0.0

    def on_measuring(self) -> None:
        """Begin."""
        self.cpu = -_cpu_seconds(self.pid)

    def on_end(self) -> None:
        """End."""
        self.cpu += _cpu_seconds(self.pid)
        self.most_mb = _resident_mb(self.pid)


async def measure(
    streams: tuple[int, ...] = STREAMS, seconds: float = 8.0, kinds: tuple[str, ...] = KINDS
) -> list[Row]:
    """Return one row for each server and number of streams."""
    rows = []
    for count in streams:
        for kind in kinds:
            # Keeping costs less than what the speed of a machine changes from one run to the next.
            # Each has half of the streams, for the load is made by one process.
            pair = (WITHOUT, CAPTURE) if kind == CAPTURE else (kind,)
            each = max(1, count // len(pair))
            for row in await asyncio.gather(*(_measure(one, each, seconds) for one in pair)):
                rows.append(row)
                _progress(row)
    return rows


async def measure_starts(
    times: int = 7, kinds: tuple[str, ...] = ("ours", "library")
) -> list[Start]:
    """Return how long each server takes to its first ``info``."""
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(times):
        for kind in kinds:
            found[kind].append(await asyncio.to_thread(_first_info, kind))
    return [Start(kind, median(times), min(times)) for kind, times in found.items()]


async def _measure(kind: str, streams: int, seconds: float) -> Row:
    load = Measuring(streams)
    url = await load.listen()
    async with _server(kind, url) as (pid, port):
        load.pid = pid
        rest = _resident_mb(pid)
        await load.play(port, warm_up=4.0, seconds=seconds)
    measured = load.measured
    latencies = sorted(measured.latencies)
    return Row(
        kind=kind,
        streams=streams,
        turns=measured.turns,
        lost=measured.lost,
        p50_ms=_quantile(latencies, 0.5) * 1000,
        p99_ms=_quantile(latencies, 0.99) * 1000,
        cpu_ms=load.cpu / measured.seconds * 1000,
        rest_mb=rest,
        stream_mb=max(0.0, load.most_mb - rest) / streams,
    )


def _command(kind: str, url: str, port: int = 0, capture: str = "") -> list[str]:
    if kind in ("ours", CAPTURE, WITHOUT):
        where = ("--worker-url", url, "--route", "workers-ai", "--uri", f"tcp://127.0.0.1:{port}")
        more = ["--max-connections", "1000"]
        if kind == CAPTURE:
            more += ["--capture", capture]
        return [sys.executable, "-m", "wyoming_flux", "serve", *where, *more]
    return [sys.executable, str(ROOT / "tests" / "bench" / "peers.py"), kind, url]


@asynccontextmanager
async def _server(kind: str, url: str) -> AsyncIterator[tuple[int, int]]:
    with tempfile.TemporaryDirectory(prefix="wyoming-flux-bench-") as folder:
        process = await asyncio.create_subprocess_exec(
            *_command(kind, url, capture=folder),
            env=_environment(),
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        try:
            async with asyncio.timeout(20):
                while "Listening on" not in (line := (await process.stderr.readline()).decode()):
                    if not line:
                        raise RuntimeError(f"{kind} did not start")
            drain = asyncio.create_task(process.stderr.read())
            yield process.pid, int(line.rpartition(":")[2])
            drain.cancel()
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()


def _first_info(kind: str) -> float:
    """Start a server, ask at once, and return the milliseconds until the answer."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    if kind == "library":
        # It tells its port itself; the time until then is what its clients wait, too.
        started = time.perf_counter()
        process = subprocess.Popen(
            _command(kind, "ws://127.0.0.1:1/"), env=_environment(), stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        port = int(process.stderr.readline().rpartition(b":")[2])
    else:
        started = time.perf_counter()
        process = subprocess.Popen(
            _command(kind, "ws://127.0.0.1:1/", port), env=_environment(), stderr=subprocess.DEVNULL
        )
    try:
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                    client.sendall(DESCRIBE)
                    if b'"info"' in client.recv(4096):
                        return (time.perf_counter() - started) * 1000
            except ConnectionRefusedError:
                # Another process tells by its open port alone that it has started.
                time.sleep(0.002)
    finally:
        process.kill()
        process.communicate()


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WYOMING_FLUX_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


def _cpu_seconds(pid: int) -> float:
    # Not from stat, which counts whole hundredths of a second.
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


HEADER = (
    f"{'server':<9}{'streams':>8}{'turns':>7}{'lost':>6}{'p50 ms':>9}{'p99 ms':>9}"
    f"{'CPU ms/s':>10}{'rest MB':>9}{'MB/stream':>11}"
)


def line(row: Row) -> str:
    """Return a row of the table."""
    return (
        f"{row.kind:<9}{row.streams:>8}{row.turns:>7}{row.lost:>6}{row.p50_ms:>9.2f}"
        f"{row.p99_ms:>9.2f}{row.cpu_ms:>10.2f}{row.rest_mb:>9.1f}{row.stream_mb:>11.2f}"
    )


def _progress(row: Row) -> None:
    print(line(row), file=sys.stderr, flush=True)


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--streams", default=",".join(map(str, STREAMS)))
    parser.add_argument("--seconds", type=float, default=8.0, help="measured per row")
    parser.add_argument("--kinds", default=",".join(KINDS))
    arguments = parser.parse_args()
    streams = tuple(int(count) for count in arguments.streams.split(","))
    print(HEADER, file=sys.stderr)
    rows = asyncio.run(measure(streams, arguments.seconds, tuple(arguments.kinds.split(","))))
    starts = asyncio.run(measure_starts())
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows] + [asdict(s) for s in starts], indent=2))
        return
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs")
    for start in starts:
        print(f"{start.kind}: first info after {start.first_info_ms:.0f} ms ({start.best_ms:.0f})")


if __name__ == "__main__":
    main()
