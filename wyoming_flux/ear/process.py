"""The ear's own process: ``python -m wyoming_flux.ear.process MODEL``; started by :mod:`.ear`.

A fault of native code ends this process, never the server; and the 1 ms that the detector takes
for each 32 ms of each stream is not taken from the server's event loop. One thread reads, detects
and tells; a second decodes, one piece at a time, reading its result included. It ends with its
standard input, so it never outlives the server.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NoReturn

from wyoming_flux.audio import AudioFormat, Converter
from wyoming_flux.errors import WyomingFluxError

from .detector import Detector, silero
from .model import model_at
from .native import Moonshine, Recogniser
from .pipe import Kind, frame, read_frame, turn_to_bytes
from .turns import CHUNK_BYTES, RATE, Job, Turns

MAX_STREAMS: Final = 8
"""Streams heard at once; more are late on two cores (measured: sixteen by 1 to 9 s)."""
_MAX_BEHIND: Final = 1.0
"""Seconds that a piece may have waited for the model before new streams are refused."""
_TICK: Final = 0.25
# Ten seconds of audio take 0.8 s; a model that takes 15 s of a machine that runs is stuck.
_STUCK_TICKS: Final = 60


class EarStream:
    """One stream: audio of any of our rates in, what its turns tell out."""

    def __init__(self, rate: int, detector: Detector) -> None:
        """Hear linear16 mono of *rate* Hz; *detector* has no memory."""
        self.turns = Turns()
        self.detector = detector
        self.waiting_since: float | None = None
        """Since when a piece waits for the model."""
        self._converter = Converter(AudioFormat(rate, 2, 1), RATE)
        self._audio = bytearray()
        self._samples = 0
        self._ended = False
        self._finished = False

    def add(self, pcm: bytes) -> None:
        """Take audio, in whole samples."""
        self._append(self._converter.convert(pcm))

    def end(self) -> None:
        """Take note that no audio follows."""
        self._append(self._converter.flush())
        self._ended = True

    def step(self) -> bool:
        """Hear one chunk, or the end; tell whether anything was done."""
        if self._finished or self.turns.waiting:
            return False
        if len(self._audio) < CHUNK_BYTES and not (self._ended and self._audio):
            if self._ended:
                self._finished = True
                self.turns.finish(self._samples)
            return self._ended
        chunk = bytes(self._audio[:CHUNK_BYTES]).ljust(CHUNK_BYTES, b"\0")
        del self._audio[:CHUNK_BYTES]
        self.turns.heard(chunk, self.detector.process_chunk(chunk))
        return True

    def _append(self, pcm: bytes) -> None:
        self._audio += pcm
        self._samples += len(pcm) // 2


class Process:
    """All streams of one process."""

    def __init__(
        self,
        recogniser: Recogniser,
        writer: asyncio.StreamWriter,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hear with *recogniser*, tell to *writer*; within a running loop."""
        self._recogniser = recogniser
        self._clock = clock
        self._writer = writer
        self._streams: dict[int, EarStream] = {}
        self._detectors: list[Detector] = []
        self._queue: deque[tuple[int, EarStream, Job]] = deque()
        self._work = asyncio.Event()
        self._wanted = asyncio.Event()
        self._model = ThreadPoolExecutor(1, "model")
        self._decoding = False
        self._ticks = 0

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Serve until *reader* ends."""
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(part()) for part in (self._hear, self._decode, self._tick)]
            with contextlib.suppress(asyncio.IncompleteReadError):
                while True:
                    self._take(*await read_frame(reader))
                    await self._writer.drain()
            for other in others:
                other.cancel()

    def _take(self, kind: Kind, number: int, data: bytes) -> None:
        stream = self._streams.get(number)
        match kind:
            case Kind.OPEN:
                self._open(number, json.loads(data))
            case Kind.AUDIO if stream is not None:
                stream.add(data)
            case Kind.FINISH if stream is not None:
                stream.end()
            case Kind.CLOSE if stream is not None:
                self._close(number, stream)
            case _:
                pass  # of a stream that is finished
        self._work.set()

    def _open(self, number: int, rate: int) -> None:
        now = self._clock()
        late = any(
            stream.waiting_since is not None and now - stream.waiting_since > _MAX_BEHIND
            for stream in self._streams.values()
        )
        if late or len(self._streams) >= MAX_STREAMS:
            self._writer.write(frame(Kind.BUSY, number))
            return
        detector = self._detectors.pop() if self._detectors else silero()
        self._streams[number] = EarStream(rate, detector)
        self._writer.write(frame(Kind.OPENED, number))

    def _close(self, number: int, stream: EarStream) -> None:
        del self._streams[number]
        stream.detector.reset()
        self._detectors.append(stream.detector)

    async def _hear(self) -> None:
        while True:
            self._work.clear()
            heard = False
            for number, stream in list(self._streams.items()):
                # One chunk of each in turn: a recording that comes at once delays nobody.
                heard = stream.step() or heard
                self._tell(number, stream)
            self._wanted.set()
            if heard:
                await asyncio.sleep(0)
            else:
                await self._work.wait()

    def _tell(self, number: int, stream: EarStream) -> None:
        for turn in stream.turns.messages():
            self._writer.write(frame(Kind.TURN, number, turn_to_bytes(turn)))
        if stream.turns.done and number in self._streams:
            self._writer.write(frame(Kind.FINISHED, number))
            self._close(number, stream)

    async def _tick(self) -> None:
        # The loop's own time, counted in ticks: a process that was stopped is not stuck.
        while True:
            await asyncio.sleep(_TICK)
            self._ticks += 1
            if self._decoding and self._ticks > _STUCK_TICKS:
                _die("the model does not come back")
            for number, stream in list(self._streams.items()):
                stream.turns.tick()
                self._tell(number, stream)

    async def _decode(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wanted.clear()
            found = self._next_job()
            if found is None:
                await self._wanted.wait()
                continue
            number, stream, job = found
            began = time.monotonic()
            self._ticks, self._decoding = 0, True
            try:
                text = await loop.run_in_executor(self._model, self._recogniser.decode, job.pcm)
            except OSError as error:
                _die(str(error))
            self._decoding = False
            stream.waiting_since = None
            if number in self._streams:
                stream.turns.decoded(job, text, time.monotonic() - began)
                self._tell(number, stream)
            self._work.set()

    def _next_job(self) -> tuple[int, EarStream, Job] | None:
        for number, stream in self._streams.items():
            if (job := stream.turns.job(idle=False)) is not None:
                stream.waiting_since = self._clock()
                self._queue.append((number, stream, job))
        while self._queue:
            number, stream, job = self._queue.popleft()
            if number in self._streams:
                return number, stream, job
        for number, stream in self._streams.items():
            if (job := stream.turns.job(idle=True)) is not None:
                # Another stream is the first next time.
                self._streams[number] = self._streams.pop(number)
                return number, stream, job
        return None


async def serve(model: Path) -> None:
    """Load the model and serve standard input; whatever else prints goes to standard error."""
    out = os.dup(1)
    os.dup2(2, 1)
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    recogniser = await asyncio.to_thread(Moonshine, model_at(model))
    silero()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(out, "wb")
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    writer.write(frame(Kind.READY, 0, json.dumps(time.monotonic() - began).encode()))
    await Process(recogniser, writer).run(reader)


def main() -> NoReturn:
    """Run until standard input ends."""
    # The server that started us ends us, after its last answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        asyncio.run(serve(Path(sys.argv[1])))
    except (OSError, WyomingFluxError) as error:
        _die(str(error))
    os._exit(0)


def _die(reason: str) -> NoReturn:
    # A thread that is stuck in native code can be left in no other way.
    sys.stderr.write(f"{reason}\n")
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
