"""The ear's process with a model of the test's own: who is heard, who is refused, what is stuck."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator

import pytest

from wyoming_flux.ear import process
from wyoming_flux.ear.pipe import Kind, frame, read_frame, turn_from_bytes
from wyoming_flux.ear.process import MAX_STREAMS, Process
from wyoming_flux.ear.turns import CHUNK_BYTES, RATE
from wyoming_flux.flux.messages import TurnEvent, TurnInfo

SENTENCE = b"\x00\x20" * (RATE * 2 // 5) + bytes(2 * RATE)
"""0.4 s of speech, too short for partial text, and a pause that ends it."""


class Loud:
    """A detector: loud is speech."""

    def process_chunk(self, audio: bytes) -> float:
        return float(any(audio))

    def reset(self) -> None:
        pass


class Slow:
    """A model that decodes nothing before it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.asked = threading.Event()

    def decode(self, pcm: bytes) -> str:
        self.asked.set()
        assert self.let.wait(30)
        return f"{len(pcm) // CHUNK_BYTES} chunks"


class Ear:
    """A process in this one: frames in, frames out."""

    def __init__(self) -> None:
        self.model = Slow()
        self.now = 0.0
        self._said: asyncio.Queue[tuple[Kind, int, bytes]] = asyncio.Queue()

    async def start(self) -> None:
        """Run it over a real pair of sockets."""
        connected: asyncio.Future[asyncio.StreamWriter] = asyncio.Future()
        server = await asyncio.start_server(
            lambda _, writer: connected.set_result(writer), "127.0.0.1", 0
        )
        reader, self._socket = await asyncio.open_connection(*server.sockets[0].getsockname())
        self._writer = await connected
        server.close()
        self._input = asyncio.StreamReader()
        self.running = asyncio.create_task(
            Process(self.model, self._writer, clock=lambda: self.now).run(self._input)
        )
        self._reading = asyncio.create_task(self._read(reader))

    async def stop(self) -> None:
        """End its input, and wait for it."""
        self.model.let.set()
        self._input.feed_eof()
        await asyncio.wait([self.running])
        self._reading.cancel()
        await asyncio.wait([self._reading])
        for one in (self._socket, self._writer):
            one.close()

    def tell(self, kind: Kind, stream: int, data: bytes = b"") -> None:
        """Send a frame."""
        self._input.feed_data(frame(kind, stream, data))

    async def open(self, stream: int) -> Kind:
        """Ask for a stream; return what is said of it."""
        self.tell(Kind.OPEN, stream, json.dumps(RATE).encode())
        return (await self.wait_for(stream, Kind.OPENED, Kind.BUSY))[0]

    async def wait_for(self, stream: int, *kinds: Kind) -> tuple[Kind, bytes]:
        """Wait for one of these frames of a stream."""
        async with asyncio.timeout(30):
            while True:
                kind, number, data = await self._said.get()
                if number == stream and kind in kinds:
                    return kind, data

    async def turn(self, stream: int, event: TurnEvent) -> TurnInfo:
        """Wait for such a message of a stream."""
        while True:
            told = turn_from_bytes((await self.wait_for(stream, Kind.TURN))[1])
            if told.event is event:
                return told

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            self._said.put_nowait(await read_frame(reader))


@pytest.fixture
async def ear(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ear]:
    """A process that runs, and ends with the test."""
    monkeypatch.setattr(process, "silero", Loud)
    made = Ear()
    await made.start()
    yield made
    await made.stop()


async def test_no_more_than_are_heard_in_time(ear: Ear) -> None:
    """The ninth at once is refused; when one has gone, there is room again."""
    for stream in range(1, MAX_STREAMS + 1):
        assert await ear.open(stream) is Kind.OPENED
    assert await ear.open(90) is Kind.BUSY
    ear.tell(Kind.CLOSE, 3)
    assert await ear.open(91) is Kind.OPENED


async def test_nobody_more_while_one_waits_for_the_model(ear: Ear) -> None:
    """Where a sentence has waited for a second already, another would be late: it is refused."""
    assert await ear.open(1) is Kind.OPENED
    ear.tell(Kind.AUDIO, 1, SENTENCE)
    await asyncio.to_thread(ear.model.asked.wait, 30)
    ear.now = 1.0
    assert await ear.open(2) is Kind.OPENED
    ear.now = 1.1
    assert await ear.open(3) is Kind.BUSY
    ear.model.let.set()
    assert "chunks" in (await ear.turn(1, TurnEvent.END_OF_TURN)).transcript
    assert await ear.open(4) is Kind.OPENED


async def test_the_sentence_of_one_who_left_is_not_decoded(ear: Ear) -> None:
    """What waited for the model is forgotten with its stream, and the next is heard."""
    for stream in (1, 2, 3):
        await ear.open(stream)
        ear.tell(Kind.AUDIO, stream, SENTENCE)
    await asyncio.to_thread(ear.model.asked.wait, 30)
    ear.tell(Kind.CLOSE, 1)
    ear.tell(Kind.CLOSE, 2)
    ear.model.let.set()
    assert (await ear.turn(3, TurnEvent.END_OF_TURN)).turn_index == 0


class Died(Exception):
    """Instead of the end of this process."""


@pytest.fixture
def _dies(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(reason: str) -> None:
        raise Died(reason)

    monkeypatch.setattr(process, "_die", die)


async def hears_and_dies(ear: Ear, reason: str) -> None:
    """Say the sentence; the process ends with that as its reason."""
    await ear.open(1)
    ear.tell(Kind.AUDIO, 1, SENTENCE)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(30):
            await ear.running
    assert caught.group_contains(Died, match=reason)


@pytest.mark.usefixtures("_dies")
async def test_a_model_that_fails(monkeypatch: pytest.MonkeyPatch, ear: Ear) -> None:
    """Its reason is the last that is said, not the end of a traceback."""

    def fail(_pcm: bytes) -> str:
        raise OSError("Moonshine could not decode (error -3)")

    monkeypatch.setattr(ear.model, "decode", fail)
    await hears_and_dies(ear, "could not decode")


@pytest.mark.usefixtures("_dies")
async def test_a_model_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch, ear: Ear) -> None:
    """It cannot be interrupted, so the process ends, and with it the sentences of others."""
    monkeypatch.setattr(process, "_TICK", 0.01)
    monkeypatch.setattr(process, "_STUCK_TICKS", 3)
    await hears_and_dies(ear, "does not come back")
