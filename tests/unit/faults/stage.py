"""One client, one server session, one Flux: the real ones, in memory and virtual time."""

import asyncio
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event

from wyoming_flux.server import DailyMinutes, Limits
from wyoming_flux.server.connection import Connection
from wyoming_flux.server.events import EventParser, encode
from wyoming_flux.server.service import Service
from wyoming_flux.settings import FluxSettings, TurnSettings
from wyoming_flux.simulator import speak
from wyoming_flux.turn import Transcriber

from .matrix import AFTER, BEFORE, COMMAND, FIRST_OF_FILE, LEAD, PAUSE, Cell, Client, Moment

RATE = 16000
CHUNK = RATE // 50 * 2
"""Bytes of 20 ms."""
FORMAT = {"rate": RATE, "width": 2, "channels": 1}
LONGEST_WAIT = 60.0
"""An answer that has not come by then hangs."""


def silence(seconds: float) -> bytes:
    """Return silence."""
    return bytes(round(RATE * seconds) * 2)


def noise(seconds: float) -> bytes:
    """Return something loud that is no word."""
    return struct.pack("<2h", 3000, -3000) * round(RATE * seconds / 2)


def utterance(cell: Cell) -> bytes:
    """Return what the client of a cell says."""
    audio = silence(LEAD)
    if cell.is_file:
        audio += speak(FIRST_OF_FILE) + silence(PAUSE)
    return audio + speak(COMMAND) + (noise if cell.is_endless else silence)(cell.tail)


class Wire(asyncio.Transport):
    """The server's end of a connection in memory: keeps what is written, as events."""

    def __init__(self, heard: Callable[[Event], None]) -> None:
        super().__init__()
        self._heard = heard
        self._parser = EventParser()
        self._open = asyncio.Event()
        self._open.set()
        self.closed = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        for event in self._parser.feed(bytes(data)):
            self._heard(event)
        assert self._parser.error is None

    def pause_reading(self) -> None:
        self._open.clear()

    def resume_reading(self) -> None:
        self._open.set()

    async def readable(self) -> None:
        """Wait until the server reads."""
        await self._open.wait()

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def close(self) -> None:
        self.closed.set()

    def abort(self) -> None:
        self.closed.set()

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False


