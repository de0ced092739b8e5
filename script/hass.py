"""What script/hass does once there is an environment with Home Assistant, whichever version."""

import argparse
import asyncio
import contextlib
import signal
import socket
import statistics
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.hass import stage  # noqa: E402 - found by the path above
from tests.e2e.hass.instance import OWNER, Instance  # noqa: E402 - as above
from tests.e2e.hass.websocket_api import Socket  # noqa: E402 - as above
from wyoming_flux.flux import Connector, Endpoint  # noqa: E402 - as above
from wyoming_flux.server import Server  # noqa: E402 - as above
from wyoming_flux.settings import (  # noqa: E402 - as above
    FluxSettings,
    ServerSettings,
    UtteranceSettings,
)

SIMULATED_PAUSE_MS = 320


def entry_input(worker: stage.Worker) -> dict[str, object]:
    """Return what a person types into the dialogue."""
    return {
        "worker_url": worker.url,
        "token": stage.TOKEN,
        "sample_rate": "16000",
        "keyterms": [],
        "home_names": True,
    }


async def play(folder: Path, port: int, *, bare: bool) -> None:
    """Run until the person has had enough."""
    if _is_taken(port):
        raise SystemExit(f"port {port} is in use: choose another with --port")
    async with stage.Worker(token=stage.TOKEN) as worker, Instance(folder, port=port) as running:
        if not bare:
            entry = await running.add_flux(entry_input(worker))
            async with running.websocket() as api:
                engine = await stage.engine_of(api, entry)
                await stage.make_pipeline(api, engine, preferred=True)
        print(f"Home Assistant {running.version}: {running.base}")
        print(f"  user {OWNER['username']}, password {OWNER['password']}")
        print(f"  Worker URL {worker.url}, token {stage.TOKEN}")
        print("Ctrl-C ends it.", flush=True)
        await asyncio.Event().wait()


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def measure(folder: Path, runs: int) -> None:
    """Compare, in one Home Assistant, how long a person waits for the text."""
    pcm = stage.sample()
    end = stage.speech_end(pcm)
    async with contextlib.AsyncExitStack() as stack:
        worker = await stack.enter_async_context(stage.Worker(token=stage.TOKEN))
        instant = await stack.enter_async_context(stage.instant_engine(after=end))
        waiting = await stack.enter_async_context(stage.instant_engine(after=None))
        server = Server(
            Connector(Endpoint.from_url(worker.url, token=stage.TOKEN)),
            FluxSettings(),
            UtteranceSettings(),
            ServerSettings(uri="tcp://127.0.0.1:0"),
        )
        await server.start()
        stack.push_async_callback(server.stop, 0)
        running = await stack.enter_async_context(Instance(folder))
        ours = await running.add_flux(entry_input(worker))
        wyoming = {
            port: await running.add_entry("wyoming", {"host": "127.0.0.1", "port": port})
            for port in (instant, waiting, int(server.uri.rpartition(":")[2]))
        }
        entries = list(wyoming.values())
        async with running.websocket() as api:
            print(f"Home Assistant {running.version}, {runs} runs each, ms from the end of")
            print("speech to the text: median (least - most), and the median above the zero")
            zero = await _line(api, "an engine that needs no time", entries[0], pcm, runs)
            await _line(api, "our entity", ours, pcm, runs, zero)
            await _line(api, "core's wyoming on our server", entries[2], pcm, runs, zero)
            await running.set_options(ours, stage.OPTIONS | {"external_vad": True})
            await _line(api, "our entity, with HA's detection too", ours, pcm, runs, zero)
            await _line(
                api, "HA's own detection, engine needs no time", entries[1], pcm, runs, zero
            )
        print(f"The simulator decides after {SIMULATED_PAUSE_MS} ms of silence.")


async def _line(
    api: Socket, name: str, entry: str, pcm: bytes, runs: int, zero: float | None = None
) -> float:
    pipeline = await stage.make_pipeline(api, await stage.engine_of(api, entry))
    found: list[float] = []
    # The first run of a pipeline loads what later ones find.
    for number in range(runs + 1):
        run = await stage.run_pipeline(api, pipeline, pcm)
        if run.text != stage.SENTENCE:
            raise SystemExit(f"{name}: {run.text!r}, {run.error}")
        if number:
            found.append(run.latency_ms)
    middle = statistics.median(found)
    above = "" if zero is None else f"  {middle - zero:+6.0f}"
    print(f"  {name:<42} {middle:6.0f} ({min(found):.0f} - {max(found):.0f}){above}", flush=True)
    return middle


def main() -> None:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(prog="script/hass")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--measure", type=int, nargs="?", const=5, metavar="RUNS")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wyoming-flux-hass-") as folder:
        work = (
            play(Path(folder), arguments.port, bare=arguments.bare)
            if arguments.measure is None
            else measure(Path(folder), arguments.measure)
        )
        asyncio.run(_until_told(work))


async def _until_told(work: Coroutine[None, None, None]) -> None:
    """Do it until it is done, or somebody wants it to end: then Home Assistant must end, too."""
    task = asyncio.create_task(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    main()
