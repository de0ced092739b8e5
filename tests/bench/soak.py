"""Many turns at once with random faults and clients, from a seed; ends with a verdict.

``script/soak [--turns 1000] [--at-once 200] [--seed 1] [--speed 0.5] [--json]``. Server, simulator
and clients are in this process, on real sockets. Every turn has words of its own, written into its
audio, so that a lost, repeated or foreign word shows. The exit code is 0 if nothing was lost, mixed
up, late, leaked or logged as an error. All turns are captured (25 MB for a thousand, while it
runs); the records of those that went wrong stay, in a folder that the verdict names.
"""

import argparse
import asyncio
import dataclasses
import gc
import json
import logging
import os
import random
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event, async_read_event

from tests.bench.clock import ScaledLoop
from tests.bench.soak_plan import GARBAGE, RATE, SUPERSEDES, TAG, Plan, SoakSimulator, plans
from tests.bench.soak_verdict import Verdict
from tests.unit.faults.matrix import Client
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.server import Server
from wyoming_flux.server.events import encode
from wyoming_flux.settings import FluxSettings, ServerSettings, UtteranceSettings
from wyoming_flux.utterance import Capture

FORMAT: Final = {"rate": RATE, "width": 2, "channels": 1}
CHUNK_SECONDS: Final = 0.1
CHUNK: Final = int(RATE * CHUNK_SECONDS) * 2
HANGS: Final = 60.0
"""Seconds after which an answer is taken for lost."""
LATE: Final = 9.5 + 6.5
"""Seconds that faults (rule 7) and the replays after them may add."""


