"""What script/bench does: runs the benches, prints tables or JSON, draws the picture."""

import argparse
import asyncio
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import bench_audio, bench_server, plot  # noqa: E402 - the path comes first

PARTS = ("server", "audio", "worker")


def run_server(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the server; print the table as it grows, on standard error."""
    streams = tuple(int(count) for count in arguments.streams.split(","))
    print(bench_server.HEADER, file=sys.stderr, flush=True)
    rows = asyncio.run(bench_server.measure(streams, arguments.seconds))
    starts = asyncio.run(bench_server.measure_starts())
    if arguments.plot:
        arguments.plot.write_text(plot.draw(rows), encoding="utf-8")
        print(f"bench: wrote {arguments.plot}", file=sys.stderr)
    if not arguments.json:
        print("\nserver: EndOfTurn to the client's socket; CPU per second of one stream")
        print(bench_server.HEADER)
        for row in rows:
            print(bench_server.line(row))
        for start in starts:
            print(
                f"{start.kind}: first info {start.first_info_ms:.0f} ms after the start"
                f" (best {start.best_ms:.0f} ms)"
            )
    return {"rows": [asdict(row) for row in rows], "starts": [asdict(one) for one in starts]}


def run_audio(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the conversion of audio."""
    rows = bench_audio.measure()
    if not arguments.json:
        print("\naudio: seconds of audio converted in one second")
        for row in rows:
            theirs = f"soxr {row.soxr_real_time:.0f}" if row.soxr_real_time else ""
            print(f"{row.source:<24}{row.sample_rate:>7}{row.real_time:>9.0f}  {theirs}")
    return {"rows": [asdict(row) for row in rows]}


def run_worker(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the Worker, where its runtime is installed."""
    if not (ROOT / "tests/e2e/worker/runtime/node_modules").is_dir():
        print("bench: no workerd here; script/setup worker gets it", file=sys.stderr)
        return {}
    # Its parts come from tests, so it needs what tests need.
    from tests.bench import bench_worker

    rows = asyncio.run(bench_worker.measure())
    if not arguments.json:
        print("\nworker: milliseconds, without and with it")
        for row in rows:
            print(
                f"{row.path:<8} connect p50 {row.connect_p50:.2f} p99 {row.connect_p99:.2f}"
                f"  frame p50 {row.frame_p50:.3f} p99 {row.frame_p99:.3f}"
            )
    return {"rows": [asdict(row) for row in rows]}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="script/bench", add_help=False)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--streams", default=",".join(map(str, bench_server.STREAMS)))
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", default=",".join(PARTS))
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"there is no bench {min(unknown)}; there are {', '.join(PARTS)}")
    machine = f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs"
    print(f"bench: {machine}", file=sys.stderr)
    benches = {"server": run_server, "audio": run_audio, "worker": run_worker}
    results = {name: benches[name](arguments) for name in PARTS if name in chosen}
    if arguments.json:
        print(json.dumps({"machine": machine, **results}, indent=2))


if __name__ == "__main__":
    main()
