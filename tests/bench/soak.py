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
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event, async_read_event

from tests.bench.clock import ScaledLoop
from tests.support.coded import CodedRecognizer, speak
from tests.unit.faults.matrix import TROUBLES, Client, Effect, Trouble
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.server import Server
from wyoming_flux.server.events import encode
from wyoming_flux.settings import FluxSettings, ServerSettings, UtteranceSettings
from wyoming_flux.simulator import Simulator, Upgrade
from wyoming_flux.simulator.faults import Fault
from wyoming_flux.utterance import Capture

RATE: Final = 16000
FORMAT: Final = {"rate": RATE, "width": 2, "channels": 1}
CHUNK_SECONDS: Final = 0.1
CHUNK: Final = int(RATE * CHUNK_SECONDS) * 2
HANGS: Final = 60.0
"""Seconds after which an answer is taken for lost."""
LATE: Final = 9.5 + 6.5
"""Seconds that faults (rule 7) and the replays after them may add."""
MOST_GROWTH_MB: Final = 32.0
"""Memory that may be added after the first half of the turns."""
MOST_RECORDS: Final = 20
"""Turns that went wrong whose records stay."""

# A refusal of parameters is remembered for all turns; a short stall loses messages, as no network
# does.
_LEFT_OUT: Final = ("refused: parameters", "stalls for 0.5 s")
_TROUBLES: Final = tuple(one for one in TROUBLES if one.name not in _LEFT_OUT)
_TAG: Final = "soak"
SUPERSEDES: Final = "begins anew"
GARBAGE: Final = "sends garbage"
CLIENTS: Final = (
    *(Client.STREAMS_ON,) * 5,
    *(Client.STOPS_FIRST,) * 5,
    *(Client.WHOLE_FILE,) * 3,
    *(Client.DISCONNECTS,) * 2,
    SUPERSEDES,
    GARBAGE,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One turn."""

    number: int
    words: tuple[str, ...]
    lead: float
    tail: float
    client: str
    trouble: Trouble | None
    strikes: tuple[float, ...]
    """Seconds of audio after which each connection of this turn is struck."""
    leaves: float
    """When a client that leaves does so, in seconds."""

    @property
    def text(self) -> str:
        """What is said."""
        return " ".join(self.words)

    @property
    def audio(self) -> bytes:
        """The audio of it."""
        streams_on = self.client == Client.STREAMS_ON
        return silence(self.lead) + speak(self.text) + silence(3.0 if streams_on else self.tail)

    def faults(self, attempt: int) -> list[Fault]:
        """Return what strikes the connection with this number, counted from 1."""
        trouble = self.trouble
        if trouble is None or (attempt > 1 and trouble.effect is not Effect.LASTING):
            return []
        if trouble.opening:
            return list(trouble.faults)
        after = self.strikes[min(attempt, len(self.strikes)) - 1]
        return [dataclasses.replace(one, after=after) for one in trouble.faults]  # type: ignore[call-arg]  # of Midway


def silence(seconds: float) -> bytes:
    """Return silence."""
    return bytes(int(RATE * seconds) * 2)


def plans(turns: int, seed: int) -> Iterator[Plan]:
    """Make up turns."""
    chance = random.Random(seed)
    for number in range(1, turns + 1):
        words = tuple(f"w{place}-{number}" for place in range(chance.randint(1, 6)))
        length = 1.0 + len(words) * 0.25
        yield Plan(
            number=number,
            words=words,
            lead=chance.uniform(0.1, 0.7),
            # Half a second at the end may be lost with a connection.
            tail=chance.uniform(0.3, 0.6),
            client=chance.choice(CLIENTS),
            trouble=chance.choice(_TROUBLES) if chance.random() < 0.6 else None,
            strikes=tuple(chance.uniform(0, length) for _ in range(4)),
            leaves=chance.uniform(0, length),
        )


class SoakSimulator(Simulator):
    """A simulator whose faults belong to turns, told by a key term."""

    def __init__(self, planned: dict[int, Plan]) -> None:
        super().__init__(recognizer=CodedRecognizer, keep=False)
        self._planned = planned
        self._attempts: dict[int, int] = {}

    def faults_for(self, upgrade: Upgrade) -> tuple[Fault, ...]:
        """Return those of the turn that this connection belongs to."""
        tags = [
            value.removeprefix(_TAG)
            for name, value in upgrade.query
            if name == "keyterm" and value.startswith(_TAG)
        ]
        turn = int(tags[0])
        attempt = self._attempts[turn] = self._attempts.get(turn, 0) + 1
        return tuple(self._planned[turn].faults(attempt))


@dataclass
class Verdict:
    """What came of it."""

    turns: int = 0
    seconds: float = 0.0
    right: int = 0
    first_words: int = 0
    """Transcripts of turns whose connections were all lost: what was heard before."""
    errors: Counter[str] = field(default_factory=Counter)
    """By code; only of turns whose faults explain it."""
    closed: int = 0
    """Turns that the client gave up."""
    lost: list[str] = field(default_factory=list)
    """Without an answer, or with less than was to be had."""
    mixed_up: list[str] = field(default_factory=list)
    """With words of another turn, or words repeated."""
    late: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    """Errors and tracebacks in the log."""
    leaked_tasks: list[str] = field(default_factory=list)
    files: tuple[int, int] = (0, 0)
    """Open file descriptors at the start and at the end."""
    memory_mb: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Resident: at the start, after half of the turns, and at the end."""
    slowest: float = 0.0
    """Longest time by which the loop was late."""
    wrong: list[int] = field(default_factory=list)
    """The numbers of the turns that were lost, mixed up or late."""
    records: str = ""
    """The folder with the records of the first of them."""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        wrong = (self.lost, self.mixed_up, self.late, self.logged, self.leaked_tasks)
        grown = self.memory_mb[2] - self.memory_mb[1]
        return not any(wrong) and self.files[1] <= self.files[0] and grown <= MOST_GROWTH_MB

    def __str__(self) -> str:
        """Return the report."""
        errors = ", ".join(f"{code} {count}" for code, count in sorted(self.errors.items()))
        lines = [
            f"turns          {self.turns} in {self.seconds:.0f} s",
            f"right          {self.right}",
            f"first words    {self.first_words}  (all connections were lost)",
            f"typed errors   {self.errors.total()}  ({errors})",
            f"given up       {self.closed}  (by the client)",
            f"lost           {len(self.lost)}",
            f"mixed up       {len(self.mixed_up)}",
            f"late           {len(self.late)}",
            f"logged errors  {len(self.logged)}",
            f"leaked tasks   {len(self.leaked_tasks)}",
            f"files          {self.files[0]} at the start, {self.files[1]} at the end",
            "memory (MB)    {:.1f} at the start, {:.1f} half-way, {:.1f} at the end".format(
                *self.memory_mb
            ),
            f"loop late by   {self.slowest * 1000:.0f} ms at most",
        ]
        for name in ("lost", "mixed_up", "late", "logged", "leaked_tasks"):
            lines += [f"  {name}: {one}" for one in getattr(self, name)[:10]]
        if self.records:
            lines.append(f"records of what went wrong: {self.records}")
        return "\n".join([*lines, "good" if self.good else "BAD"])

    def note(self, kind: list[str], plan: Plan, what: str) -> None:
        """Take note of a turn that went wrong."""
        kind.append(f"{plan}: {what}")
        self.wrong.append(plan.number)

    def keep(self, folder: Path) -> None:
        """Move the records of what went wrong out of *folder*, at most :data:`MOST_RECORDS`."""
        wanted = {f"{_TAG}{number}" for number in self.wrong[:MOST_RECORDS]}
        for path in folder.glob("*.jsonl") if wanted else ():
            with path.open(encoding="utf-8") as lines:
                (tag,) = json.loads(next(lines))["flux"]["keyterms"]
            if tag in wanted:
                self.records = self.records or tempfile.mkdtemp(prefix="wyoming-flux-soak-")
                shutil.move(path, Path(self.records) / f"{tag}.jsonl")


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
            Transcribe(transcript_terms=[f"{_TAG}{plan.number}"]).event(),
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
            self.judge(plan, answer)
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

    def judge(self, plan: Plan, answer: Event | None) -> None:
        """Hold an answer against its plan; None: the connection was closed without one."""
        verdict, trouble = self._verdict, plan.trouble
        lasting = trouble is not None and trouble.effect is Effect.LASTING
        if answer is None:
            verdict.note(verdict.lost, plan, "closed without an answer")
            return
        if answer.type == "error":
            code = answer.data["code"]
            # What strikes where words are known already is always told as a connection lost.
            if lasting and trouble is not None and code in (trouble.code, "connection-lost"):
                verdict.errors[code] += 1
            else:
                verdict.note(verdict.lost, plan, code)
            return
        text = answer.data["text"]
        heard = tuple(text.split())
        if heard == plan.words:
            verdict.right += 1
        elif not set(heard) <= set(plan.words) or len(set(heard)) < len(heard):
            verdict.note(verdict.mixed_up, plan, text)
        elif lasting and heard == plan.words[: len(heard)] and heard:
            verdict.first_words += 1
        else:
            verdict.note(verdict.lost, plan, repr(text))


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