class Soak:
    """Plays the plans."""

    def __init__(self, verdict: Verdict, planned: list[Plan], port: int) -> None:
        self._verdict = verdict
        self._planned = planned
        self._next = 0
        self._port = port

    async def play(self, at_once: int) -> None:
        """Play all, so many at once."""
        watch = asyncio.create_task(self._watch())
        async with asyncio.TaskGroup() as group:
            for worker in range(at_once):
                group.create_task(self._work(worker / at_once))
        watch.cancel()
        await asyncio.wait([watch])

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.1
            await asyncio.sleep(0.1)
            self._verdict.slowest = max(self._verdict.slowest, loop.time() - due)

    async def _work(self, delay: float) -> None:
        await asyncio.sleep(delay)
        while (plan := self._take()) is not None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            # Some clients keep their connection for a few turns.
            chance = random.Random(plan.number)
            try:
                while await self._turn(plan, reader, writer) and chance.random() < 0.6:
                    following = self._take()
                    if following is None:
                        break
                    plan = following
            finally:
                writer.transport.abort()

    def _take(self) -> Plan | None:
        if self._next >= len(self._planned):
            return None
        self._next += 1
        if self._next == len(self._planned) // 2:
            self._verdict.memory_mb = (self._verdict.memory_mb[0], resident_mb(), 0.0)
        return self._planned[self._next - 1]

    async def _turn(
        self, plan: Plan, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Take one turn; tell whether the connection can be used for another."""
        verdict = self._verdict
        verdict.turns += 1
        loop = asyncio.get_running_loop()
        begin = [
            Transcribe(transcript_terms=[f"{TAG}{plan.number}"]).event(),
            AudioStart(**FORMAT).event(),
        ]
        writer.write(b"".join(encode(event) for event in begin))
        streaming = asyncio.create_task(self._stream(plan, writer))
        try:
            if plan.client in (Client.DISCONNECTS, SUPERSEDES, GARBAGE):
                return await self._give_up(plan, reader, writer, streaming)
            began = loop.time()
            try:
                async with asyncio.timeout(HANGS):
                    answer = await _read_answer(reader)
            except TimeoutError:
                verdict.note(verdict.lost, plan, "no answer")
                return False
            spent = loop.time() - began
            if spent > len(plan.audio) / 2 / RATE + LATE:
                verdict.note(verdict.late, plan, f"{spent:.1f} s")
            verdict.judge(plan, answer)
        finally:
            streaming.cancel()
            await asyncio.wait([streaming])
        if plan.client == Client.STREAMS_ON:
            # Assistants end their audio after the answer.
            writer.write(encode(AudioStop().event()))
        return answer is not None

    async def _stream(self, plan: Plan, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        audio = plan.audio
        for number, start in enumerate(range(0, len(audio), CHUNK)):
            if plan.client != Client.WHOLE_FILE:
                await asyncio.sleep(max(0.0, began + number * CHUNK_SECONDS - loop.time()))
            chunk = AudioChunk(**FORMAT, audio=audio[start : start + CHUNK])
            writer.write(encode(chunk.event()))
            await writer.drain()
        if plan.client != Client.STREAMS_ON:
            writer.write(encode(AudioStop().event()))

    async def _give_up(
        self,
        plan: Plan,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        streaming: asyncio.Task[None],
    ) -> bool:
        await asyncio.sleep(plan.leaves)
        streaming.cancel()
        await asyncio.wait([streaming])
        self._verdict.closed += 1
        if plan.client == GARBAGE:
            writer.write(b'{"type": "audio-chunk", "payload_length": -1}\n')
            async with asyncio.timeout(HANGS):
                while await async_read_event(reader) is not None:
                    pass
        return False


async def _read_answer(reader: asyncio.StreamReader) -> Event | None:
    while (event := await async_read_event(reader)) is not None:
        if event.type in ("transcript", "error"):
            return event
    return None


def resident_mb() -> float:
    """Return the memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class _Listener(logging.Handler):
    def __init__(self, verdict: Verdict) -> None:
        super().__init__(logging.WARNING)
        self._verdict = verdict

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.ERROR:
            self._verdict.logged.append(f"{record.name}: {record.getMessage()}")


async def _soak(verdict: Verdict, planned: list[Plan], at_once: int, capture: Capture) -> None:
    loop = asyncio.get_running_loop()
    # What is made once and for all is there before anything is counted.
    await loop.run_in_executor(None, int)
    verdict.files = (_open_files(), 0)
    verdict.memory_mb = (resident_mb(), 0.0, 0.0)
    async with SoakSimulator({plan.number: plan for plan in planned}) as simulator:
        endpoint = Endpoint.from_url(simulator.url, route="workers-ai", token="soak-token")
        server = Server(
            Connector(endpoint),
            FluxSettings(),
            UtteranceSettings(),
            ServerSettings(uri="tcp://127.0.0.1:0", max_connections=4 * at_once),
            capture=capture,
        )
        await server.start()
        try:
            await Soak(verdict, planned, int(server.uri.rpartition(":")[2])).play(at_once)
            # The last clients left a moment ago; closing Flux takes a second at most.
            await asyncio.sleep(3.0)
            ours = [task.get_name() for task in asyncio.all_tasks()]
            verdict.leaked_tasks = [name for name in ours if _is_of_a_turn(name)]
        finally:
            await server.stop(grace=1.0)
    # The simulator's own ends of connections go when they see that ours are gone.
    await asyncio.sleep(1.0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    verdict.leaked_tasks += [task.get_name() for task in left]
    verdict.files = (verdict.files[0], _open_files())
    verdict.memory_mb = (*verdict.memory_mb[:2], resident_mb())


def _is_of_a_turn(name: str) -> bool:
    return name.startswith(("wyoming-flux turn", "wyoming-flux audio", "flux "))


def soak(turns: int, at_once: int, seed: int, speed: float) -> Verdict:
    """Play so many turns; return the verdict."""
    verdict = Verdict()
    listener = _Listener(verdict)
    logging.getLogger().addHandler(listener)
    began = time.monotonic()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="wyoming-flux-soak-") as folder,
            asyncio.Runner(loop_factory=lambda: ScaledLoop(speed)) as runner,
        ):
            kept = Capture(Path(folder), audio=False, most=turns, megabytes=float(turns))
            with closing(kept):
                runner.run(_soak(verdict, list(plans(turns, seed)), at_once, kept))
            loop = runner.get_loop()
            assert isinstance(loop, ScaledLoop)
            verdict.logged += [str(fault.get("message")) for fault in loop.faults]
            verdict.keep(Path(folder))
    finally:
        logging.getLogger().removeHandler(listener)
    verdict.seconds = time.monotonic() - began
    return verdict


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__)
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--speed", type=float, default=0.5, help="of the clock; 1 is real time (default: 0.5)"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    verdict = soak(options.turns, options.at_once, options.seed, options.speed)
    fields: dict[str, Any] = {**dataclasses.asdict(verdict), "good": verdict.good}
    print(json.dumps(fields) if options.json else verdict)
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