class MemoryClient:
    """A Wyoming client whose server session is in the same process."""

    def __init__(self, service: Service) -> None:
        self.events: list[tuple[float, Event]] = []
        self._news = asyncio.Event()
        self._wire = Wire(self._heard)
        self._connection = Connection(service, self)
        self._connection.connection_made(self._wire)

    # What the connection tells the server.

    def opened(self, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...

    def _heard(self, event: Event) -> None:
        self.events.append((asyncio.get_running_loop().time(), event))
        self._news.set()

    async def say(self, *events: Event) -> None:
        """Send events, as fast as the server reads."""
        data = b"".join(encode(event) for event in events)
        while data:
            await self._wire.readable()
            buffer = self._connection.get_buffer(-1)
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            data = data[size:]
            self._connection.buffer_updated(size)

    async def answer(self) -> tuple[float, Event]:
        """Wait for the next ``transcript`` or ``error``; forgets all up to it."""
        async with asyncio.timeout(LONGEST_WAIT):
            while True:
                while self.events:
                    at, event = self.events.pop(0)
                    if event.type in ("transcript", "error"):
                        return at, event
                self._news.clear()
                await self._news.wait()

    def hang_up(self) -> None:
        """Leave."""
        self._wire.close()
        self._connection.connection_lost(None)


def chunks(audio: bytes) -> Iterator[Event]:
    """Cut audio as a satellite does."""
    for start in range(0, len(audio), CHUNK):
        yield AudioChunk(**FORMAT, audio=audio[start : start + CHUNK]).event()


async def stream(client: MemoryClient, audio: bytes, *, pace: bool, stop: bool) -> None:
    """Send audio, in real time or at once, and say that it is over, or not."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, chunk in enumerate(chunks(audio)):
        if pace:
            await asyncio.sleep(max(0.0, began + number * CHUNK / 2 / RATE - loop.time()))
        await client.say(chunk)
    if stop:
        if pace:
            await asyncio.sleep(max(0.0, began + len(audio) / 2 / RATE - loop.time()))
        await client.say(AudioStop().event())


@dataclass
class Result:
    """What came of a cell."""

    text: str | None = None
    code: str | None = None
    seconds: float = 0.0
    """From the beginning of the turn to the answer, or from the client's leaving to the close."""
    before: str | None = None
    """What the turn before gave."""
    after: str | None = None
    """What the turn after gave."""
    extra: list[str] = field(default_factory=list)
    """Answers that nobody asked for."""


def make_service(connector: Any, turn: TurnSettings) -> Service:
    """Return what a server shares among its sessions."""
    return Service(
        info=b"",
        flux=FluxSettings(keyterms=("kitchen",)),
        languages=("en",),
        transcriber=lambda settings, partial: Transcriber(
            connector, settings, turn, on_partial=partial
        ),
        usage=DailyMinutes(None),
        limits=Limits(),
    )


async def _quick(client: MemoryClient, text: str) -> str | None:
    """Take a turn that nothing disturbs."""
    await client.say(Transcribe().event(), AudioStart(**FORMAT).event())
    await stream(client, silence(0.1) + speak(text) + silence(0.1), pace=False, stop=True)
    _, event = await client.answer()
    found: str | None = event.data.get("text") if event.type == "transcript" else None
    return found


async def play(cell: Cell, connector: Any) -> Result:
    """Play a cell: a turn before, the disturbed one, and a turn after, on one connection."""
    loop = asyncio.get_running_loop()
    flux = connector.service
    service = make_service(connector, TurnSettings(max_turn=cell.max_turn))
    client = MemoryClient(service)
    result = Result(before=await _quick(client, BEFORE))

    flux.faults[:] = cell.faults(first=len(flux.connections) + 1)
    began = loop.time()
    await client.say(Transcribe().event(), AudioStart(**FORMAT).event())
    leaves = cell.client is Client.DISCONNECTS
    streaming = asyncio.create_task(
        stream(
            client,
            utterance(cell),
            pace=not cell.is_file,
            stop=cell.client is not Client.STREAMS_ON
            and (not leaves or cell.moment in (Moment.FINALISING, Moment.AFTER_ANSWER)),
        )
    )
    if leaves and cell.moment is not Moment.AFTER_ANSWER:
        # Just after the fault; while finalising, just after audio-stop.
        at = cell.strikes_after
        if cell.moment is Moment.FINALISING:
            at = cell.speech_end
        await asyncio.sleep(at + 0.05)
    else:
        at, event = await client.answer()
        result.seconds = at - began
        result.text, result.code = event.data.get("text"), event.data.get("code")
        if event.type == "error":
            result.text = None
    if leaves:
        streaming.cancel()
        # What came before is none of ours: nobody had left yet.
        client.events.clear()
        client.hang_up()
        began = loop.time()
        if service.tasks:
            await asyncio.wait(set(service.tasks))
        if result.text is None:
            result.seconds = loop.time() - began
        result.extra += [e.type for _, e in client.events if e.type in ("transcript", "error")]
        assert all(connection.session.done() for connection in connector.opened)
        client = MemoryClient(service)
    elif cell.client is Client.STREAMS_ON:
        # Assistants stop after the answer.
        streaming.cancel()
        await client.say(AudioStop().event())
    await asyncio.wait([streaming])
    flux.faults.clear()
    if not leaves:
        await asyncio.sleep(5.0)
        result.extra += [e.type for _, e in client.events if e.type in ("transcript", "error")]

    result.after = await _quick(client, AFTER)
    client.hang_up()
    if service.tasks:
        await asyncio.wait(set(service.tasks))
    return result
